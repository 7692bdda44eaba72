//! A child process whose output is kept, whose end is bounded, and whose death is noticed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take from SIGTERM to its end before the test fails.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// A running child. Dropping it ends it with SIGTERM and fails the test unless it ended well.
pub struct Process {
    /// What to call it in messages.
    name: String,
    /// The child; `None` once its end was asked for and seen.
    child: Option<Child>,
    /// Standard output and standard error, together.
    log: PathBuf,
    /// Set once SIGTERM was sent: a second one would not be asking but forcing.
    told: AtomicBool,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Process {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|e| panic!("cannot write the log {}: {e}", log.display()));
        let err = out.try_clone().expect("a file handle can be duplicated");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        Process {
            name: name.to_owned(),
            child: Some(child),
            log: log.to_owned(),
            told: AtomicBool::new(false),
        }
    }

    /// All output so far, of earlier runs with the same log file too.
    pub fn log(&self) -> String {
        match fs::read(&self.log) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => panic!("cannot read the log {}: {e}", self.log.display()),
        }
    }

    /// The process id; panics when the process was already ended.
    pub fn id(&self) -> u32 {
        self.child
            .as_ref()
            .expect("the process was ended by this test")
            .id()
    }

    /// Whether its end was not yet asked for and seen.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Panics, with the log, if the process ended by itself.
    pub fn assert_alive(&mut self) {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait().expect("a child can be waited for")
        {
            self.child = None;
            panic!(
                "{} ended by itself ({status}); its log:\n{}",
                self.name,
                self.log()
            );
        }
    }

    /// Repeats `probe` until it answers; panics, with the log, at the deadline or if the process
    /// ends first.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = probe(&self.log()) {
                return found;
            }
            self.assert_alive();
            assert!(
                begun.elapsed() < deadline,
                "{}: no {what} within {deadline:?}; its log:\n{}",
                self.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends SIGTERM and leaves the process to it. One that was stopped goes on, so that it can end.
    pub fn signal_term(&self) {
        self.told.store(true, Ordering::Relaxed);
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// SIGHUP: it is to read its settings anew.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it in its tracks: it keeps its sockets and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // The signal is on its way; until it has stopped every thread some still answer.
        let tasks = format!("/proc/{}/task", self.id());
        let begun = Instant::now();
        while !is_stopped(&tasks) && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the process to end by itself or after [`Process::signal_term`].
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.try_end() {
                return status;
            }
            self.give_up_after(begun, deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, then the status; panics if the process does not end within 30 s.
    pub async fn term(&mut self) -> ExitStatus {
        self.signal_term();
        self.ended(END_DEADLINE).await
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the process was already ended");
        child
            .kill()
            .unwrap_or_else(|e| panic!("cannot kill {}: {e}", self.name));
        child.wait().expect("a killed child can be waited for");
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("process ids fit");
        let pid = Pid::from_raw(id).expect("process ids are positive");
        // The process may have ended a moment ago; its status is looked at afterwards.
        let _ = kill_process(pid, signal);
    }

    fn try_end(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("the process was already ended");
        let status = child.try_wait().expect("a child can be waited for");
        if status.is_some() {
            self.child = None;
        }
        status
    }

    fn give_up_after(&mut self, begun: Instant, deadline: Duration) {
        if begun.elapsed() >= deadline {
            self.kill9();
            panic!(
                "{} did not end within {deadline:?}; its log:\n{}",
                self.name,
                self.log()
            );
        }
    }

    /// What is wrong at the end of a test, if anything.
    fn fault_at_end(&mut self) -> Option<String> {
        if self.child.is_some() {
            if !self.told.load(Ordering::Relaxed) {
                if let Some(status) = self.try_end() {
                    return Some(format!("ended by itself ({status})"));
                }
                self.signal_term();
            }
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = self.try_end() {
                    break status;
                }
                if begun.elapsed() >= END_DEADLINE {
                    self.kill9();
                    return Some(format!("did not end within {END_DEADLINE:?} of SIGTERM"));
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            if !status.success() {
                return Some(format!("ended badly after SIGTERM ({status})"));
            }
        }
        self.log()
            .contains("panicked at")
            .then(|| "panicked".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let fault = self.fault_at_end();
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}\n--- end ---", self.name, self.log());
            if let Some(fault) = fault {
                eprintln!("{} {fault}", self.name);
            }
        } else if let Some(fault) = fault {
            panic!("{} {fault}; its log:\n{}", self.name, self.log());
        }
    }
}

/// Whether all threads are stopped, by the third field of their `stat`.
fn is_stopped(tasks: &str) -> bool {
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut states =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    states.all(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim().starts_with('T'))
    })
}
