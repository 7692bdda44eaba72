//! What the documentation claims: its examples print what it says they print, its links lead
//! somewhere, and its list of metrics is complete.
//!
//! An example is a fenced block with `test=NAME` after its language. It runs as a reader would run
//! it, against a real node, while the test plays the backend. `readme` runs those of the README. What it prints must be the block with
//! `prints=NAME`, line by line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use tidings_tests::node::API_KEY;
use tidings_tests::{Node, PATIENCE, RunningNode, SessionCreds, eventually};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The pages with examples.
const PAGES: [&str; 2] = ["README.md", "docs/WEBSOCKET_API.md"];

/// The examples that a test here runs.
const RUN: [&str; 10] = [
    "backend",
    "backend-python",
    "errors",
    "errors-python",
    "quick-start",
    "recovery",
    "subscribe",
    "subscribe-python",
    "quick-start-channels",
    "quick-start-cluster",
];

#[test]
fn every_example_is_run() {
    let blocks = blocks();
    let named = |key: &str| -> BTreeSet<String> {
        blocks.iter().filter_map(|block| block.named(key)).collect()
    };
    let run = RUN.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named("test"), run);
    assert!(named("prints").is_subset(&run));
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.parent().expect("a page lies in a folder");
            let target = match file {
                "" => page.clone(),
                file => folder.join(file),
            };
            let found =
                target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !found {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Each part and each crate's folders; what is deeper is found in its part's first lines.
#[test]
fn the_code_map_has_all_there_is() {
    let text = read(&root().join("docs/WEBSOCKET_ARCHITECTURE.md"));
    let mut missing = Vec::new();
    for name in ["daemon", "storage", "cluster"] {
        let heading = format!("### `{name}/src`");
        let map = text.split(&heading).nth(1).expect("each crate has a map");
        let map = map.split("\n#").next().unwrap_or_default();
        let folder = root().join(name).join("src");
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let entry = entry.expect("a folder can be read");
            let file = entry.file_name().into_string().expect("UTF-8");
            let slash = if entry.path().is_dir() { "/" } else { "" };
            let known = file == "lib.rs" || map.contains(&format!("`{file}{slash}`"));
            missing.extend((!known).then(|| format!("{name}/src/{file}{slash}")));
        }
        for named in map.lines().filter_map(|row| row.strip_prefix("| `")) {
            let named = named.split('|').next().unwrap_or_default();
            for part in named.split('`').step_by(2) {
                let there = folder.join(part).exists();
                missing.extend((!there).then(|| format!("{name}/src/{part}, which is gone")));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn the_quick_starts_channels_are_a_configuration() {
    let tables = block("test", "quick-start-channels").text;
    let node = Node::new().tables(&tables).start().await;
    let mut alice = node.connected(&node.session("alice").await).await;
    let answer = alice.ask("subscribe:orders", Value::Null).await;
    assert_eq!(answer["joined"], json!(["orders:alice"]));
    let answer = alice
        .ask("subscribe:prices", json!({"items": ["tea"]}))
        .await;
    assert_eq!(answer["joined"], json!(["tea"]));
    let answer = alice.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["error"]["code"], "unknown_event");
}

#[tokio::test]
async fn a_client_subscribes_in_javascript() {
    subscribing("subscribe").await;
}

#[tokio::test]
async fn a_client_subscribes_in_python() {
    subscribing("subscribe-python").await;
}

async fn subscribing(name: &str) {
    let node = Node::new().start().await;
    let mut example = Example::start(name, &node, &node.session("alice").await);
    example.prints(1).await;
    post(&node, "/quotes/AAPL", json!({"price": 190.5})).await;
    post(&node, "/users/alice/portfolio", json!({"cash": 1200})).await;
    post(
        &node,
        "/users/alice/trades/executed",
        json!({"orderId": "o-1"}),
    )
    .await;
    let failed = json!({"orderId": "o-2", "reason": "insufficient funds"});
    post(&node, "/users/alice/trades/failed", failed).await;
    example.prints_the_rest().await;
}

#[tokio::test]
async fn a_client_tells_passing_errors_from_final_ones() {
    let mut node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut example = Example::start("errors", &node, &session);
    example.prints(3).await;
    upgraded(&node).await;
    node.restart().await;
    example.prints(7).await;
    let path = format!("/api/v1/sessions/{}", session.session_id);
    assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 204);
    example.prints_the_rest().await;
}

#[tokio::test]
async fn a_python_client_is_told_why_it_is_refused() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    Example::start("errors-python", &node, &session)
        .prints_the_rest()
        .await;
}

#[tokio::test]
async fn a_client_gets_what_it_missed() {
    let mut node = Node::new().start().await;
    let mut example = Example::start("recovery", &node, &node.session("alice").await);
    example.prints(1).await;
    eventually("alice has subscribed", async || {
        let (_, room) = node
            .api("GET", "/api/v1/rooms/trades%3Aalice", Value::Null)
            .await;
        room["count"] == 1
    })
    .await;
    post(
        &node,
        "/users/alice/trades/executed",
        json!({"orderId": "o-1"}),
    )
    .await;
    example.prints(2).await;
    upgraded(&node).await;
    assert!(node.term().await.success());
    node.start_again().await;
    post(
        &node,
        "/users/alice/trades/executed",
        json!({"orderId": "o-2"}),
    )
    .await;
    example.prints_the_rest().await;
}

#[tokio::test]
async fn a_backend_emits_in_javascript_and_python() {
    let node = Node::new().start().await;
    let session = node.session("somebody").await;
    for name in ["backend", "backend-python"] {
        let mut example = Example::start(name, &node, &session);
        example.prints_the_rest().await;
        example.ends_well().await;
    }
}

async fn post(node: &RunningNode, path: &str, body: Value) {
    let (status, answer) = node.api("POST", &format!("/api/v1{path}"), body).await;
    assert_eq!(status, 202, "{path}: {answer}");
}

/// Waits until the one client has left polling for WebSocket.
async fn upgraded(node: &RunningNode) {
    eventually("the client has upgraded", async || {
        let (_, sockets) = node.api("GET", "/api/v1/sockets", Value::Null).await;
        sockets["sockets"][0]["transport"] == "websocket"
    })
    .await;
}

/// An example that runs. Dropping it ends it.
struct Example {
    name: String,
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// The lines that the page says it prints.
    expected: Vec<String>,
    /// How many of them it has printed.
    printed: usize,
    /// Holds the script and the way to the installed packages.
    _home: TempDir,
}

impl Example {
    fn start(name: &str, node: &RunningNode, session: &SessionCreds) -> Example {
        let code = block("test", name);
        let expected = block("prints", name).text;
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let (interpreter, file) = match code.language() {
            "js" => (PathBuf::from("node"), "example.mjs"),
            "python" => (root().join(".tools/venv/bin/python"), "example.py"),
            other => panic!("{name} is in {other}, which no test can run"),
        };
        let packages = root().join("tests/node_modules");
        assert!(
            packages.is_dir(),
            "no tests/node_modules: run `tests/run --setup` first"
        );
        std::os::unix::fs::symlink(packages, home.path().join("node_modules"))
            .expect("the test's folder can be written");
        fs::write(home.path().join(file), code.text).expect("the test's folder can be written");
        let mut child = Command::new(&interpreter)
            .arg(file)
            .current_dir(home.path())
            .env("GATEWAY", format!("http://{}", node.public()))
            .env("API", format!("http://{}", node.private()))
            .env("API_KEY", API_KEY)
            .env("SESSION_ID", &session.session_id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", interpreter.display()));
        let stdout = child.stdout.take().expect("standard output is piped");
        Example {
            name: name.to_owned(),
            child,
            output: BufReader::new(stdout).lines(),
            expected: expected
                .lines()
                .map(|line| line.trim_end().to_owned())
                .collect(),
            printed: 0,
            _home: home,
        }
    }

    /// Waits until so many lines are printed in all, each as the page has it.
    async fn prints(&mut self, lines: usize) {
        while self.printed < lines {
            let expected = self.expected[self.printed].clone();
            match timeout(PATIENCE, self.output.next_line()).await {
                Ok(Ok(Some(line))) if line.trim_end() == expected => self.printed += 1,
                Ok(Ok(Some(line))) => panic!("{} printed {line:?}, not {expected:?}", self.name),
                Ok(_) => self.fail(&format!("ended before {expected:?}")).await,
                Err(_) => self.fail(&format!("did not print {expected:?}")).await,
            }
        }
    }

    async fn prints_the_rest(&mut self) {
        self.prints(self.expected.len()).await;
    }

    async fn ends_well(mut self) {
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends in time");
        assert!(
            status.expect("a child can be waited for").success(),
            "{}",
            self.name
        );
    }

    /// Fails the test with what the example wrote to standard error.
    async fn fail(&mut self, what: &str) {
        let _ = self.child.start_kill();
        let mut errors = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut errors).await;
        }
        panic!("{} {what}; its errors:\n{errors}", self.name);
    }
}

