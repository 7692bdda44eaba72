//! A subscription is answered with what MongoDB holds, and nothing is missing behind it.

use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Decimal128, doc};
use serde_json::{Value, json};
use tidings_tests::mongod::Fail;
use tidings_tests::{EngineWs, Mongod, Node, RunningNode, SILENCE, SioClient};

use super::kit::seen;

async fn alice(node: &RunningNode) -> SioClient {
    let session = node.session("alice").await;
    node.connected(&session).await
}

/// A node that limits nobody.
fn node(uri: &str) -> Node {
    Node::new()
        .config("mongodb.uri", uri)
        .config("limits.connections_per_minute_per_ip", 0)
        .config("limits.events_per_minute_per_user", 0)
}

async fn trade(node: &RunningNode, n: i32) {
    let path = "/api/v1/users/alice/trades/executed";
    let (status, answer) = node.api("POST", path, json!({"n": n})).await;
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test]
async fn are_what_the_trading_profile_keeps_of_the_user() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let id = ObjectId::new();
    let cash: Decimal128 = "1200.50".parse().expect("a decimal");
    let portfolio = doc! {
        "_id": id, "userId": "alice", "cash": cash, "n": 7_i64,
        "at": DateTime::from_millis(1_700_000_000_000),
    };
    let made = database
        .collection("portfolios")
        .insert_one(portfolio)
        .await;
    made.expect("MongoDB writes");
    let trades = (0..60).map(|n| doc! { "_id": n, "userId": if n == 3 { "bob" } else { "alice" } });
    let made = database.collection("trades").insert_many(trades).await;
    made.expect("MongoDB writes");

    let node = node(mongo.uri()).start().await;
    let mut alice = alice(&node).await;
    let answer = alice.ask("subscribe:portfolio", Value::Null).await;
    let expected = json!({
        "_id": id.to_hex(), "userId": "alice", "cash": "1200.50", "n": 7,
        "at": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(answer["snapshot"], expected, "{answer}");
    assert_eq!(answer["joined"], json!(["portfolio:alice"]));
    let answer = alice.ask("subscribe:trades", Value::Null).await;
    let trades = answer["snapshot"].as_array().expect("a list");
    assert_eq!(trades.len(), 50, "the newest only");
    assert_eq!(trades[0]["_id"], 59, "the newest first");

    trade(&node, 60).await;
    assert_eq!(alice.expect("trade:executed").await.args[0]["n"], 60);

    let session = node.session("carol").await;
    let mut carol = node.connected(&session).await;
    let answer = carol.ask("subscribe:portfolio", Value::Null).await;
    assert_eq!(answer["snapshot"], Value::Null, "{answer}");
    let answer = carol.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["snapshot"], json!([]), "{answer}");
}

#[tokio::test]
async fn are_one_for_each_value_which_is_a_text_whatever_is_in_it() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    for (id, market, size) in [(1, "x", 1), (2, "x", 2), (3, "y", 3), (4, "$ne", 4)] {
        let order = doc! { "_id": id, "market": market, "size": size, "open": id != 2 };
        let made = database.collection("orders").insert_one(order).await;
        made.expect("MongoDB writes");
    }
    let channel = r#"
[channels.orders]
rooms = ["orders:{market}"]
params.market = { chars = "a-z$.:{}\"-" }
snapshot.collection = "orders"
snapshot.filter = ["market={market}", "open:bool=true"]
snapshot.fields = ["size"]
snapshot.sort = ["-size"]
"#;
    let node = node(mongo.uri()).tables(channel).start().await;
    let mut alice = alice(&node).await;
    let markets = json!({"markets": ["x", "y", "$ne", "{\"$ne\":\"\"}", "None"]});
    let answer = alice.ask("subscribe:orders", markets).await;
    let expected = json!({
        "x": [{"size": 1}], "y": [{"size": 3}], "$ne": [{"size": 4}], "{\"$ne\":\"\"}": [],
    });
    assert_eq!(answer["snapshots"], expected, "{answer}");
    let object = json!({"market": {"$ne": ""}});
    let answer = alice.ask("subscribe:orders", object).await;
    assert_eq!(answer["error"]["code"], "invalid_params", "{answer}");
}

