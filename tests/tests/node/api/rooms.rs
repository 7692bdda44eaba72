//! Joining and leaving by an operator.

use super::*;

#[tokio::test]
async fn are_joined_and_left_by_users_sockets_and_rooms() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let bob = user(&node, "bob").await;
    let act = async |verb: &str, body: Value| {
        let path = format!("/api/v1/rooms/news/{verb}");
        let (status, answer) = node.api("POST", &path, body).await;
        assert_eq!(status, 202, "{answer}");
        answer["sockets"].as_u64().expect("a number")
    };
    assert_eq!(act("join", json!({"users": ["alice", "nobody"]})).await, 1);
    assert_eq!(act("join", json!({"sockets": [bob.sid()]})).await, 1);
    let (_, room) = node.api("GET", "/api/v1/rooms/news", Value::Null).await;
    assert_eq!(room["count"], 2, "{room}");
    assert_eq!(act("leave", json!({"rooms": ["news"]})).await, 2);
    let (_, room) = node.api("GET", "/api/v1/rooms/news", Value::Null).await;
    assert_eq!(room["count"], 0, "{room}");
    node.emit(json!({"room": "news", "event": "e"})).await;
    alice.silent_for(SILENCE).await;
}
