//! MongoDB beside several nodes: one reads each stream, another when that dies.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tidings_tests::{Cluster, Mongod, RunningCluster, SILENCE, eventually};

const STREAM: &str = "[[mongodb.streams]]\nname = \"trades\"\ncollection = \"trades\"\n\
                      event = \"trade:executed\"\nroom = \"trades:{userId}\"\n";

/// A recoverable room and a live one, both with a snapshot.
const CHANNELS: &str = r#"
[channels.trades]
rooms = ["trades:{user}"]
class = "recoverable"
snapshot = { collection = "trades", filter = ["userId={user}"], sort = ["-_id"], limit = 1 }
[channels.ticks]
rooms = ["ticks:{user}"]
snapshot = { collection = "ticks", filter = ["userId={user}"], sort = ["-_id"], limit = 1 }
"#;

async fn three(uri: &str) -> RunningCluster {
    Cluster::of(["a", "b", "c"])
        .config("mongodb.uri", uri)
        .tables(CHANNELS)
        .tables(STREAM)
        .start()
        .await
}

/// The nodes that read the stream.
async fn readers(cluster: &RunningCluster, among: &[&'static str]) -> Vec<&'static str> {
    let mut readers = Vec::new();
    for name in among {
        let node = &cluster[*name];
        let (_, health) = node.api("GET", "/api/health/detailed", Value::Null).await;
        if health["mongodb"]["streams"][0]["reading"] == true {
            readers.push(*name);
        }
    }
    readers
}

/// The node that reads the stream, once there is one.
async fn reader(cluster: &RunningCluster, among: &[&'static str]) -> &'static str {
    eventually("one node reads", async || {
        readers(cluster, among).await.len() == 1
    })
    .await;
    readers(cluster, among).await[0]
}

#[tokio::test]
async fn a_stream_is_read_on_when_its_reader_is_killed() {
    const TRADES: i32 = 150;
    let mongo = Mongod::shared().await;
    let mut cluster = three(mongo.uri()).await;
    cluster.owned_by(&["a", "b", "c"]).await;
    let names = cluster.names();
    let first = reader(&cluster, &names).await;
    let rows = mongo.database().collection::<Document>("tidings_leases");
    eventually("the stream has begun", async || {
        let begun = rows.count_documents(doc! { "token": { "$exists": true } });
        begun.await.is_ok_and(|begun| begun == 1)
    })
    .await;
    let others: Vec<_> = names.into_iter().filter(|name| *name != first).collect();
    let mut clients = Vec::new();
    for name in &others {
        let mut client = cluster[*name].guest("alice").await;
        let answer = client.ask("subscribe:trades", Value::Null).await;
        assert_eq!(answer["snapshot"], json!([]), "{answer}");
        clients.push(client);
    }
    let trades = mongo.database().collection("trades");
    let writing = tokio::spawn(async move {
        for n in 0..TRADES {
            let trade = doc! { "_id": n, "userId": "alice" };
            trades.insert_one(trade).await.expect("MongoDB writes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster[first].kill9();
    writing.await.expect("all is written");
    for client in &mut clients {
        for n in 0..TRADES {
            let event = client.expect("trade:executed").await;
            assert_eq!(event.args[0]["_id"], n, "{event:?}");
        }
        client.silent_for(SILENCE).await;
    }
    assert_ne!(reader(&cluster, &others).await, first);
}

/// Writes to MongoDB and emits on one node, while clients subscribe on another.
#[tokio::test]
async fn a_snapshot_has_no_gap_behind_it_on_any_node() {
    const TICKS: i64 = 150;
    let mongo = Mongod::shared().await;
    let cluster = three(mongo.uri()).await;
    let ticks = mongo.database().collection("ticks");
    let writing = async {
        for n in 0..TICKS {
            let tick = doc! { "_id": n, "userId": "alice" };
            ticks.insert_one(tick).await.expect("MongoDB writes");
            let emit = json!({"room": "ticks:alice", "event": "tick", "data": n});
            cluster["a"].emit(emit).await;
        }
    };
    let reading = async {
        let mut found = Vec::new();
        for turn in 0..12_u64 {
            tokio::time::sleep(Duration::from_millis(5 * turn)).await;
            let mut client = cluster["b"].guest("alice").await;
            let answer = client.ask("subscribe:ticks", Value::Null).await;
            assert_eq!(answer["ok"], true, "{answer}");
            found.push((client, answer));
        }
        found
    };
    let ((), found) = tokio::join!(writing, reading);
    for (mut client, answer) in found {
        let newest = answer["snapshot"][0]["_id"].as_i64();
        let mut next = newest.map_or(0, |newest| newest + 1);
        while next < TICKS {
            let n = client.expect("tick").await.args[0].as_i64();
            let n = n.expect("a number");
            assert!(n <= next, "after {next} came {n}");
            next = next.max(n + 1);
        }
    }
}
