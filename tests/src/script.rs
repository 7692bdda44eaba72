//! Clients in JavaScript and Python, run as their users run them.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a script may run unless a test says otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// A script to run. It fails the test, with all its output, unless it exits with 0 in time.
pub struct Script {
    /// The interpreter with the script and its arguments.
    command: Command,
    /// What to call it in messages.
    name: String,
    /// When to give up.
    deadline: Duration,
}

impl Script {
    /// A script for Node.js in `tests/clients`, or a path from the workspace's `tests` folder.
    pub fn node(file: &str) -> Script {
        assert!(
            tests_folder().join("node_modules").is_dir(),
            "no tests/node_modules: run `tests/run --setup` first"
        );
        Script::of(Path::new("node"), file)
    }

    /// A script for Python in `tests/clients`.
    pub fn python(file: &str) -> Script {
        let python = tests_folder().join("../.tools/venv/bin/python");
        assert!(
            python.exists(),
            "no .tools/venv: run `tests/run --setup` first"
        );
        Script::of(&python, file)
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<str>) -> Script {
        self.name.push_str(&format!(" {}", arg.as_ref()));
        self.command.arg(arg.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Script {
        args.into_iter().fold(self, Script::arg)
    }

    /// Sets an environment variable; not shown in messages, so fit for credentials.
    pub fn env(mut self, name: &str, value: &str) -> Script {
        self.command.env(name, value);
        self
    }

    /// Gives it another time to run.
    pub fn deadline(mut self, deadline: Duration) -> Script {
        self.deadline = deadline;
        self
    }

    /// Runs it; gives what it printed.
    pub async fn run(mut self) -> String {
        self.command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(self.deadline, self.command.output())
            .await
            .unwrap_or_else(|_| panic!("{} took longer than {:?}", self.name, self.deadline))
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.name));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{} failed ({}):\n{printed}{}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Starts it, for a test that talks with it; see [`RunningScript`].
    pub fn start(mut self) -> RunningScript {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.name));
        let input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for");
        let mut errors = child.stderr.take().expect("it was asked for");
        let complaints = tokio::spawn(async move {
            let mut text = Vec::new();
            // Whatever was written until its end, however that came.
            let _ = errors.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        RunningScript {
            child,
            input,
            lines: BufReader::new(output).lines(),
            printed: String::new(),
            complaints,
            name: self.name,
            deadline: self.deadline,
        }
    }

    fn of(interpreter: &Path, file: &str) -> Script {
        let folder = tests_folder();
        let candidates = [folder.join("clients").join(file), folder.join(file)];
        let path = candidates
            .iter()
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("no script {file} in tests/clients or tests"));
        let mut command = Command::new(interpreter);
        command.arg(path).current_dir(&folder);
        Script {
            command,
            name: file.to_owned(),
            deadline: DEADLINE,
        }
    }
}

/// A script that runs beside the test: it prints lines, and is told lines. Killed with the value.
pub struct RunningScript {
    child: Child,
    input: ChildStdin,
    /// What it has yet to print.
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has printed so far.
    printed: String,
    /// What it wrote to standard error, once it has ended.
    complaints: JoinHandle<String>,
    /// What to call it in messages.
    name: String,
    /// How long each thing that is waited for may take.
    deadline: Duration,
}

impl RunningScript {
    /// Waits until it prints a line that begins with `start`; gives the rest of the line. Fails the
    /// test, with all output, if the script ends before.
    pub async fn says(&mut self, start: &str) -> String {
        loop {
            let line = timeout(self.deadline, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| {
                let (name, deadline) = (&self.name, self.deadline);
                panic!(
                    "{name} did not print {start} within {deadline:?}:\n{}",
                    self.printed
                )
            });
            let Some(line) = line.expect("a script prints text") else {
                self.fail(&format!("ended without printing {start}")).await;
            };
            self.printed.push_str(&line);
            self.printed.push('\n');
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Tells it a line.
    pub async fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        // One that has ended fails the test where its output is waited for.
        let _ = self.input.write_all(line.as_bytes()).await;
    }

    /// Does something while it runs; fails the test at once if it ends meanwhile.
    pub async fn meanwhile<T>(&mut self, doing: impl Future<Output = T>) -> T {
        tokio::select! {
            done = doing => return done,
            _ = self.child.wait() => {}
        }
        self.fail("ended too early").await
    }

    /// Waits for its end; fails the test unless it ended well.
    pub async fn ended(mut self) {
        let status = self.status().await;
        if !status.success() {
            self.fail(&format!("failed ({status})")).await;
        }
    }

    async fn status(&mut self) -> ExitStatus {
        let ended = timeout(self.deadline, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| {
            let (name, deadline) = (&self.name, self.deadline);
            panic!("{name} did not end within {deadline:?}:\n{}", self.printed)
        });
        status.expect("a child can be waited for")
    }

    async fn fail(&mut self, why: &str) -> ! {
        self.status().await;
        while let Ok(Some(line)) = self.lines.next_line().await {
            self.printed.push_str(&line);
            self.printed.push('\n');
        }
        let complaints = (&mut self.complaints).await.unwrap_or_default();
        panic!("{} {why}:\n{}{complaints}", self.name, self.printed);
    }
}

fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
