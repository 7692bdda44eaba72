//! The default channels: portfolio, trades and the watchlist.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::{Node, RunningNode, SILENCE, SioClient};

async fn user(node: &RunningNode, name: &str) -> SioClient {
    let session = node.session(name).await;
    node.connected(&session).await
}

async fn subscribe(client: &mut SioClient, event: &str, params: Value) -> Value {
    let answer = client.ask(event, params).await;
    assert_eq!(answer["ok"], true, "{event}: {answer}");
    answer
}

async fn post(node: &RunningNode, path: &str, body: Value) {
    let (status, answer) = node.api("POST", &format!("/api/v1{path}"), body).await;
    assert_eq!(status, 202, "{path}: {answer}");
}

#[tokio::test]
async fn a_portfolio_update_reaches_its_subscribed_user() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let mut bob = user(&node, "bob").await;
    post(&node, "/users/alice/portfolio", json!({"too": "early"})).await;
    subscribe(&mut alice, "subscribe:portfolio", Value::Null).await;
    subscribe(&mut bob, "subscribe:portfolio", json!({})).await;
    post(
        &node,
        "/users/alice/portfolio",
        json!({"cash": 12.5, "positions": []}),
    )
    .await;
    let event = alice.expect("portfolio:updated").await;
    assert_eq!(event.args[0], json!({"cash": 12.5, "positions": []}));
    bob.silent_for(SILENCE).await;
    let left = alice.ask("unsubscribe:portfolio", Value::Null).await;
    assert_eq!(left["ok"], true);
    post(&node, "/users/alice/portfolio", json!({"too": "late"})).await;
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn trades_are_notified_executed_and_failed() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    subscribe(&mut alice, "subscribe:trades", Value::Null).await;
    post(
        &node,
        "/users/alice/trades/executed",
        json!({"id": 1, "symbol": "AAPL"}),
    )
    .await;
    post(
        &node,
        "/users/alice/trades/failed",
        json!({"id": 2, "reason": "funds"}),
    )
    .await;
    let executed = alice.expect("trade:executed").await;
    assert_eq!(executed.args[0], json!({"id": 1, "symbol": "AAPL"}));
    let failed = alice.expect("trade:failed").await;
    assert_eq!(failed.args[0], json!({"id": 2, "reason": "funds"}));
}

#[tokio::test]
async fn nobody_subscribes_to_anothers_portfolio() {
    let node = Node::new().start().await;
    let mut mallory = user(&node, "mallory").await;
    for params in [json!({"user": "alice"}), json!({"userId": "alice"})] {
        let answer = mallory.ask("subscribe:portfolio", params).await;
        assert_eq!(answer["ok"], false, "{answer}");
        assert_eq!(answer["error"]["code"], "forbidden", "{answer}");
    }
    post(&node, "/users/alice/portfolio", json!({"secret": 1})).await;
    mallory.silent_for(SILENCE).await;
}

mod watchlist {
    use super::*;

    async fn watch(client: &mut SioClient, symbols: Value) -> Value {
        subscribe(client, "subscribe:watchlist", json!({"symbols": symbols})).await
    }

