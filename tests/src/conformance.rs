//! The conformance server; with `TIDINGS_REFERENCE=1`, the reference implementation in its place,
//! which proves the tests themselves; with `TIDINGS_CLUSTERED=1`, three servers that are one cluster,
//! behind a balancer that sends each connection to the next.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::balancer::Balancer;
use crate::cluster::new_key;
use crate::port;
use crate::process::Process;

/// What the server announces once it listens; the address follows.
const READY: &str = "listening on ";

/// What it announces before that if it is one of several; its address for the others follows.
const CLUSTER: &str = "cluster at ";

/// A debug build on a busy machine is slow.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What the server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What the official suites expect: echo engine, two namespaces, short timers.
    Suite,
    /// The same with usual timers, for what a busy machine takes long for.
    Patient,
    /// For black-box client drivers, with the control API.
    Kit,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Suite => "suite",
            Profile::Patient => "patient",
            Profile::Kit => "kit",
        }
    }
}

/// A running conformance server, or several that pass for one.
pub struct Conformance {
    /// End with the value, and before the folder of their logs.
    processes: Vec<Process>,
    /// `127.0.0.1:PORT`
    address: String,
    /// Before them, if they are several.
    _balancer: Option<Balancer>,
    /// Holds the logs.
    _home: TempDir,
}

impl Conformance {
    /// Starts a server of that profile on a port that the system chooses.
    pub async fn start(profile: Profile) -> Conformance {
        if is_clustered() {
            return Conformance::start_clustered(profile).await;
        }
        Conformance::start_with(profile, &[]).await
    }

    /// Starts a server with more arguments.
    pub async fn start_with(profile: Profile, args: &[&str]) -> Conformance {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let mut process = spawn(profile, args, home.path(), "log");
        let address = announced(&mut process, READY).await;
        Conformance {
            processes: vec![process],
            address,
            _balancer: None,
            _home: home,
        }
    }

    /// Starts three servers that are one cluster, behind a balancer.
    pub async fn start_clustered(profile: Profile) -> Conformance {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        fs::write(home.path().join("key"), new_key()).expect("the folder can be written");
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        let mut seeds: Vec<String> = Vec::new();
        for name in ["n1", "n2", "n3"] {
            let config = format!(
                "[node]\nname = {name:?}\ndata_dir = {:?}\n\
                 [cluster]\nkey = {:?}\nlisten = {:?}\nseeds = {seeds:?}\n",
                home.path().join(name),
                home.path().join("key"),
                port::address(),
            );
            let file = home.path().join(format!("{name}.toml"));
            fs::write(&file, config).expect("the folder can be written");
            let file = file.to_str().expect("a path in UTF-8");
            let log = format!("{name}.log");
            let mut process = spawn(profile, &["--config", file], home.path(), &log);
            addresses.push(announced(&mut process, READY).await);
            seeds.push(announced(&mut process, CLUSTER).await);
            processes.push(process);
        }
        let servers: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let balancer = Balancer::over(&servers).await;
        Conformance {
            processes,
            address: balancer.address().to_owned(),
            _balancer: Some(balancer),
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
        self.processes.iter().map(Process::log).collect()
    }

    /// Panics, with the log, if it ended.
    pub fn assert_alive(&mut self) {
        for process in &mut self.processes {
            process.assert_alive();
        }
    }
}

/// True when the tests run against the reference implementation.
pub fn is_reference() -> bool {
    std::env::var_os("TIDINGS_REFERENCE").is_some_and(|value| value == "1")
}

/// True when the tests run against a cluster of three.
pub fn is_clustered() -> bool {
    std::env::var_os("TIDINGS_CLUSTERED").is_some_and(|value| value == "1")
}

fn spawn(profile: Profile, args: &[&str], home: &Path, log: &str) -> Process {
    let mut command = if is_reference() {
        reference()
    } else {
        tidings()
    };
    command
        .args(["--listen", "127.0.0.1:0", "--profile", profile.name()])
        .args(args);
    command.current_dir(home);
    Process::spawn("the server", command, &home.join(log))
}

/// Waits for an address that the server announces.
async fn announced(process: &mut Process, what: &str) -> String {
    let address = |log: &str| {
        let (whole_lines, _) = log.rsplit_once('\n')?;
        let line = whole_lines
            .lines()
            .find_map(|line| line.strip_prefix(what))?;
        Some(line.trim().to_owned())
    };
    process.wait_for("address", START_DEADLINE, address).await
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
    let mut command = Command::new(path);
    // The server would take it for a setting.
    command.env_remove("TIDINGS_CLUSTERED");
    command
}
