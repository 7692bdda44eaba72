//! The end of a session closes its sockets within two seconds, and no others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::sio::End;
use tidings_tests::{Node, SILENCE};

/// What is promised.
const WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn deleting_a_session_closes_its_sockets_and_no_others() {
    let node = Node::new().start().await;
    let (one, two) = (node.session("alice").await, node.session("alice").await);
    let mut first = node.connected(&one).await;
    let mut second = node.connected(&one).await;
    let mut other = node.connected(&two).await;
    let begun = Instant::now();
    let path = format!("/api/v1/sessions/{}", one.session_id);
    assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(first.end().await, End::Disconnected);
    assert_eq!(second.end().await, End::Disconnected);
    assert!(begun.elapsed() < WITHIN, "it took {:?}", begun.elapsed());
    let error = node.client().auth(one.auth()).connect_error().await;
    assert_eq!(error["data"]["code"], "invalid_session");
    other.silent_for(SILENCE).await;
}

#[tokio::test]
async fn deleting_a_users_sessions_closes_all_of_them() {
    let node = Node::new().start().await;
    let mut alices = Vec::new();
    for _ in 0..3 {
        let session = node.session("alice").await;
        alices.push(node.connected(&session).await);
    }
    let bob = node.session("bob").await;
    let mut bob = node.connected(&bob).await;
    let begun = Instant::now();
    let (status, answer) = node
        .api("DELETE", "/api/v1/users/alice/sessions", Value::Null)
        .await;
    assert!(matches!(status, 200 | 204), "{status} {answer}");
    for alice in &mut alices {
        assert_eq!(alice.end().await, End::Disconnected);
    }
    assert!(begun.elapsed() < WITHIN, "it took {:?}", begun.elapsed());
    node.emit(json!({"user": "bob", "event": "still here", "args": [1]}))
        .await;
    bob.expect("still here").await;
}

#[tokio::test]
async fn a_deleted_session_stays_deleted_after_a_kill() {
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    let path = format!("/api/v1/sessions/{}", alice.session_id);
    assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 204);
    node.kill9();
    node.start_again().await;
    let error = node.client().auth(alice.auth()).connect_error().await;
    assert_eq!(error["data"]["code"], "invalid_session");
}
