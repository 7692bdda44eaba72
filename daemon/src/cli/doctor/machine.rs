//! Open files, the clock, and what the kernel allows.

use std::{path::Path, time::UNIX_EPOCH};

use tidings_cluster::SOCKET_BUFFER;

use super::{Finding, Patient};
use crate::{
    app::accounts::rfc3339,
    gateway::{BACKLOG, RESERVED_FILES, file_limit},
};

/// Clients that a node should have room for.
const FEW: u64 = 1000;

/// How many files may be open.
pub(super) fn open_files(patient: &Patient) -> Vec<Finding> {
    let said = patient.node.says();
    let of_node = said.and_then(|said| said["openFiles"]["limit"].as_u64());
    let wanted = patient.config.limits.connections as u64;
    vec![judge_files(of_node, file_limit(), wanted)]
}

fn judge_files(of_node: Option<u64>, of_shell: u64, wanted: u64) -> Finding {
    const ABOUT: &str = "open files";
    let limit = of_node.unwrap_or(of_shell);
    let room = limit.saturating_sub(RESERVED_FILES);
    let whose = match of_node {
        Some(_) => "",
        None => " (by this shell; a service has a limit of its own)",
    };
    if wanted > room || room < FEW {
        let enough = wanted.max(FEW) + RESERVED_FILES;
        let for_whom = match wanted {
            0 => String::new(),
            wanted => format!(", not for the {wanted} of limits.connections"),
        };
        let what = format!("{limit} may be open, room for {room} clients{for_whom}{whose}");
        return Finding::warning(ABOUT, what).advise(format!(
            "LimitNOFILE={enough} in the unit (systemctl edit tidings), or ulimit -n {enough}"
        ));
    }
    Finding::ok(
        ABOUT,
        format!("{limit} may be open, room for {room} clients{whose}"),
    )
}

/// The clock, and the kernel's bounds.
pub(super) fn kernel_and_clock(patient: &Patient) -> Vec<Finding> {
    let program = std::env::current_exe().ok();
    let made = program.and_then(|path| changed(&path)).unwrap_or(0);
    let store = patient.config.node.store_dir();
    let written = changed(&store.join("state")).max(changed(&store.join("sled/db")));
    let mut findings = vec![judge_clock(patient.now, made, written.unwrap_or(0))];
    let backlog = (
        "net.core.somaxconn",
        u64::from(BACKLOG),
        "of many clients that come at once some are turned away",
    );
    let buffer = SOCKET_BUFFER as u64;
    let slow = "links to other nodes lose packets under load";
    let buffers = [
        ("net.core.rmem_max", buffer, slow),
        ("net.core.wmem_max", buffer, slow),
    ];
    let is_clustered = patient.config.cluster.key.is_some();
    let buffers = buffers.into_iter().filter(|_| is_clustered);
    findings.extend(
        [backlog]
            .into_iter()
            .chain(buffers)
            .map(|(name, wanted, risk)| judge_kernel(name, sysctl(name), wanted, risk)),
    );
    findings
}

/// When a file was changed, Unix seconds.
fn changed(path: &Path) -> Option<i64> {
    let changed = path.metadata().ok()?.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    since.as_secs().try_into().ok()
}

/// A clock that runs freely is not noticed here, but beside others': see `cluster` and `mongo`.
fn judge_clock(now: i64, program: i64, store: i64) -> Finding {
    const ABOUT: &str = "clock";
    /// Disks of other machines have other clocks.
    const SLACK: i64 = 60;
    let shown = rfc3339(u64::try_from(now).unwrap_or_default().saturating_mul(1000));
    for (than, what) in [
        (program, "this program was made"),
        (store, "the store was written"),
    ] {
        if now + SLACK < than {
            return Finding::problem(ABOUT, format!("it says {shown}, which is before {what}"))
                .advise("set it, and let it be kept right: timedatectl set-ntp true, or chrony");
        }
    }
    Finding::ok(ABOUT, format!("it says {shown}"))
}

fn sysctl(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn judge_kernel(name: &'static str, is: Option<u64>, wanted: u64, risk: &str) -> Finding {
    match is {
        None => Finding::ok(name, "it cannot be read here"),
        Some(is) if is >= wanted => Finding::ok(name, is.to_string()),
        Some(is) => Finding::warning(name, format!("{is}: {risk}")).advise(format!(
            "sysctl -w {name}={wanted}, and a file in /etc/sysctl.d"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn few_files_are_a_warning_that_names_how_many_would_do() {
        let found = judge_files(Some(1024), 9, 0);
        assert_eq!(found.mark, Mark::Warning);
        assert!(found.advice.unwrap().starts_with("LimitNOFILE=1256 "));
        let found = judge_files(None, 20_000, 50_000);
        assert!(
            found
                .what
                .contains("room for 19744 clients, not for the 50000")
        );
        assert!(found.what.ends_with("a service has a limit of its own)"));
        assert_eq!(judge_files(Some(20_000), 9, 19_744).mark, Mark::Ok);
    }

    #[test]
    fn a_clock_that_is_behind_what_was_made_by_it_is_a_problem() {
        assert_eq!(judge_clock(1000, 900, 900).mark, Mark::Ok);
        assert_eq!(judge_clock(1000, 1050, 900).mark, Mark::Ok);
        assert!(
            judge_clock(1000, 2000, 0)
                .what
                .ends_with("this program was made")
        );
        assert!(
            judge_clock(1000, 0, 2000)
                .what
                .ends_with("the store was written")
        );
    }

    #[test]
    fn a_kernel_that_allows_less_is_a_warning() {
        let found = judge_kernel("net.core.somaxconn", Some(128), 4096, "risk");
        assert_eq!((found.mark, &*found.what), (Mark::Warning, "128: risk"));
        let advice = found.advice.unwrap();
        assert!(advice.starts_with("sysctl -w net.core.somaxconn=4096,"));
        assert_eq!(judge_kernel("a", Some(4096), 4096, "").mark, Mark::Ok);
        assert_eq!(judge_kernel("a", None, 4096, "").mark, Mark::Ok);
    }
}
