//! Emits with an idempotency key that come again.

use super::*;

#[tokio::test]
async fn that_come_together_are_one_emit() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let emit = json!({"user": "alice", "event": "e", "id": "same"});
    let (a, b, c) = tokio::join!(
        node.emit(emit.clone()),
        node.emit(emit.clone()),
        node.emit(emit.clone())
    );
    assert!(a == b && b == c, "{a} {b} {c}");
    let twice = json!([emit, {"user": "alice", "event": "other", "id": "same"}]);
    let (_, answer) = node.api("POST", "/api/v1/emit/batch", twice).await;
    assert_eq!(answer["results"], json!([a, a]));
    alice.expect("e").await;
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn of_an_emit_with_acknowledgements_wait_for_the_first() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let ask = json!({
        "user": "alice", "event": "ask", "id": "q", "ack": {"timeoutMs": 20_000}
    });
    let answering = async {
        let event = alice.expect("ask").await;
        // Time for the repeat to come.
        tokio::time::sleep(Duration::from_millis(200)).await;
        alice
            .ack(event.id.expect("an answer is wanted"), json!([7]))
            .await;
    };
    let (first, second, ()) = tokio::join!(
        node.api("POST", "/api/v1/emit", ask.clone()),
        node.api("POST", "/api/v1/emit", ask.clone()),
        answering
    );
    assert_eq!(first, (200, json!({"responses": [7], "missing": []})));
    assert_eq!(first, second);
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn of_what_failed_are_tried_again() {
    let node = Node::new().start().await;
    let emit = |event: &str| json!({"user": "a", "event": event, "id": "x"});
    let (status, _) = node.api("POST", "/api/v1/emit", emit("disconnect")).await;
    assert_eq!(status, 400);
    assert_eq!(node.emit(emit("e")).await["id"], "x");
}
