//! The namespace of Socket.IO's Admin UI: its protocol, spoken by `socket.io-client`, and the
//! official page in headless Chromium.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::node::{API_KEY, password_hash};
use tidings_tests::sio::Failure;
use tidings_tests::{Node, PATIENCE, RunningNode, Script, SioClient, eventually};

const PASSWORD: &str = "of the operator";

/// A browser on a busy machine takes its time.
const DEADLINE: Duration = Duration::from_secs(240);

/// A node with an admin UI whose password is [`PASSWORD`].
fn node(mode: &str) -> Node {
    Node::new()
        .config("node.name", "node-1")
        .config("auth.mode", "none")
        .config("limits.events_per_minute_per_user", 0)
        .config("limits.logins_per_minute_per_ip", 0)
        .config("limits.logins_per_minute_per_user", 0)
        .config("admin_ui.enabled", true)
        .config("admin_ui.password_hash", password_hash(PASSWORD))
        .config("admin_ui.mode", mode)
}

fn script(file: &str) -> Script {
    Script::node(file).env("TIDINGS_ADMIN_PASSWORD", PASSWORD)
}

async fn log_in(node: &RunningNode, password: &str) -> Result<SioClient, Failure> {
    let auth = json!({"username": "admin", "password": password});
    let connecting = node.client().namespace("/admin").auth(auth);
    connecting.connect().await
}

#[tokio::test]
async fn speaks_the_official_protocol() {
    let node = node("development").start().await;
    script("admin-ui.mjs")
        .arg(node.public_url())
        .env("TIDINGS_API", &node.private_url())
        .env("TIDINGS_API_KEY", API_KEY)
        .run()
        .await;
    let log = node.log();
    for secret in [PASSWORD, "cookie-secret", "header-secret", "query-secret"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("asked for by the admin UI"), "{log}");
}

#[tokio::test]
async fn shows_figures_alone_in_production_and_only_shows_if_it_is_read_only() {
    let node = node("production").config("admin_ui.read_only", true);
    let node = node.start().await;
    script("admin-ui-figures.mjs")
        .arg(node.public_url())
        .run()
        .await;
}

#[tokio::test]
async fn refuses_everybody_after_too_many_attempts() {
    let node = node("production").config("limits.logins_per_minute_per_ip", 2);
    let node = node.start().await;
    assert!(log_in(&node, PASSWORD).await.is_ok());
    for password in ["wrong", PASSWORD] {
        let Err(Failure::ConnectError(error)) = log_in(&node, password).await else {
            panic!("{password} was let in");
        };
        assert_eq!(error, json!({"message": "invalid credentials"}));
    }
}

#[tokio::test]
async fn is_not_there_unless_it_is_turned_on() {
    let node = Node::new().start().await;
    let Err(Failure::ConnectError(error)) = log_in(&node, PASSWORD).await else {
        panic!("there is an admin UI");
    };
    assert_eq!(error, json!({"message": "Invalid namespace"}));
}

/// How many events nobody was shown.
async fn unshown(node: &RunningNode) -> u64 {
    let answer = node.api_response("GET", "/metrics", &Value::Null).await;
    let counts = answer.text().lines().filter_map(|line| {
        let count = line.strip_prefix("tidings_admin_ui_unshown_total{")?;
        count.rsplit_once(' ')?.1.parse::<u64>().ok()
    });
    counts.sum()
}

#[tokio::test]
async fn shows_no_more_than_a_page_can_take_and_looks_at_nothing_for_nobody() {
    const FLOOD: usize = 500;
    let node = node("development").config("node.shards", 1).start().await;
    let alice = node.client().auth(json!({"userId": "alice"}));
    let mut alice = alice.connect().await.expect("anybody may connect");
    let mut flood = async || {
        for _ in 0..FLOOD {
            alice.emit("nothing:known", json!([])).await;
        }
        // All before the first have been handled, and its turn is counted before the second.
        for _ in 0..2 {
            alice.ask("nothing:known", json!(1)).await;
        }
    };
    let mut admin = log_in(&node, PASSWORD)
        .await
        .expect("the password is right");
    while admin.next_event().await.name != "all_sockets" {}
    flood().await;
    eventually("what is too much is counted", async || {
        unshown(&node).await > 0
    })
    .await;
    // Of what the client sent and was sent, so much at once, and as much again in each second.
    let mut shown = 0;
    while shown < 50 {
        shown += usize::from(admin.next_event().await.name.starts_with("event_"));
    }
    admin.disconnect().await;
    // Its node notices within a second.
    let until = Instant::now() + PATIENCE;
    loop {
        let before = unshown(&node).await;
        flood().await;
        if unshown(&node).await == before {
            break;
        }
        assert!(Instant::now() < until, "it counts though nobody looks");
    }
}

#[tokio::test]
async fn serves_the_official_page() {
    let screenshots = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/screenshots");
    let driver = script("browser/admin-ui.mjs").arg(screenshots);
    let mut driver = driver.deadline(DEADLINE).start();
    let page = driver.says("PAGE ").await;
    let node = node("development").config("http.origins", json!([page]));
    let node = node.start().await;
    driver.tell(&node.public_url()).await;
    driver.ended().await;
}
