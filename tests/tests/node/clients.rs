//! Unmodified clients against the daemon with sessions: each client over each transport.

use tidings_tests::node::API_KEY;
use tidings_tests::{Node, Script};

async fn run(script: Script, transports: &str) {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    script
        .arg(node.public_url())
        .args(["--transports", transports])
        .env("TIDINGS_SESSION", &session.auth().to_string())
        .env("TIDINGS_API", &node.private_url())
        .env("TIDINGS_API_KEY", API_KEY)
        .run()
        .await;
}

#[tokio::test]
async fn javascript_upgrading() {
    run(Script::node("session.mjs"), "polling,websocket").await;
}

#[tokio::test]
async fn javascript_over_websocket() {
    run(Script::node("session.mjs"), "websocket").await;
}

#[tokio::test]
async fn javascript_over_polling() {
    run(Script::node("session.mjs"), "polling").await;
}

#[tokio::test]
async fn python_asyncio_upgrading() {
    run(
        Script::python("session.py").args(["--client", "asyncio"]),
        "polling,websocket",
    )
    .await;
}

#[tokio::test]
async fn python_asyncio_over_polling() {
    run(
        Script::python("session.py").args(["--client", "asyncio"]),
        "polling",
    )
    .await;
}

#[tokio::test]
async fn python_threads_over_websocket() {
    run(
        Script::python("session.py").args(["--client", "threads"]),
        "websocket",
    )
    .await;
}

#[tokio::test]
async fn python_threads_over_polling() {
    run(
        Script::python("session.py").args(["--client", "threads"]),
        "polling",
    )
    .await;
}
