//! The emits of the trading profile.

use super::*;

#[tokio::test]
async fn emits_reach_the_rooms_of_the_profile() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let mut bob = user(&node, "bob").await;
    for channel in ["portfolio", "trades"] {
        let answer = alice
            .emit_with_ack(&format!("subscribe:{channel}"), json!([]))
            .await;
        assert_eq!(answer[0]["ok"], true, "{answer:?}");
    }
    let wanted = json!({"symbols": ["EUR/USD"]});
    assert_eq!(bob.ask("subscribe:watchlist", wanted).await["ok"], true);
    for (path, body, event, argument, offset) in [
        (
            "users/alice/portfolio",
            json!([1]),
            "portfolio:updated",
            json!([1]),
            true,
        ),
        (
            "users/alice/trades/executed",
            json!({"a": 1}),
            "trade:executed",
            json!({"a": 1}),
            true,
        ),
        (
            "users/alice/trades/failed",
            json!(null),
            "trade:failed",
            json!(null),
            true,
        ),
        (
            "users/alice/quotes/eur%2Fusd",
            json!({"symbol": "x", "bid": 2}),
            "watchlist:quote",
            json!({"symbol": "EUR/USD", "bid": 2}),
            false,
        ),
    ] {
        let path = format!("/api/v1/{path}");
        let answer = with_key(&node, API_KEY, "POST", &path, &body.to_string()).await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        assert_eq!(answer.json()["offset"].is_string(), offset, "{path}");
        assert_eq!(alice.expect(event).await.args[0], argument, "{path}");
    }
    let quote = with_key(
        &node,
        API_KEY,
        "POST",
        "/api/v1/quotes/eur%2fusd",
        r#"{"bid":3}"#,
    );
    assert_eq!(quote.await.status, 202);
    let seen = bob.expect("watchlist:quote").await;
    assert_eq!(seen.args[0], json!({"symbol": "EUR/USD", "bid": 3}));
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn emits_are_refused_where_they_cannot_go() {
    let node = Node::new()
        .tables("[channels.news]\nrooms = [\"news\"]")
        .start()
        .await;
    for (path, body, status) in [
        ("users/alice/portfolio", "{}", 404),
        ("quotes/A", "{}", 404),
        ("users/a%0Ab/portfolio", "{}", 400),
    ] {
        let path = format!("/api/v1/{path}");
        let answer = with_key(&node, API_KEY, "POST", &path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let node = Node::new().start().await;
    for (path, body) in [
        ("quotes/A", "[]"),
        ("quotes/A", ""),
        ("quotes/A%20B", "{}"),
        ("users/alice/quotes/A", "{"),
        ("users/alice/portfolio", "nothing"),
    ] {
        let path = format!("/api/v1/{path}");
        let answer = with_key(&node, API_KEY, "POST", &path, body).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
    }
}
