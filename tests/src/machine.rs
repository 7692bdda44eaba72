//! A whole machine: Debian in a folder, with a systemd that runs. Needs root, `systemd-nspawn`, and
//! what `tests/run --long` prepares: `.tools/debian`, and packages in the target folder.
//!
//! It shares the network of the test, so tests choose their ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a boot may take.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// A machine. Gone with the value.
pub struct Machine {
    home: TempDir,
    /// What runs it, once it is booted.
    booted: Option<Booted>,
}

struct Booted {
    nspawn: Child,
    /// Its first process, as the test sees it.
    init: u32,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed, on both ways.
    pub said: String,
}

impl Done {
    /// What it printed; panics unless it went well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.said);
        self.said
    }
}

impl Machine {
    /// A clean one, not booted.
    pub fn new() -> Machine {
        let base = workspace().join(".tools/debian");
        assert!(
            base.join("usr/bin/systemctl").exists(),
            "no .tools/debian: `tests/run --long` makes it"
        );
        let home = tempfile::Builder::new()
            .prefix("tidings-machine-")
            .tempdir()
            .expect("a temporary folder can be made");
        let machine = Machine { home, booted: None };
        Command::new("cp")
            .arg("--archive")
            .arg(base.join("."))
            .arg(machine.root())
            .done()
            .ok();
        machine
    }

    /// Its root folder, seen from outside.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// A file of it, by its absolute path.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let folder = path.parent().expect("it is below the root");
        fs::create_dir_all(folder).expect("it can be made");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file; panics if there is none.
    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Boots it and waits until systemd has done all that it had to.
    pub fn boot(&mut self) {
        let log = fs::File::create(self.home.path().join("console")).expect("it can be made");
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn
            .args(["--quiet", "--keep-unit", "--register=no", "--boot"])
            .args(["--console=pipe", "--directory"])
            .arg(self.root())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be duplicated"))
            .stderr(log);
        let nspawn = nspawn.spawn().expect("systemd-nspawn runs");
        let begun = Instant::now();
        let mut booted = Booted { nspawn, init: 0 };
        while booted.init == 0 {
            self.assert_booting(begun);
            booted.init = child_of(booted.nspawn.id()).unwrap_or_default();
        }
        self.booted = Some(booted);
        loop {
            let state = self.run(&["systemctl", "is-system-running"]).said;
            if ["running", "degraded"].contains(&state.trim()) {
                return;
            }
            self.assert_booting(begun);
        }
    }

    fn assert_booting(&self, begun: Instant) {
        let console = || fs::read_to_string(self.home.path().join("console")).unwrap_or_default();
        assert!(
            begun.elapsed() < BOOT_DEADLINE,
            "it does not boot:\n{}",
            console()
        );
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Runs a command on it: in the booted machine, or in its folder before.
    pub fn run(&self, command: &[&str]) -> Done {
        let mut outer = match &self.booted {
            Some(booted) => {
                let mut nsenter = Command::new("nsenter");
                nsenter.args(["--target", &booted.init.to_string()]);
                nsenter.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
                nsenter
            }
            None => {
                let mut chroot = Command::new("chroot");
                chroot.arg(self.root());
                chroot
            }
        };
        outer
            .args(command)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("DEBIAN_FRONTEND", "noninteractive")
            .done()
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.run(&["systemctl", "show", "--value", "--property", name, unit]);
        shown.ok().trim().to_owned()
    }

    /// The main process of a unit, as the test sees it.
    pub fn main_process(&self, unit: &str) -> u32 {
        let inner = self.property(unit, "MainPID");
        let init = self.booted.as_ref().expect("it is booted").init;
        let namespace = |id: &str| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        let of_machine = namespace(&init.to_string());
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found = ids.filter(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:"));
            line.and_then(|line| line.split_whitespace().last()) == Some(&inner)
                && namespace(id) == of_machine
        });
        let found = found
            .next()
            .unwrap_or_else(|| panic!("no process {inner} of {unit}"));
        found.parse().expect("a process id")
    }

    /// Waits until a command goes well; panics with what it last said.
    pub fn eventually(&self, command: &[&str], within: Duration) {
        let begun = Instant::now();
        loop {
            let done = self.run(command);
            if done.code == 0 {
                return;
            }
            assert!(
                begun.elapsed() < within,
                "{command:?} does not go well: {}\n{}",
                done.said,
                self.journal()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The log of the service.
    pub fn journal(&self) -> String {
        let journal = ["journalctl", "--no-pager", "--output=cat", "--unit=tidings"];
        self.run(&journal).said
    }

    /// Puts a package into it, by its version; see [`package`].
    pub fn bring(&self, package: &Path) -> String {
        let name = package.file_name().expect("a file").to_string_lossy();
        fs::copy(package, self.path("/root").join(&*name)).expect("it can be copied");
        format!("/root/{name}")
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.booted.is_some() {
            eprintln!(
                "--- log of the service ---\n{}\n--- end ---",
                self.journal()
            );
        }
        if let Some(mut booted) = self.booted.take() {
            // All that it runs goes with its first process.
            let init = i32::try_from(booted.init).ok();
            if let Some(init) = init.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(init, rustix::process::Signal::KILL);
            }
            let _ = booted.nspawn.wait();
        }
    }
}

/// The package of a version that `tests/run --long` has built beside the running test.
pub fn package(version: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the running test has a path");
    let name = format!("tidings_{version}_");
    let mut folders = test.ancestors().map(|folder| folder.join("packages"));
    let folder = folders.find(|folder| folder.is_dir());
    let folder = folder.expect("no packages: `tests/run --long` builds them");
    let files = fs::read_dir(&folder).expect("it can be read").flatten();
    let mut paths = files.map(|file| file.path());
    let found = paths.find(|path| path.to_string_lossy().contains(&name));
    found.unwrap_or_else(|| panic!("no {name}*.deb in {}", folder.display()))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn child_of(id: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

trait RunToEnd {
    fn done(&mut self) -> Done;
}

impl RunToEnd for Command {
    fn done(&mut self) -> Done {
        let output = self.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|e| panic!("cannot run {self:?}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done {
            code: output.status.code().unwrap_or(-1),
            said: text(&output.stdout) + &text(&output.stderr),
        }
    }
}
