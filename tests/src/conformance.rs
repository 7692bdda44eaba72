//! The conformance server; with `TIDINGS_REFERENCE=1`, the reference implementation in its place,
//! which proves the tests themselves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;

/// What the server announces once it listens; the address follows.
const READY: &str = "listening on ";

/// A debug build on a busy machine is slow.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What the server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What the official suites expect: echo engine, two namespaces, short timers.
    Suite,
    /// For black-box client drivers, with the control API.
    Kit,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Suite => "suite",
            Profile::Kit => "kit",
        }
    }
}

/// A running conformance server.
pub struct Conformance {
    /// Ends with the value, and before the folder of its log.
    process: Process,
    /// `127.0.0.1:PORT`
    address: String,
    /// Holds the log.
    _home: TempDir,
}

impl Conformance {
    /// Starts a server of that profile on a port that the system chooses.
    pub async fn start(profile: Profile) -> Conformance {
        Conformance::start_with(profile, &[]).await
    }

    /// Starts a server with more arguments.
    pub async fn start_with(profile: Profile, args: &[&str]) -> Conformance {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = if is_reference() {
            reference()
        } else {
            tidings()
        };
        command
            .args(["--listen", "127.0.0.1:0", "--profile", profile.name()])
            .args(args);
        command.current_dir(home.path());
        let mut process = Process::spawn("the server", command, &home.path().join("log"));
        let address = process
            .wait_for("address", START_DEADLINE, announced_address)
            .await;
        Conformance {
            process,
            address,
            _home: home,
        }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Panics, with the log, if it ended.
    pub fn assert_alive(&mut self) {
        self.process.assert_alive();
    }
}

/// True when the tests run against the reference implementation.
pub fn is_reference() -> bool {
    std::env::var_os("TIDINGS_REFERENCE").is_some_and(|value| value == "1")
}

fn announced_address(log: &str) -> Option<String> {
    let (whole_lines, _) = log.rsplit_once('\n')?;
    let line = whole_lines
        .lines()
        .find_map(|line| line.strip_prefix(READY))?;
    Some(line.trim().to_owned())
}

fn reference() -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/server.mjs"));
    command
}

fn tidings() -> Command {
    let test = std::env::current_exe().expect("the running test has a path");
    let mut folders = test.ancestors().skip(1).take(2);
    let path = folders
        .find_map(|folder| Some(folder.join("conformance")).filter(|path| path.is_file()))
        .unwrap_or_else(|| {
            panic!(
                "no `conformance` beside {}: `cargo test` builds it",
                test.display()
            )
        });
    Command::new(path)
}
