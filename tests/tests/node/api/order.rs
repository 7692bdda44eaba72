//! The order of emits.

use super::*;

/// Lines to one room and lines to two have one order in the room they share.
#[tokio::test]
async fn holds_in_a_stream_whatever_else_a_line_names() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    assert_eq!(alice.ask("subscribe:trades", json!({})).await["ok"], true);
    let mut body = String::new();
    for n in 0..300 {
        let rooms = match n % 3 {
            0 => json!(["trades:other", "trades:alice"]),
            1 => json!(["trades:alice"]),
            _ => json!(["news", "trades:alice"]),
        };
        body.push_str(&json!({"rooms": rooms, "event": "e", "data": n}).to_string());
        body.push('\n');
    }
    let answer = with_key(&node, API_KEY, "POST", "/api/v1/emit/stream", &body).await;
    assert_eq!(answer.text().lines().count(), 300);
    for n in 0..300 {
        assert_eq!(alice.expect("e").await.args[0], n);
    }
}
