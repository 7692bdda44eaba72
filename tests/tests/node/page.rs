//! The demo as its user sees it: the real page in headless Chromium, through a restart.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidings_tests::Script;
use tidings_tests::node::binary;
use tidings_tests::process::Process;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// A browser on a busy machine takes its time.
const DEADLINE: Duration = Duration::from_secs(240);

/// `tidings demo` in a folder of its own.
struct Demo {
    process: Process,
    home: TempDir,
    /// The page's port; the API has the one after it.
    port: u16,
}

impl Demo {
    async fn start() -> Demo {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_pair();
        let process = spawn(&home, port);
        let mut demo = Demo {
            process,
            home,
            port,
        };
        assert_eq!(demo.listens().await, port);
        demo
    }

    async fn restart(&mut self) {
        assert!(
            self.process.term().await.success(),
            "{}",
            self.process.log()
        );
        self.process = spawn(&self.home, self.port);
        assert_eq!(self.listens().await, self.port);
    }

    async fn listens(&mut self) -> u16 {
        let path = self.home.path().join("tidings-demo/listening.json");
        self.process
            .wait_for("listening.json", Duration::from_secs(30), |_| {
                let file: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
                file["public"].as_str()?.rsplit_once(':')?.1.parse().ok()
            })
            .await
    }
}

fn spawn(home: &TempDir, port: u16) -> Process {
    let _ = std::fs::remove_file(home.path().join("tidings-demo/listening.json"));
    let mut command = StdCommand::new(binary());
    command.args(["demo", "--port", &port.to_string()]);
    command.env("TMPDIR", home.path()).current_dir(home.path());
    // Other clients of the page are spread over seconds; here is one.
    command.env("TIDINGS_DRAIN__SPREAD", "0s");
    Process::spawn("tidings demo", command, &home.path().join("log"))
}

/// Two adjacent ports that nobody has, below those that the system hands out by itself: both must
/// still be free when the demo comes back.
fn free_pair() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it is small");
    (first..32_000)
        .step_by(2)
        .find(|&port| {
            [port, port + 1]
                .iter()
                .all(|&p| TcpListener::bind(("127.0.0.1", p)).is_ok())
        })
        .expect("two adjacent ports are free")
}

fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn lives_through_a_restart() {
    let mut demo = Demo::start().await;
    let log = demo.process.log();
    assert!(
        log.contains("alice") && log.contains("alice-demo"),
        "no password is printed:\n{log}"
    );
    let screenshots = tests_folder().join("../target/screenshots");
    let screenshots = screenshots.to_str().expect("a path in UTF-8");
    let url = format!("http://127.0.0.1:{}/", demo.port);
    let mut child = Command::new("node")
        .arg(Path::new("browser/demo.mjs"))
        .args([url.as_str(), "alice-demo", screenshots])
        .current_dir(tests_folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node can be started");
    let mut input = child.stdin.take().expect("it was asked for");
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let mut seen = String::new();
    let watching = async {
        while let Ok(Some(line)) = lines.next_line().await {
            seen.push_str(&line);
            seen.push('\n');
            if line == "RESTART-NOW" {
                demo.restart().await;
                input.write_all(b"done\n").await.expect("the driver reads");
            }
        }
        child.wait().await.expect("a child can be waited for")
    };
    let status = timeout(DEADLINE, watching).await;
    assert!(
        matches!(status, Ok(status) if status.success()),
        "{status:?}:\n{seen}"
    );
    // Not merely refreshed: what happened meanwhile came, too.
    assert!(seen.contains("came back: recovered"), "{seen}");
}

#[tokio::test]
async fn has_a_client_that_keeps_to_the_protocol() {
    Script::node("browser/client.mjs")
        .deadline(DEADLINE)
        .run()
        .await;
}
