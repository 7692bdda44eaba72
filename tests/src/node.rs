//! A Tidings daemon: the real binary, configured, started, restarted, killed.
//!
//! ```no_run
//! # async fn f() {
//! use tidings_tests::Node;
//!
//! let node = Node::new().config("limits.connections_per_minute_per_ip", 3).start().await;
//! let alice = node.session("alice").await;
//! # }
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::port;
use crate::process::Process;
use crate::raw_http::{RawHttp, Response};
use crate::sio::Connector;

/// The key with all scopes that every node under test knows.
pub const API_KEY: &str = "test-key-with-all-scopes";

/// How long a node may take until it listens; a debug build on a busy machine is slow.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A node to be: its configuration. By default it listens on ports that the system chooses,
/// keeps its data in a folder that goes with the test, and drains at once.
pub struct Node {
    /// Dotted keys of the configuration file, later ones winning.
    settings: Vec<(String, Value)>,
    /// Tables that dotted keys cannot say, appended to the file as they are.
    tables: String,
    /// Environment variables beside the API key.
    env: Vec<(String, String)>,
    /// The program and arguments that become the daemon, if it is not started as it is.
    through: Vec<String>,
    /// The folder that holds configuration, data and log.
    home: TempDir,
}

impl Default for Node {
    fn default() -> Node {
        Node::new()
    }
}

impl Node {
    /// A node with the defaults of the product, but for the harness's own needs.
    pub fn new() -> Node {
        let home = tempfile::Builder::new()
            .prefix("tidings-test-")
            .tempdir()
            .expect("a temporary folder can be made");
        let node = Node {
            settings: Vec::new(),
            tables: String::new(),
            env: Vec::new(),
            through: Vec::new(),
            home,
        };
        let data = node.home.path().join("data");
        node.config("node.data_dir", data.to_str().expect("a path in UTF-8"))
            .config("listen.public", port::address())
            .config("listen.private", port::address())
            .config("limits.connections_per_minute_per_ip", 0)
            .config("drain.spread", "50ms")
            // On a busy machine one took more than 5 s now and then.
            .config("drain.deadline", "15s")
    }

    /// Sets a key of the configuration file.
    pub fn config(mut self, key: &str, value: impl Into<Value>) -> Node {
        self.set(key, value.into());
        self
    }

