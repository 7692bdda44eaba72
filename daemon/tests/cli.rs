//! The program as people and scripts call it: what it prints and how it exits.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tidings::app::accounts::{AccountOptions, Accounts};
use tidings::cli::admin;
use tidings_storage::{Store, StoreConfig};
use tokio::net::UnixListener;

/// Runs the program without any setting of the environment.
fn tidings(arguments: &[&str], input: &str) -> Output {
    tidings_with(arguments, input, &[])
}

fn tidings_with(arguments: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program was not killed")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What a command prints that must succeed.
fn said(arguments: &[&str], input: &str) -> String {
    let output = tidings(arguments, input);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    stdout(&output).to_owned()
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn help_teaches_and_versions_are_told() {
    let help = said(&["--help"], "");
    for part in [
        "Where to begin",
        "tidings demo",
        "tidings check --config",
        "Exit codes",
    ] {
        assert!(help.contains(part), "{help}");
    }
    assert!(said(&["key", "create", "--help"], "").contains("- emit:  Send events"));
    assert_eq!(
        said(&["--version"], ""),
        format!("tidings {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_usage_exits_64() {
    for arguments in [
        &[][..],
        &["sevre"],
        &["serve", "--confg", "x"],
        &["user", "add"],
        &["key", "create", "shop"],
        &["key", "create", "shop", "--scope", "everything"],
        &["demo", "--port", "65536"],
        &["session", "create", "alice", "--ttl", "soon"],
    ] {
        let output = tidings(arguments, "");
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(stdout(&output).is_empty() && stderr(&output).contains("error:"));
    }
}

#[test]
fn a_wrong_configuration_exits_64_and_says_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(
        folder.path(),
        "tidings.toml",
        "[listen]\npubic = \"0.0.0.0:1\"\n[auth]\nsecrets = [\"hunter2\"]\n",
    );
    for command in ["serve", "check"] {
        let output = tidings_with(
            &[command, "--config", &file],
            "",
            &[("TIDINGS_ENGINE__PING_TIMEOUT", "0s")],
        );
        assert_eq!(code(&output), 64);
        let complaint = stderr(&output);
        assert!(complaint.starts_with("tidings: 3 problems in the configuration:\n"));
        for part in [
            "listen.pubic: unknown; did you mean public?",
            "auth.secrets = ***",
            "ping_timeout",
        ] {
            assert!(complaint.contains(part), "{complaint}");
        }
        assert!(!complaint.contains("hunter2"));
    }
    let missing = tidings(&["serve", "--config", "/nowhere.toml"], "");
    assert_eq!(code(&missing), 64);
    assert!(stderr(&missing).contains("/nowhere.toml"));
}

#[test]
fn check_says_what_a_node_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(
        folder.path(),
        "tidings.toml",
        "[node]\nname = \"n1\"\n[auth]\nsecrets = [\"not to be seen by anyone\"]\n\
         [http]\norigins = [\"*\"]\n[channels.news]\nrooms = [\"news:{topic}\"]\n",
    );
    let env = [
        ("TIDINGS_CONFIG", file.as_str()),
        ("TIDINGS_API_KEY", "nor this key of all scopes"),
    ];
    let output = tidings_with(&["check"], "", &env);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    for part in [
        "node         n1,",
        "http://0.0.0.0:8080/socket.io/",
        "subscribe:news {topic}",
        "joins news:{topic}: live",
        "WARNING      http.origins",
        "***",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(!text.contains("seen by anyone") && !text.contains("nor this key"));
}

#[test]
fn config_prints_what_the_package_ships() {
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/tidings.toml");
    assert_eq!(
        said(&["config"], ""),
        std::fs::read_to_string(packaged).unwrap()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "tidings.toml", &said(&["config"], ""));
    assert_eq!(
        said(&["check", "--config", &file], ""),
        said(&["check"], "")
    );
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .arg("config")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn at<'a>(data_dir: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--data-dir", data_dir]].concat()
}

/// The same story whether a daemon runs or not.
fn accounts_are_kept(data_dir: &str) {
    let add = at(data_dir, &["user", "add", "alice", "--password-stdin"]);
    assert_eq!(said(&add, "a long password\n"), "added alice\n");
    let again = tidings(&add, "another password\n");
    assert_eq!(
        (code(&again), stderr(&again)),
        (1, "tidings: there is such a user already\n")
    );
    let list = said(&at(data_dir, &["user", "list"]), "");
    assert!(list.starts_with("NAME   CREATED\nalice  20"), "{list}");

    let created = said(
        &at(
            data_dir,
            &["session", "create", "alice", "--ttl", "8h", "--json"],
        ),
        "",
    );
    let created: Value = serde_json::from_str(&created).unwrap();
    let session = created["sessionID"].as_str().unwrap();
    assert_eq!(created["userId"], "alice");
    assert!(said(&at(data_dir, &["session", "list", "--user", "alice"]), "").contains(session));
    assert!(said(&at(data_dir, &["session", "list"]), "").contains(session));
    assert_eq!(
        said(&at(data_dir, &["session", "revoke", session]), ""),
        "ended the session\n"
    );
    let gone = tidings(&at(data_dir, &["session", "revoke", session]), "");
    assert_eq!(
        (code(&gone), stderr(&gone)),
        (1, "tidings: there is no such session\n")
    );

    said(&at(data_dir, &["session", "create", "alice"]), "");
    let passwd = at(data_dir, &["user", "passwd", "alice", "--password-stdin"]);
    let changed = said(&passwd, "a better password");
    assert_eq!(changed, "changed the password of alice; 1 session ended\n");
    let empty = tidings(&passwd, "\n");
    assert_eq!(
        (code(&empty), stderr(&empty)),
        (1, "tidings: no password was given\n")
    );
    assert_eq!(
        said(&at(data_dir, &["user", "remove", "alice"]), ""),
        "removed alice; 0 sessions ended\n"
    );

    let key = said(
        &at(
            data_dir,
            &["key", "create", "my shop", "--scope", "emit,read"],
        ),
        "",
    );
    let id = key
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap();
    let list = said(&at(data_dir, &["key", "list"]), "");
    assert!(
        list.contains(id) && list.contains("my shop  emit,read"),
        "{list}"
    );
    assert_eq!(
        said(&at(data_dir, &["key", "revoke", id]), ""),
        "ended the key\n"
    );
    let list: Value =
        serde_json::from_str(&said(&at(data_dir, &["key", "list", "--json"]), "")).unwrap();
    assert_eq!(list, serde_json::json!({"keys": []}));
}

#[test]
fn accounts_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    accounts_are_kept(folder.path().to_str().unwrap());
}

#[test]
fn accounts_of_a_running_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path());
    accounts_are_kept(folder.path().to_str().unwrap());
    // `session revoke` ended one session, `user passwd` the other.
    assert_eq!(daemon.stop(), 2);
}