/// The whole way is slow here; what happens meanwhile comes after the answer.
#[tokio::test]
async fn come_before_what_happens_while_they_are_read() {
    let mongod = Mongod::replica_set().await;
    let node = node(&mongod.uri("app")).start().await;
    let session = node.session("alice").await;
    seen(&node, true).await;
    let (mut client, _) = EngineWs::open(node.public(), "/socket.io/").await;
    client.send(format!("40{}", session.auth())).await;
    assert!(client.text_past_pings().await.starts_with("40{"));
    let slow = Duration::from_millis(700);
    mongod.fail(Fail::commands(["find"]).after(slow)).await;
    client.send("420[\"subscribe:trades\"]".to_owned()).await;
    client.send("421[\"nothing\"]".to_owned()).await;
    let first = client.text_past_pings().await;
    assert!(first.starts_with("431["), "others are answered: {first}");
    for n in 0..3 {
        trade(&node, n).await;
    }
    let answer = client.text_past_pings().await;
    assert!(answer.starts_with("430[{\"ok\":true"), "{answer}");
    for n in 0..3 {
        let event = client.text_past_pings().await;
        let expected = format!("42[\"trade:executed\",{{\"n\":{n}}}");
        assert!(event.starts_with(&expected), "{event}");
    }
    mongod.heal().await;
}

/// Writes to MongoDB and emits, one after the other, while clients subscribe.
#[tokio::test]
async fn and_later_events_have_no_gap_between() {
    const TRADES: i32 = 120;
    let mongo = Mongod::shared().await;
    let node = node(mongo.uri()).start().await;
    let session = node.session("alice").await;
    let trades = mongo.database().collection("trades");
    let writing = async {
        for n in 0..TRADES {
            let trade_row = doc! { "_id": n, "userId": "alice" };
            trades.insert_one(trade_row).await.expect("MongoDB writes");
            trade(&node, n).await;
        }
    };
    let reading = async {
        let mut found = Vec::new();
        for turn in 0..10 {
            tokio::time::sleep(Duration::from_millis(7 * turn)).await;
            let mut client = node.connected(&session).await;
            let answer = client.ask("subscribe:trades", Value::Null).await;
            assert_eq!(answer["ok"], true, "{answer}");
            found.push((client, answer));
        }
        found
    };
    let ((), found) = tokio::join!(writing, reading);
    for (mut client, answer) in found {
        let snapshot = answer["snapshot"].as_array().expect("a list");
        let mut next = snapshot
            .first()
            .map_or(0, |newest| newest["_id"].as_i64().expect("a number") + 1);
        while next < i64::from(TRADES) {
            let event = client.expect("trade:executed").await;
            let n = event.args[0]["n"].as_i64().expect("a number");
            assert!(
                n <= next,
                "after {next} of the snapshot and events came {n}"
            );
            next = next.max(n + 1);
        }
    }
}

#[tokio::test]
async fn that_cannot_be_read_undo_the_subscription() {
    let mongod = Mongod::replica_set().await;
    let node = node(&mongod.uri("app"))
        .config("limits.subscriptions_per_user", 1)
        .config("mongodb.timeout", "500ms")
        .start()
        .await;
    let mut alice = alice(&node).await;
    mongod.fail(Fail::commands(["find"]).with_code(8)).await;
    let answer = alice.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    seen(&node, false).await;
    trade(&node, 1).await;
    alice.silent_for(SILENCE).await;
    mongod.heal().await;
    // The failed one is not counted.
    let answer = alice.ask("subscribe:portfolio", Value::Null).await;
    assert_eq!(answer["ok"], true, "{answer}");
    seen(&node, true).await;

    // A server that hangs costs its deadline, and only those who ask it.
    mongod.freeze();
    let asking = alice.ask("subscribe:portfolio", Value::Null);
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await;
    let answer = answer.expect("there is a deadline");
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    mongod.thaw();
    // It had been subscribed to before, and still is.
    let path = "/api/v1/users/alice/portfolio";
    let (status, _) = node.api("POST", path, json!({"cash": 1})).await;
    assert_eq!(status, 202);
    alice.expect("portfolio:updated").await;
}

#[tokio::test]
async fn larger_than_a_client_may_be_sent_are_refused() {
    let mongo = Mongod::shared().await;
    let large = doc! { "userId": "alice", "text": "x".repeat(600_000) };
    let made = mongo
        .database()
        .collection("trades")
        .insert_one(large)
        .await;
    made.expect("MongoDB writes");
    let node = node(mongo.uri()).start().await;
    let mut alice = alice(&node).await;
    let answer = alice.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["error"]["code"], "too_large", "{answer}");
    let answer = alice.ask("subscribe:portfolio", Value::Null).await;
    assert_eq!(answer["ok"], true, "it is still there: {answer}");
}
