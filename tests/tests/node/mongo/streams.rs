//! Changes in MongoDB become events: each once, in order, whoever stops in between.

use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tidings_tests::mongod::Fail;
use tidings_tests::{Mongod, Node, RunningNode, SILENCE, SioClient, eventually};

use super::kit::{mongodb, seen, status};

const STREAMS: &str = r#"
[[mongodb.streams]]
name = "executed"
collection = "trades"
filter = ["status=executed"]
event = "trade:executed"
room = "trades:{userId}"
fields = ["n"]

[[mongodb.streams]]
name = "portfolios"
collection = "portfolios"
operations = ["insert", "update", "replace"]
event = "portfolio:updated"
room = "portfolio:{owner.id}"
"#;

fn node(uri: &str) -> Node {
    Node::new()
        .config("mongodb.uri", uri)
        .config("mongodb.timeout", "1s")
        .config("limits.connections_per_minute_per_ip", 0)
        .tables(STREAMS)
}

/// Waits until the node reads all streams, each from a place that is written down.
async fn reading(node: &RunningNode, database: &Database) {
    let rows = database.collection::<Document>("tidings_leases");
    eventually("the streams are read", async || {
        let view = mongodb(node).await;
        let streams = view["streams"].as_array().cloned().unwrap_or_default();
        let begun = rows.count_documents(doc! { "token": { "$exists": true } });
        streams.len() == 2
            && streams.iter().all(|stream| stream["reading"] == true)
            && begun.await.is_ok_and(|begun| begun == 2)
    })
    .await;
}

async fn stream(node: &RunningNode, name: &str) -> Value {
    let view = mongodb(node).await;
    let streams = view["streams"].as_array().cloned().unwrap_or_default();
    let found = streams.into_iter().find(|stream| stream["name"] == name);
    found.unwrap_or_else(|| panic!("no stream {name} in {view}"))
}

async fn insert(database: &Database, n: i32) {
    let trade = doc! { "_id": n, "n": n, "userId": "alice", "status": "executed" };
    let made = database.collection("trades").insert_one(trade).await;
    made.expect("MongoDB writes");
}

async fn alice(node: &RunningNode) -> SioClient {
    let session = node.session("alice").await;
    let mut alice = node.connected(&session).await;
    for event in ["subscribe:trades", "subscribe:portfolio"] {
        let answer = alice.ask(event, Value::Null).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    alice
}

async fn expect(client: &mut SioClient, numbers: std::ops::Range<i32>) {
    for n in numbers {
        let event = client.expect("trade:executed").await;
        assert_eq!(event.args[0], json!({"n": n}));
    }
}

#[tokio::test]
async fn go_to_the_rooms_that_their_documents_name() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = node(mongo.uri()).start().await;
    reading(&node, &database).await;
    let mut alice = alice(&node).await;
    let trades = database.collection::<Document>("trades");
    for trade in [
        doc! { "_id": "failed", "n": 0, "userId": "alice", "status": "failed" },
        doc! { "_id": "nobody's", "n": 0, "status": "executed" },
        doc! { "_id": "bob's", "n": 0, "userId": "bob", "status": "executed" },
    ] {
        trades.insert_one(trade).await.expect("MongoDB writes");
    }
    insert(&database, 1).await;
    expect(&mut alice, 1..2).await;
    assert_eq!(stream(&node, "executed").await["skipped"], 1);

    let portfolios = database.collection::<Document>("portfolios");
    let portfolio = doc! { "_id": 1, "owner": { "id": "alice" }, "cash": 5_i64 };
    portfolios
        .insert_one(portfolio)
        .await
        .expect("MongoDB writes");
    let event = alice.expect("portfolio:updated").await;
    let expected = json!({"_id": 1, "owner": {"id": "alice"}, "cash": 5});
    assert_eq!(event.args[0], expected);
    let change = doc! { "$set": { "cash": 6.5 } };
    let changed = portfolios.update_one(doc! { "_id": 1 }, change).await;
    changed.expect("MongoDB writes");
    let event = alice.expect("portfolio:updated").await;
    assert_eq!(event.args[0]["cash"], 6.5, "the whole document: {event:?}");
    assert_eq!(event.args[0]["owner"]["id"], "alice");
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn that_happen_while_the_node_is_away_come_when_it_is_back() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let mut node = node(mongo.uri()).start().await;
    reading(&node, &database).await;
    let session = node.session("alice").await;
    let mut client = alice(&node).await;
    let mut next = 0;
    for killed in [true, false] {
        for n in next..next + 10 {
            insert(&database, n).await;
        }
        expect(&mut client, next..next + 10).await;
        let recovery = client.recovery();
        drop(client);
        match killed {
            true => node.kill9(),
            false => assert!(node.term().await.success(), "{}", node.log()),
        }
        for n in next + 10..next + 20 {
            insert(&database, n).await;
        }
        node.start_again().await;
        let back = node.client().auth(session.auth()).recover(&recovery);
        client = back.connect().await.expect("a valid session connects");
        assert!(client.recovered());
        expect(&mut client, next + 10..next + 20).await;
        next += 20;
    }
    client.silent_for(SILENCE).await;
}

