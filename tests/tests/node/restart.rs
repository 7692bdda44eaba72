//! A restart under real clients: they come back by themselves and go on.

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{Node, RunningNode, Script, SessionCreds};

fn with_session(script: Script, node: &RunningNode, session: &SessionCreds) -> Script {
    script
        .env("TIDINGS_SESSION", &session.auth().to_string())
        .env("TIDINGS_API", &node.private_url())
        .env("TIDINGS_API_KEY", API_KEY)
}

async fn eventually_there(node: &RunningNode, user: &str) {
    tidings_tests::eventually("the client is there", async || {
        let (_, shown) = node
            .api("GET", &format!("/api/v1/users/{user}"), Value::Null)
            .await;
        shown["count"] == 1
    })
    .await;
}

#[tokio::test]
async fn leaves_users_sessions_and_keys_as_they_were() {
    let mut node = Node::new().start().await;
    let session = node.session("alice").await;
    let create = ["key", "create", "shop", "--scope", "emit", "--json"];
    let (status, out, err) = node.command(&create, "");
    assert!(status.success(), "{out}{err}");
    let created: Value = serde_json::from_str(&out).expect("JSON was asked for");
    let key = created["key"]
        .as_str()
        .expect("the key is printed")
        .to_owned();
    node.restart().await;
    let mut alice = node.connected(&session).await;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = json!({"user": "alice", "event": "e", "args": [1]}).to_string();
    let answer = tidings_tests::RawHttp::once(
        node.private(),
        "POST",
        "/api/v1/emit",
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    alice.expect("e").await;
}

#[tokio::test]
async fn brings_javascript_clients_back() {
    let mut node = Node::new().start().await;
    for transports in ["websocket", "polling", "polling,websocket"] {
        // The one before may not be counted out yet.
        let user = format!("user-of-{transports}");
        let session = node.session(&user).await;
        let script = Script::node("return.mjs").arg(node.public_url());
        let script = with_session(script, &node, &session).args(["--transports", transports]);
        let script = tokio::spawn(script.run());
        eventually_there(&node, &user).await;
        node.restart().await;
        eventually_there(&node, &user).await;
        node.emit(json!({"user": user, "event": "welcome-back", "data": 1}))
            .await;
        script.await.expect("the client came back");
    }
}

#[tokio::test]
async fn brings_python_clients_back() {
    let mut node = Node::new().start().await;
    for client in ["asyncio", "threads"] {
        let user = format!("user-of-{client}");
        let session = node.session(&user).await;
        let script = Script::python("session.py").arg(node.public_url());
        let script = with_session(script, &node, &session).args(["--client", client, "--restart"]);
        let script = tokio::spawn(script.run());
        eventually_there(&node, &user).await;
        node.restart().await;
        eventually_there(&node, &user).await;
        node.emit(json!({"user": user, "event": "welcome-back", "data": 1}))
            .await;
        script.await.expect("the client came back");
    }
}
