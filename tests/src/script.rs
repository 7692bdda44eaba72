//! Clients in JavaScript and Python, run as their users run them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
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

fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
