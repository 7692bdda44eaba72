//! The README's commands, run as they stand there, in a network of their own, so that they may use
//! the ports that they name.
//!
//! A block of commands has `run=NAME` after its language. Not there are cargo, which gives what is
//! built already, and npm, which gives what is installed already.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::docs::{block, blocks, root};

/// The blocks of commands that a test here runs, but for `gate`: that runs the test.
const RUN: [&str; 7] = [
    "client", "demo", "emit", "gate", "node", "session", "settings",
];

/// What stands in for the session's id on the page.
const SHOWN_ID: &str = "m4VbAKZW…";

/// Gives what `cargo build --release` and `cargo run --release` would.
const CARGO: &str = r#"
case "$*" in
    "build --release") mkdir -p target/release && ln -sf "$TIDINGS" target/release/tidings ;;
    "run --release -- "*) shift 3 && exec "$TIDINGS" "$@" ;;
    *) echo "cargo $*: not known here" >&2 && exit 99 ;;
esac
"#;

/// Gives what `npm install socket.io-client` would.
const NPM: &str = r#"
[[ "$*" == "install socket.io-client" ]] || { echo "npm $*: not known here" >&2; exit 99; }
ln -s "$PACKAGES" node_modules
"#;

/// What every script begins with.
const PRELUDE: &str = r#"
set -euo pipefail
ip link set lo up
within() { timeout 60 bash -c "until $1; do sleep 0.05; done" || { echo "never: $1" >&2; exit 1; }; }
answers() { within "curl -sf -o /dev/null http://127.0.0.1:$1"; }
ends() { pkill -TERM -P "$1"; wait "$1"; }
"#;

#[test]
fn every_command_is_run() {
    let shell = blocks()
        .into_iter()
        .filter(|block| block.language() == "sh");
    let named: Vec<_> = shell.map(|block| block.named("run")).collect();
    let run = RUN.iter().map(|name| Some((*name).to_owned()));
    let named: BTreeSet<_> = named.into_iter().collect();
    assert_eq!(named, run.collect::<BTreeSet<_>>());
    let gate = commands("gate");
    let program = gate.split_whitespace().next().expect("a command");
    let about = fs::metadata(root().join(program)).expect("it is there");
    assert!(about.permissions().mode() & 0o111 != 0);
}

#[test]
fn the_demo_shows_its_page_and_its_users() {
    let demo = commands("demo");
    let said = Home::new().run(&format!(
        r#"
        {{ {demo}
        }} >said 2>&1 &
        answers 8080/
        within "grep -q Ctrl-C said"
        ends $! || true
        cat said
        "#
    ));
    assert!(said.contains("http://127.0.0.1:8080/"), "{said}");
    assert!(said.contains("alice   alice-demo"), "{said}");
}

#[test]
fn the_quick_start_prints_what_it_says() {
    let home = Home::new();
    home.write("client.mjs", &block("test", "quick-start").text);
    let (node, serve) = last_line(&commands("node"));
    let said = home.run(&format!(
        r#"
        {node}
        {{ {serve}
        }} >log 2>&1 &
        node=$!
        answers 8080/health
        {{ {session}
        }} >session
        SHOWN=$(grep -o '"sessionID":"[^"]*' session | cut -d '"' -f 4)
        {{ {client}
        }} >printed &
        client=$!
        within "grep -q joined printed"
        {emit}
        within "grep -q executed printed"
        ends $client || true
        ends $node
        echo
        cat printed
        "#,
        session = commands("session"),
        client = commands("client").replace(SHOWN_ID, "$SHOWN"),
        emit = commands("emit"),
    ));
    let expected = block("prints", "quick-start").text;
    assert!(said.ends_with(&expected), "{said}\nnot\n{expected}");
}

#[test]
fn the_settings_commands_work() {
    let (commands, serve) = last_line(&commands("settings"));
    let home = Home::new();
    home.run(&format!(
        r#"
        export TIDINGS_NODE__DATA_DIR=./data
        {commands}
        {{ {serve}
        }} >log 2>&1 &
        answers 8080/health
        ends $!
        "#
    ));
    let settings = home.read("tidings.toml");
    assert!(settings.contains("[limits]"), "{settings}");
}

#[test]
fn the_clusters_settings_are_a_configuration() {
    let home = Home::new();
    let settings = block("test", "quick-start-cluster").text;
    home.write("tidings.toml", &settings.replace("/etc/tidings/", "./"));
    let said = home.run("tidings cluster key cluster.key\ntidings check --config tidings.toml");
    assert!(said.contains("gw-1"), "{said}");
}

/// The commands of a block.
fn commands(name: &str) -> String {
    block("run", name).text
}

/// Commands that end, and the last one, which goes on.
fn last_line(commands: &str) -> (String, String) {
    let (before, last) = commands.trim_end().rsplit_once('\n').expect("several");
    (before.to_owned(), last.to_owned())
}

/// A folder in which somebody tries the README's commands.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().expect("a temporary folder can be made"));
        fs::create_dir(home.path().join("bin")).expect("the test's folder can be written");
        home.program("cargo", CARGO);
        home.program("npm", NPM);
        symlink(
            tidings_tests::node::binary(),
            home.path().join("bin/tidings"),
        )
        .expect("the test's folder can be written");
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("the test's folder can be written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn program(&self, name: &str, script: &str) {
        let name = format!("bin/{name}");
        self.write(&name, &format!("#!/bin/bash\nset -e\n{script}"));
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path().join(name), executable).expect("it is ours");
    }

    /// Runs a script, which ends well, and gives what it printed. All that it started ends with it.
    fn run(&self, script: &str) -> String {
        let path = std::env::var("PATH").expect("there is a PATH");
        let done = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", &format!("{PRELUDE}{script}")])
            .current_dir(self.path())
            .env("PATH", format!("{}/bin:{path}", self.path().display()))
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .env("TIDINGS", tidings_tests::node::binary())
            .env("PACKAGES", root().join("tests/node_modules"))
            .stdin(Stdio::null())
            .output()
            .expect("unshare can be run");
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "{}\n{printed}\n{errors}\n--- log ---\n{log}",
            done.status
        );
        printed
    }
}