    #[tokio::test]
    async fn brings_the_quotes_of_the_symbols_subscribed_to() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let answer = watch(&mut alice, json!(["AAPL", "brk.b", "^GSPC", "EURUSD=X"])).await;
        assert_eq!(
            answer["joined"],
            json!(["AAPL", "BRK.B", "^GSPC", "EURUSD=X"])
        );
        assert_eq!(answer["rejected"], json!([]));
        post(&node, "/quotes/AAPL", json!({"price": 1})).await;
        post(&node, "/quotes/MSFT", json!({"price": 2})).await;
        post(&node, "/quotes/brk.b", json!({"price": 3})).await;
        let first = alice.expect("watchlist:quote").await;
        assert_eq!(first.args[0], json!({"symbol": "AAPL", "price": 1}));
        let second = alice.expect("watchlist:quote").await;
        assert_eq!(second.args[0]["symbol"], "BRK.B");
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn ends_with_unsubscribing() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        watch(&mut alice, json!(["AAPL", "MSFT"])).await;
        let left = alice
            .ask("unsubscribe:watchlist", json!({"symbols": ["aapl"]}))
            .await;
        assert_eq!(left["ok"], true, "{left}");
        post(&node, "/quotes/AAPL", json!({"price": 1})).await;
        post(&node, "/quotes/MSFT", json!({"price": 2})).await;
        let quote = alice.expect("watchlist:quote").await;
        assert_eq!(quote.args[0]["symbol"], "MSFT");
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn rejects_symbols_that_are_none() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let long = "A".repeat(33);
        let symbols = json!(["AAPL", "", "A B", long, "É", 7]);
        let answer = watch(&mut alice, symbols).await;
        assert_eq!(answer["joined"], json!(["AAPL"]));
        let rejected = answer["rejected"].as_array().expect("a list");
        assert_eq!(rejected.len(), 5, "{answer}");
        assert!(
            rejected.iter().all(|one| one["code"] == "invalid_params"),
            "{answer}"
        );
        assert_eq!(rejected[1]["value"], "A B");
        for params in [
            json!({}),
            json!({"symbols": "AAPL"}),
            json!({"symbols": []}),
            json!([1]),
        ] {
            let answer = alice.ask("subscribe:watchlist", params.clone()).await;
            assert_eq!(
                answer["error"]["code"], "invalid_params",
                "{params}: {answer}"
            );
        }
    }

    #[tokio::test]
    async fn gives_a_new_subscriber_the_last_quote() {
        let node = Node::new().start().await;
        post(&node, "/quotes/AAPL", json!({"price": 41})).await;
        post(&node, "/quotes/AAPL", json!({"price": 42})).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut alice = user(&node, "alice").await;
        watch(&mut alice, json!(["AAPL"])).await;
        let quote = alice.expect("watchlist:quote").await;
        assert_eq!(quote.args[0], json!({"symbol": "AAPL", "price": 42}));
    }

    #[tokio::test]
    async fn conflates_to_the_newest_each_interval() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        watch(&mut alice, json!(["AAPL"])).await;
        let begun = Instant::now();
        let mut batch = Vec::new();
        for n in 0..200 {
            batch.push(json!({
                "room": "quote:AAPL", "event": "watchlist:quote",
                "data": {"symbol": "AAPL", "price": n}
            }));
        }
        let (status, answer) = node.api("POST", "/api/v1/emit/batch", json!(batch)).await;
        assert!(matches!(status, 200 | 202), "{answer}");
        let first = alice.expect("watchlist:quote").await;
        assert!(
            first.args[0]["price"].as_u64() < Some(199),
            "the first value comes at once"
        );
        let mut prices = vec![first.args[0]["price"].as_u64().expect("a number")];
        while prices.last() != Some(&199) {
            let quote = alice.expect("watchlist:quote").await;
            prices.push(quote.args[0]["price"].as_u64().expect("a number"));
        }
        assert!(
            prices.is_sorted(),
            "an older value came after a newer: {prices:?}"
        );
        let intervals = begun.elapsed().as_millis() / 250 + 2;
        assert!(
            prices.len() as u128 <= intervals,
            "{prices:?} in {:?}",
            begun.elapsed()
        );
        alice.silent_for(Duration::from_millis(400)).await;
    }

    #[tokio::test]
    async fn may_be_sent_a_quote_for_one_user_alone() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        post(&node, "/users/alice/quotes/aapl", json!({"price": 7})).await;
        let quote = alice.expect("watchlist:quote").await;
        assert_eq!(quote.args[0], json!({"symbol": "AAPL", "price": 7}));
        bob.silent_for(SILENCE).await;
    }
}

mod unknown_events {
    use super::*;

    #[tokio::test]
    async fn are_answered_with_an_error() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        for name in [
            "nothing",
            "subscribe:nothing",
            "subscribe:",
            "unsubscribe:x",
            "🙂",
        ] {
            let answer = alice.ask(name, json!({})).await;
            assert_eq!(answer["ok"], false, "{name}: {answer}");
            assert_eq!(answer["error"]["code"], "unknown_event", "{name}: {answer}");
        }
    }

    #[tokio::test]
    async fn without_an_acknowledgement_bring_the_event_error() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        alice.emit("nothing", json!([{}])).await;
        let error = alice.expect("error").await;
        assert_eq!(error.args[0]["code"], "unknown_event", "{error:?}");
    }
}

#[tokio::test]
async fn channels_are_replaced_as_a_whole() {
    let node = Node::new()
        .tables("[channels.news]\nrooms = [\"news:{topic}\"]\n")
        .start()
        .await;
    let mut alice = user(&node, "alice").await;
    let answer = subscribe(&mut alice, "subscribe:news", json!({"topic": "chess"})).await;
    assert_eq!(answer["joined"], json!(["chess"]));
    node.emit(json!({"room": "news:chess", "event": "headline", "data": "e4"}))
        .await;
    assert_eq!(alice.expect("headline").await.args[0], "e4");
    let answer = alice.ask("subscribe:portfolio", json!({})).await;
    assert_eq!(answer["error"]["code"], "unknown_event", "{answer}");
}
