//! `tidings doctor`: what is wrong with a node and the machine that it is on, and what to do.
//!
//! | module | looks at |
//! |---|---|
//! | `finding` | PURE: what was found, and how it is said |
//! | `machine` | open files, the clock, what the kernel allows |
//! | `folder` | the data folder and the store in it |
//! | `ports` | whether the node can listen |
//! | `certificate` | the files of `[tls]`, or what `[acme]` has kept |
//! | `cluster` | the key, and the other nodes |
//! | `mongo` | the MongoDB that an application shares, and the rights there |
//!
//! Nothing is changed, and everything outside is asked under a deadline.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{
    CliError,
    admin::{self, ClientError},
    args::Target,
};
use crate::config::Config;

mod certificate;
mod cluster;
mod finding;
mod folder;
mod machine;
mod mongo;
mod ports;

use finding::{Finding, Mark};

/// How long a disk may take to answer.
const DISK: Duration = Duration::from_secs(10);

/// What is looked at.
struct Patient {
    config: Config,
    node: Seen,
    now: i64,
}

/// What was seen of a node on the data folder.
enum Seen {
    /// None runs.
    None,
    /// Whether one runs cannot be seen.
    Unknown,
    /// One runs and does not say how it is.
    Silent,
    /// One runs, and this is what it says of itself.
    Says(Value),
}

impl Seen {
    fn is_there(&self) -> bool {
        matches!(self, Self::Silent | Self::Says(_))
    }

    fn says(&self) -> Option<&Value> {
        match self {
            Self::Says(said) => Some(said),
            Self::None | Self::Unknown | Self::Silent => None,
        }
    }
}

/// A part of which nothing can be said as long as it is not known whether a node runs.
fn unseen(about: &'static str) -> Finding {
    Finding::warning(about, "not looked at: whether a node runs is not known")
        .advise("see what is said of the node")
}

/// Looks at one part, and may wait for a disk.
type Look = fn(&Patient) -> Vec<Finding>;

/// Looks at everything; gives what to print, and whether nothing is a problem.
pub(super) fn run(target: &Target) -> Result<(String, bool), CliError> {
    let meant = admin::Meant::by(target);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(admin::AdminError::Runtime)?;
    let findings = runtime.block_on(async {
        match meant.settings() {
            Ok(config) => examine(config.clone()).await,
            Err(error) => unsettled(&meant, &error.to_string()).await,
        }
    });
    // A disk that hangs shall not hold up the exit.
    runtime.shutdown_background();
    let sound = findings.iter().all(|it| it.mark != Mark::Problem);
    let text = match target.json {
        true => {
            let count = |mark| findings.iter().filter(|it| it.mark == mark).count();
            let (problems, warnings) = (count(Mark::Problem), count(Mark::Warning));
            let said = json!({
                "problems": problems, "warnings": warnings, "findings": findings,
            });
            format!("{said}\n")
        }
        false => finding::report(&findings),
    };
    Ok((text, sound))
}

/// What can be said where the settings are wrong.
async fn unsettled(meant: &admin::Meant, error: &str) -> Vec<Finding> {
    let settings = Finding::problem("settings", error).advise(
        "mend them; secrets that systemd hands to the service alone (/etc/credstore) are not seen \
         here: docs/operations.md, Running",
    );
    let (_, node) = node(&meant.socket).await;
    vec![settings, node]
}

async fn examine(config: Config) -> Vec<Finding> {
    let (seen, first) = node(&config.node.admin_socket()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX));
    let patient = std::sync::Arc::new(Patient {
        config,
        node: seen,
        now,
    });
    let mut findings = vec![first];
    let local: [(&str, Look); 5] = [
        ("open files", machine::open_files),
        ("machine", machine::kernel_and_clock),
        ("data folder", folder::examine),
        ("ports", ports::examine),
        ("certificate", certificate::examine),
    ];
    for (about, look) in local {
        let patient = patient.clone();
        let looked = tokio::task::spawn_blocking(move || look(&patient));
        match tokio::time::timeout(DISK, looked).await {
            Ok(Ok(found)) => findings.extend(found),
            _ => findings.push(
                Finding::problem(about, format!("no answer within {DISK:?}"))
                    .advise("a disk or a network folder hangs: see dmesg and mount"),
            ),
        }
    }
    let (cluster, mongo) = tokio::join!(cluster::examine(&patient), mongo::examine(&patient));
    findings.extend(cluster);
    findings.extend(mongo);
    findings
}

/// Asks the node itself.
async fn node(socket: &Path) -> (Seen, Finding) {
    const ABOUT: &str = "node";
    match admin::look(socket).await {
        Ok(Some(said)) => {
            let status = said["status"].as_str().unwrap_or_default().to_owned();
            let finding = match status.as_str() {
                "ok" => Finding::ok(ABOUT, "it runs and is well"),
                "degraded" => Finding::warning(ABOUT, "it runs, and something that it needs fails")
                    .advise("see the findings below, and the log"),
                _ => Finding::problem(ABOUT, format!("it runs and does not serve: {status}"))
                    .advise("see the log; docs/operations.md, Health"),
            };
            (Seen::Says(said), finding)
        }
        Ok(None) => {
            let folder = socket.parent().unwrap_or(socket);
            let what = format!("none runs on {}", folder.display());
            (Seen::None, Finding::ok(ABOUT, what))
        }
        Err(error) => {
            let (seen, advice) = silence(&error);
            (
                seen,
                Finding::problem(ABOUT, error.to_string()).advise(advice),
            )
        }
    }
}

/// What a node is that cannot be asked, and what to do.
fn silence(error: &ClientError) -> (Seen, &'static str) {
    match error {
        ClientError::Lost { .. } => (
            Seen::Silent,
            "it hangs, or has been stopped: see its log and what it does (top -H); systemctl restart \
             tidings starts it anew, as systemd's watchdog does after 30 s",
        ),
        ClientError::Refused { .. } => (Seen::Silent, "see its log"),
        ClientError::Unreachable { error, .. }
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            (Seen::Unknown, "run this as the node's user")
        }
        ClientError::Unreachable { .. } | ClientError::NotRunning(_) => (
            Seen::Unknown,
            "node.data_dir must be a folder of the node's user",
        ),
    }
}

/// What the system says, as the end of a sentence.
fn said(error: &io::Error) -> String {
    error.to_string()
}