    /// Appends tables such as `[channels.news]` to the configuration file.
    pub fn tables(mut self, toml: &str) -> Node {
        self.tables.push_str(toml);
        self.tables.push('\n');
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Node {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it in a network namespace; see [`crate::netns`].
    pub fn within(self, netns: &str) -> Node {
        self.through(&["ip", "netns", "exec", netns])
    }

    /// Starts it by way of a program that becomes it, so that signals reach the daemon.
    pub fn through(mut self, program: &[&str]) -> Node {
        self.through = program.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Writes a file beside the configuration and gives its path.
    pub fn file(&self, name: &str, contents: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, contents).expect("the test's folder can be written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The data folder, for tests that put something there before the start.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> RunningNode {
        let mut running = self.launch();
        running.wait_until_listening().await;
        running
    }

    /// Starts it and does not wait: for one that may never listen, as nobody lets it in. Whoever
    /// has no addresses yet can look at its log and end it.
    pub fn launch(self) -> RunningNode {
        let process = self.spawn();
        RunningNode {
            node: self,
            process,
            public: String::new(),
            private: String::new(),
            cluster: None,
        }
    }

    /// Runs it where it is expected to stop by itself; gives its status and its output.
    pub async fn run_to_end(self) -> (ExitStatus, String) {
        let mut process = self.spawn();
        let status = process.ended(START_DEADLINE).await;
        (status, process.log())
    }

    /// Runs another command of the binary (`check`, `user add …`) on this configuration, with
    /// `input` on its standard input; gives its status, standard output and standard error.
    pub fn command(&self, args: &[&str], input: &str) -> (ExitStatus, String, String) {
        self.write_config();
        let mut child = self
            .binary_command()
            .env("TIDINGS_CONFIG", self.config_path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run tidings {args:?}: {e}"));
        let mut stdin = child.stdin.take().expect("it was asked for");
        // A command that reads no input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status, text(&output.stdout), text(&output.stderr))
    }

    /// Path of the configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.home.path().join("tidings.toml")
    }

    fn set(&mut self, key: &str, value: Value) {
        self.settings.retain(|(k, _)| k != key);
        self.settings.push((key.to_owned(), value));
    }

    fn listening_path(&self) -> PathBuf {
        self.data_dir().join("listening.json")
    }

    fn write_config(&self) {
        // Scalars and flat arrays are written alike in JSON and TOML.
        let mut toml: String = self
            .settings
            .iter()
            .map(|(k, v)| format!("{k} = {v}\n"))
            .collect();
        toml.push_str(&self.tables);
        // Another command may be reading it.
        let home = self.home.path();
        let written = tempfile::NamedTempFile::new_in(home)
            .and_then(|file| fs::write(file.path(), toml).map(|()| file));
        let file = written.expect("the test's folder can be written");
        file.persist(self.config_path())
            .expect("the test's folder can be written");
    }

    fn binary_command(&self) -> Command {
        let mut command = Command::new(binary());
        self.surround(&mut command);
        command
    }

    /// The environment and the folder that it runs in.
    fn surround(&self, command: &mut Command) {
        for (name, _) in std::env::vars() {
            let ours = ["PORT", "SESSION_SECRET", "DATABASE_URL"];
            if name.starts_with("TIDINGS_") || ours.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command
            .env("TIDINGS_API_KEY", API_KEY)
            .envs(self.env.iter().cloned());
        command.current_dir(self.home.path());
    }

    fn spawn(&self) -> Process {
        self.write_config();
        if let Err(e) = fs::remove_file(self.listening_path()) {
            assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{e}");
        }
        let mut command = match &self.through[..] {
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary());
                self.surround(&mut command);
                command
            }
            [] => self.binary_command(),
        };
        command.arg("serve").arg("--config").arg(self.config_path());
        Process::spawn("tidings", command, &self.home.path().join("log"))
    }
}

/// A node that listens. Dropping it drains it and fails the test unless that went well.
pub struct RunningNode {
    /// Ends before `node`, whose folder it uses.
    process: Process,
    /// What it was started with, for the next start.
    node: Node,
    /// `127.0.0.1:PORT` for clients.
    public: String,
    /// `127.0.0.1:PORT` for backends.
    private: String,
    /// Where other nodes reach it, if it is one of several.
    cluster: Option<String>,
}

/// A session that the node knows.
#[derive(Debug, Clone)]
pub struct SessionCreds {
    /// Opaque, and secret.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
}

impl SessionCreds {
    /// The CONNECT payload that presents it.
    pub fn auth(&self) -> Value {
        json!({"sessionID": self.session_id, "userId": self.user_id})
    }
}

impl RunningNode {
    /// Address of the public listener, `127.0.0.1:PORT`; the same after a restart.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Address of the private listener.
    pub fn private(&self) -> &str {
        &self.private
    }

    /// `http://127.0.0.1:PORT`, as clients want it.
    pub fn public_url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// `http://127.0.0.1:PORT` of the private API.
    pub fn private_url(&self) -> String {
        format!("http://{}", self.private)
    }

    /// Where other nodes reach it; panics if it is alone.
    pub fn cluster_address(&self) -> &str {
        self.cluster.as_deref().expect("it is one of several")
    }

    /// All output since the first start.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.node.data_dir()
    }

    /// Runs another command of the binary on the same configuration, as [`Node::command`] does.
    pub fn command(&self, args: &[&str], input: &str) -> (ExitStatus, String, String) {
        self.node.command(args, input)
    }

    /// A request to the private API with the test's key. A `null` body sends none.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.api_response(method, path, &body).await;
        (response.status, response.json())
    }