#[test]
fn many_sessions_are_listed_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path());
    daemon.create_sessions(1_001);
    let data_dir = folder.path().to_str().unwrap();
    let list = said(&["session", "list", "--data-dir", data_dir], "");
    assert_eq!(list.lines().count(), 1 + 1_001);
}

#[test]
fn a_node_that_cannot_be_reached_exits_69() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none");
    let output = tidings(
        &["user", "list", "--data-dir", nowhere.to_str().unwrap()],
        "",
    );
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("no daemon runs and there is no folder"));
    assert!(
        !nowhere.exists(),
        "a wrong path must not become an empty node"
    );

    // A daemon that takes the call and dies.
    let socket = folder.path().join("tidings.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let dies = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let output = tidings(
        &[
            "user",
            "list",
            "--data-dir",
            folder.path().to_str().unwrap(),
        ],
        "",
    );
    dies.join().unwrap();
    assert_eq!(code(&output), 69);
    assert!(
        stderr(&output).contains("did not answer"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_password_needs_a_terminal_or_leave() {
    let output = tidings(&["user", "add", "alice"], "a long password\n");
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("--password-stdin"));
}

/// A daemon as far as the admin socket shows it.
struct Daemon {
    runtime: tokio::runtime::Runtime,
    accounts: Accounts,
    store: Store,
    ended: Arc<AtomicUsize>,
}

impl Daemon {
    fn start(data_dir: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (store, _) = Store::open(StoreConfig::new(data_dir.join("store"))).unwrap();
        let options = AccountOptions {
            session_ttl: Duration::from_secs(60),
            ..AccountOptions::default()
        };
        let accounts = runtime
            .block_on(Accounts::open(store.clone(), options))
            .unwrap();
        let _inside = runtime.enter();
        let listener = UnixListener::bind(data_dir.join("tidings.sock")).unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        runtime.spawn(answer(listener, accounts.clone(), Arc::clone(&ended)));
        Self {
            runtime,
            accounts,
            store,
            ended,
        }
    }

    fn create_sessions(&self, count: usize) {
        self.runtime.block_on(async {
            for user in 0..count {
                let user = format!("user{user}");
                self.accounts
                    .create_session(&user, None, None, now_ms())
                    .await
                    .unwrap();
            }
        });
    }

    /// How many sessions it was told to close the sockets of.
    fn stop(self) -> usize {
        self.runtime.block_on(self.store.close()).unwrap();
        self.ended.load(Ordering::SeqCst)
    }
}

async fn answer(listener: UnixListener, accounts: Accounts, ended: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (accounts, ended) = (accounts.clone(), Arc::clone(&ended));
        let service = service_fn(move |request: Request<Incoming>| {
            let (accounts, ended) = (accounts.clone(), Arc::clone(&ended));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let path = head.uri.to_string();
                let method = head.method.as_str();
                let reply = admin::respond(&accounts, method, &path, &body, now_ms()).await;
                ended.fetch_add(
                    reply.ended.map_or(0, |ended| ended.sessions.len()),
                    Ordering::SeqCst,
                );
                let body = Full::new(Bytes::from(reply.body.to_string()));
                let response = Response::builder().status(reply.status).body(body).unwrap();
                Ok::<_, hyper::Error>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}