/// A fenced block.
pub(super) struct Block {
    /// What follows the opening fence.
    info: String,
    pub(super) text: String,
}

impl Block {
    pub(super) fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }

    /// The name in `key=NAME`.
    pub(super) fn named(&self, key: &str) -> Option<String> {
        let words = self.info.split(' ').skip(1);
        let mut pairs = words.filter_map(|word| word.split_once('='));
        pairs
            .find(|(found, _)| *found == key)
            .map(|(_, name)| name.to_owned())
    }
}

pub(super) fn block(key: &str, name: &str) -> Block {
    let found = blocks()
        .into_iter()
        .find(|block| block.named(key).as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no page has a block {key}={name}"))
}

pub(super) fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for page in PAGES {
        let text = read(&root().join(page));
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(info) = line.strip_prefix("```") {
                let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                blocks.push(Block {
                    info: info.to_owned(),
                    text: inside.join("\n") + "\n",
                });
            }
        }
    }
    blocks
}

/// All pages that people read.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "bench/README.md",
    ]
    .iter()
    .map(|page| root.join(page))
    .collect();
    let docs = fs::read_dir(root.join("docs")).expect("there are docs");
    pages.extend(
        docs.map(|entry| entry.expect("docs can be read").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    pages
}

/// The links of a page to files and headings of this repository, outside of fenced blocks.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("\n```").step_by(2);
    let targets = prose.flat_map(|text| text.split("](").skip(1));
    targets
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The anchors that headings get: lower case, spaces as hyphens, most punctuation left out.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = text.split("\n```").step_by(2);
    let headings = prose
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-");
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
                .collect()
        })
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(super) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests lie in the workspace")
        .to_owned()
}