    /// As [`RunningNode::api`], for those who look at headers.
    pub async fn api_response(&self, method: &str, path: &str, body: &Value) -> Response {
        let key = format!("Bearer {API_KEY}");
        let headers = [
            ("Authorization", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        RawHttp::once(&self.private, method, path, &headers, &body).await
    }

    /// Emits; panics unless it is accepted. Gives the answer.
    pub async fn emit(&self, emit: Value) -> Value {
        let (status, answer) = self.api("POST", "/api/v1/emit", emit).await;
        assert_eq!(status, 202, "an emit was refused: {answer}");
        answer
    }

    /// Makes a session of `user`.
    pub async fn session(&self, user: &str) -> SessionCreds {
        self.session_with(json!({"userId": user})).await
    }

    /// Makes a session from a whole request body.
    pub async fn session_with(&self, body: Value) -> SessionCreds {
        let (status, answer) = self.api("POST", "/api/v1/sessions", body).await;
        assert_eq!(status, 201, "a session was refused: {answer}");
        let text = |key: &str| answer[key].as_str().expect("a string").to_owned();
        SessionCreds {
            session_id: text("sessionID"),
            user_id: text("userId"),
        }
    }

    /// A Socket.IO client for this node, to be configured and connected.
    pub fn client(&self) -> Connector {
        Connector::to(&self.public)
    }

    /// A client of `session` in `/`, connected over WebSocket.
    pub async fn connected(&self, session: &SessionCreds) -> crate::SioClient {
        self.client()
            .auth(session.auth())
            .connect()
            .await
            .expect("a valid session connects")
    }

    /// Changes a key for the next start.
    pub fn reconfigure(&mut self, key: &str, value: impl Into<Value>) {
        self.node.set(key, value.into());
    }

    /// Appends tables to the configuration file, for the next start or reload.
    pub fn add_tables(&mut self, toml: &str) {
        self.node.tables.push_str(toml);
    }

    /// Has it read its settings anew, as [`RunningNode::reconfigure`] has left them; gives the
    /// command's status and all its output.
    pub fn reload(&self) -> (ExitStatus, String) {
        let (status, out, err) = self.command(&["reload"], "");
        (status, out + &err)
    }

    /// SIGHUP, with the settings as they are now.
    pub fn hang_up(&self) {
        self.node.write_config();
        self.process.hang_up();
    }

    /// Writes a file beside the configuration anew.
    pub fn replace_file(&self, name: &str, contents: &str) {
        self.node.file(name, contents);
    }

    /// Drains it, then starts it on the same ports and data.
    pub async fn restart(&mut self) {
        let status = self.term().await;
        assert!(
            status.success(),
            "it ended badly ({status}); its log:\n{}",
            self.log()
        );
        self.start_again().await;
    }

    /// Kills it with no goodbye. [`RunningNode::start_again`] may follow.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// SIGTERM, then its exit status.
    pub async fn term(&mut self) -> ExitStatus {
        self.process.term().await
    }

    /// Sends SIGTERM and does not wait.
    pub fn signal_term(&self) {
        self.process.signal_term();
    }

    /// Sends SIGTERM unless it has been ended already.
    pub(crate) fn dismiss(&self) {
        if self.process.is_running() {
            self.process.signal_term();
        }
    }

    /// Stops it in its tracks, as SIGSTOP does, until [`RunningNode::thaw`].
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Waits for its end.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        self.process.ended(deadline).await
    }

    /// Starts it, after its end, on the same ports and data.
    pub async fn start_again(&mut self) {
        self.node.set("listen.public", json!(self.public));
        self.node.set("listen.private", json!(self.private));
        self.process = self.node.spawn();
        self.wait_until_listening().await;
    }

    /// Waits until it listens, after [`Node::launch`].
    pub async fn wait_until_listening(&mut self) {
        let path = self.node.listening_path();
        let listening = self
            .process
            .wait_for("listening.json", START_DEADLINE, |_| {
                serde_json::from_slice::<Value>(&fs::read(&path).ok()?).ok()
            })
            .await;
        let address = |key: &str| {
            listening[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key} in {listening}"))
                .to_owned()
        };
        self.public = address("public");
        self.private = address("private");
        self.cluster = listening["cluster"].as_str().map(str::to_owned);
    }
}

/// The hash of a password, as the configuration has it.
pub fn password_hash(password: &str) -> String {
    let (status, hash, error) =
        Node::new().command(&["hash-password", "--password-stdin"], password);
    assert!(status.success(), "{error}");
    hash.trim().to_owned()
}

/// The daemon's binary in the folder that the running test was built into.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the running test has a path");
    let folders = test.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("tidings"))
        .find(|path| path.is_file());
    let path = found.unwrap_or_else(|| {
        panic!(
            "no `tidings` beside {}: run `cargo build -p tidings` first",
            test.display()
        )
    });
    assert_newer_than_sources(&path);
    path
}

/// A stale binary would make tests pass or fail for yesterday's code.
fn assert_newer_than_sources(binary: &Path) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = modified(binary);
    for folder in ["daemon/src", "storage/src", "cluster/src"] {
        if let Some(newest) = newest_under(&workspace.join(folder)) {
            assert!(
                newest <= built,
                "{} is older than {folder}: run `cargo build -p tidings` first",
                binary.display()
            );
        }
    }
}

fn newest_under(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_of_tests = ["tests", "sim"].iter().any(|part| {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                stem.is_some_and(|stem| stem.starts_with(part))
            });
            if is_of_tests {
                // The binary is not built anew for it.
                None
            } else if path.is_dir() {
                newest_under(&path)
            } else {
                Some(modified(&path))
            }
        })
        .max()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path)
        .and_then(|meta| meta.modified())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
