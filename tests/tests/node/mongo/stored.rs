//! A user's own list in MongoDB, such as a watchlist: subscribed to at connect, or when asked for.

use std::time::{Duration, Instant};

use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tidings_tests::mongod::Fail;
use tidings_tests::{Mongod, Node, RunningNode, SILENCE, SioClient};

use super::kit::seen;

async fn keep(database: &Database, list: Document) {
    let made = database.collection("watchlists").insert_one(list).await;
    made.expect("MongoDB writes");
}

async fn connected(node: &RunningNode, user: &str) -> SioClient {
    let session = node.session(user).await;
    node.connected(&session).await
}

async fn quote(node: &RunningNode, symbol: &str) {
    let path = format!("/api/v1/quotes/{symbol}");
    let (status, answer) = node.api("POST", &path, json!({"price": 1})).await;
    assert_eq!(status, 202, "{answer}");
}

fn joining(uri: &str) -> Node {
    Node::new()
        .config("mongodb.uri", uri)
        .config("mongodb.join_watchlists", true)
}

#[tokio::test]
async fn is_joined_at_connect_and_told() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let first = doc! { "_id": 1, "userId": "alice", "symbols": ["AAPL", "msft", "no such", 5] };
    keep(&database, first).await;
    keep(
        &database,
        doc! { "_id": 2, "userId": "alice", "symbols": ["AAPL", "TSLA"] },
    )
    .await;
    keep(
        &database,
        doc! { "_id": 3, "userId": "bob", "symbols": ["IBM"] },
    )
    .await;
    let node = joining(mongo.uri()).start().await;
    let mut alice = connected(&node, "alice").await;
    let told = alice.expect("subscribed:watchlist").await;
    let told = told.arg();
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(
        told["joined"],
        json!(["AAPL", "MSFT", "5", "TSLA"]),
        "{told}"
    );
    assert_eq!(told["rejected"][0]["value"], "no such", "{told}");
    for symbol in ["IBM", "TSLA"] {
        quote(&node, symbol).await;
    }
    let event = alice.expect("watchlist:quote").await;
    assert_eq!(event.arg()["symbol"], "TSLA", "{event:?}");
    // It is as if it had asked: it may leave, and that counts.
    let answer = alice
        .ask("unsubscribe:watchlist", json!({"symbol": "TSLA"}))
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    quote(&node, "TSLA").await;
    alice.silent_for(SILENCE).await;

    let mut carol = connected(&node, "carol").await;
    let told = carol.expect("subscribed:watchlist").await;
    assert_eq!(told.arg()["joined"], json!([]), "{told:?}");
}

#[tokio::test]
async fn is_joined_when_it_is_asked_for_without_values() {
    let mongo = Mongod::shared().await;
    let lists = doc! { "owner": "alice", "items": [{ "on": "a" }, { "on": "b" }, { "off": "c" }] };
    let made = mongo.database().collection("lists").insert_one(lists).await;
    made.expect("MongoDB writes");
    let channel = r#"
[channels.things]
rooms = ["thing:{on}"]
[channels.things.stored]
collection = "lists"
filter = ["owner={user}"]
field = "items.on"
"#;
    let node = Node::new()
        .config("mongodb.uri", mongo.uri())
        .config("limits.subscriptions_per_user", 1)
        .tables(channel);
    let node = node.start().await;
    let mut alice = connected(&node, "alice").await;
    alice.silent_for(SILENCE).await;
    let answer = alice.ask("subscribe:things", Value::Null).await;
    assert_eq!(answer["joined"], json!(["a"]), "{answer}");
    assert_eq!(
        answer["rejected"][0]["code"], "subscription_limit",
        "{answer}"
    );
    let emit = json!({"room": "thing:a", "event": "moved", "args": [1]});
    node.emit(emit).await;
    alice.expect("moved").await;
    // A list that is named is not asked for.
    let answer = alice.ask("subscribe:things", json!({"ons": []})).await;
    assert_eq!(answer["error"]["code"], "invalid_params", "{answer}");
}

#[tokio::test]
async fn keeps_nobody_waiting_where_it_cannot_be_read() {
    let mongod = Mongod::replica_set().await;
    let node = joining(&mongod.uri("app")).start().await;
    seen(&node, true).await;
    let session = node.session("alice").await;
    mongod
        .fail(Fail::commands(["find"]).after(Duration::from_secs(5)))
        .await;
    let begun = Instant::now();
    let mut alice = node.connected(&session).await;
    let answer = alice
        .ask("subscribe:watchlist", json!({"symbol": "AAPL"}))
        .await;
    assert_eq!(answer["joined"], json!(["AAPL"]), "{answer}");
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    let told = alice.expect("subscribed:watchlist").await;
    assert_eq!(told.arg()["error"]["code"], "unavailable", "{told:?}");
    mongod.heal().await;
    let answer = alice.ask("subscribe:watchlist", Value::Null).await;
    assert_eq!(answer, json!({"ok": true, "joined": [], "rejected": []}));
}