#[tokio::test]
async fn go_on_when_mongodb_has_stepped_down_and_when_it_was_killed() {
    let mut mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = node(&mongod.uri("app")).start().await;
    reading(&node, &database).await;
    let mut alice = alice(&node).await;
    insert(&database, 0).await;
    expect(&mut alice, 0..1).await;
    mongod.step_down(Duration::from_secs(1)).await;
    insert(&database, 1).await;
    expect(&mut alice, 1..2).await;
    mongod.kill9();
    seen(&node, false).await;
    mongod.start_again().await;
    insert(&database, 2).await;
    expect(&mut alice, 2..3).await;
    seen(&node, true).await;
}

#[tokio::test]
async fn that_mongodb_has_no_more_are_said_to_be_missed() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let mut node = node(&mongod.uri("app")).start().await;
    reading(&node, &database).await;
    assert_eq!(status(&node).await, "ok");
    assert!(node.term().await.success(), "{}", node.log());
    // ChangeStreamHistoryLost
    mongod
        .fail(Fail::commands(["aggregate"]).with_code(286))
        .await;
    node.start_again().await;
    eventually("it says so", async || {
        stream(&node, "executed").await["lost"] == 1
    })
    .await;
    assert!(node.log().contains("changes were missed"), "{}", node.log());
    mongod.heal().await;
    let mut alice = alice(&node).await;
    // It goes on from the moment at which it is opened again.
    for n in 0..100 {
        insert(&database, n).await;
        if stream(&node, "executed").await["emitted"] != 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    alice.expect("trade:executed").await;
    let view = stream(&node, "executed").await;
    assert_eq!(view["lost"], 1, "{view}");
    assert!(view["lostAt"].is_string(), "{view}");
    assert_eq!(status(&node).await, "degraded");
    let rows = database.collection::<Document>("tidings_leases");
    let row = rows.find_one(doc! { "_id": "stream:executed", "lost": 1 });
    assert!(row.await.expect("MongoDB reads").is_some());
}

/// With the document and what was changed of it, an event would be larger than MongoDB can tell.
#[tokio::test]
async fn of_large_documents_hold_up_nothing() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = Node::new().config("mongodb.uri", mongo.uri()).tables(
        r#"
[[mongodb.streams]]
name = "large"
collection = "trades"
operations = ["update"]
event = "trade:executed"
room = "trades:{userId}"
fields = ["n"]
"#,
    );
    let node = node.start().await;
    insert(&database, 1).await;
    eventually("the stream is read", async || {
        stream(&node, "large").await["reading"] == true
    })
    .await;
    let mut alice = alice(&node).await;
    let trades = database.collection::<Document>("trades");
    for change in [
        doc! { "$set": { "n": 2, "text": "x".repeat(9 << 20) } },
        doc! { "$set": { "n": 3 }, "$unset": { "text": true } },
    ] {
        let changed = trades.update_one(doc! { "_id": 1 }, change).await;
        changed.expect("MongoDB writes");
        alice.expect("trade:executed").await;
    }
    assert_eq!(stream(&node, "large").await["lost"], 0);
}

#[tokio::test]
async fn that_a_server_alone_does_not_tell_are_said_to_be_missing_once() {
    let mongod = Mongod::standalone().await;
    let node = node(&mongod.uri("app")).start().await;
    eventually("health says so", async || {
        let view = mongodb(&node).await;
        view["message"].to_string().contains("no replica set")
    })
    .await;
    eventually("both streams say so", async || {
        node.log().matches("the stream cannot be read").count() == 2
    })
    .await;
    // Longer than a stream that broke would wait.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in ["executed", "portfolios"] {
        assert_eq!(stream(&node, name).await["reading"], false);
    }
    seen(&node, false).await;
    let log = node.log();
    assert_eq!(log.matches("the stream cannot be read").count(), 2, "{log}");
    assert!(!log.contains("the stream broke off"), "{log}");
}
