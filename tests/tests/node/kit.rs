//! Black-box drivers of profile `kit`: the unmodified JavaScript and Python clients.
//!
//! `TIDINGS_REFERENCE=1 cargo test -p tidings-tests --test node kit::` runs them against the reference.

use tidings_tests::{Conformance, Profile, Script};

async fn javascript(transports: &str) {
    let server = Conformance::start(Profile::Kit).await;
    Script::node("kit.mjs")
        .arg(server.url())
        .args(["--transports", transports])
        .run()
        .await;
}

async fn python(client: &str, transports: &str) {
    let server = Conformance::start(Profile::Kit).await;
    Script::python("kit.py")
        .arg(server.url())
        .args(["--client", client, "--transports", transports])
        .run()
        .await;
}

#[tokio::test]
async fn javascript_upgrading() {
    javascript("polling,websocket").await;
}

#[tokio::test]
async fn javascript_over_websocket() {
    javascript("websocket").await;
}

#[tokio::test]
async fn javascript_over_polling() {
    javascript("polling").await;
}

#[tokio::test]
async fn javascript_over_websocket_with_polling_in_reserve() {
    javascript("websocket,polling").await;
}

#[tokio::test]
async fn python_asyncio_upgrading() {
    python("asyncio", "polling,websocket").await;
}

#[tokio::test]
async fn python_asyncio_over_websocket() {
    python("asyncio", "websocket").await;
}

#[tokio::test]
async fn python_asyncio_over_polling() {
    python("asyncio", "polling").await;
}

#[tokio::test]
async fn python_threads_upgrading() {
    python("threads", "polling,websocket").await;
}

#[tokio::test]
async fn python_threads_over_websocket() {
    python("threads", "websocket").await;
}

#[tokio::test]
async fn python_threads_over_polling() {
    python("threads", "polling").await;
}
