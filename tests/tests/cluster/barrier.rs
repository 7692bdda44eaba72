//! What an acknowledged subscribe promises: every later emit accepted anywhere arrives.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::{Cluster, RunningCluster};

/// Subscribes on one node and, at the acknowledgement, emits on others, each time to another room.
async fn nothing_is_lost(cluster: &RunningCluster, on: &str, from: &[&str], times: usize) {
    let mut client = cluster[on].guest("subscriber").await;
    let mut slowest = Duration::ZERO;
    for n in 0..times {
        let topic = format!("{on}-{n}");
        let room = format!("news:{topic}");
        let begun = Instant::now();
        client.read(&topic).await;
        slowest = slowest.max(begun.elapsed());
        let emits = from.iter().map(|name| {
            cluster[*name].emit(json!({"room": room, "event": "e", "data": [n, name]}))
        });
        futures_util::future::join_all(emits).await;
        let mut got = Vec::new();
        for _ in from {
            let event = client.expect("e").await;
            assert_eq!(event.args[0][0], n, "{event:?}");
            got.push(event.args[0][1].as_str().expect("a name").to_owned());
        }
        got.sort();
        assert_eq!(got, from);
    }
    eprintln!("slowest acknowledgement of {times} on {on}: {slowest:?}");
}

#[tokio::test]
async fn what_is_emitted_at_the_acknowledgement_arrives() {
    let cluster = Cluster::of(["a", "b", "c"]).start().await;
    nothing_is_lost(&cluster, "b", &["a", "c"], 300).await;
    for name in cluster.names() {
        let seen = cluster[name].cluster().await;
        assert_eq!(seen["node"]["answeredUnacknowledged"], 0, "{seen:#}");
    }
}

#[tokio::test]
async fn what_is_emitted_at_the_connect_arrives() {
    let cluster = Cluster::of(["a", "b"]).start().await;
    for n in 0..100 {
        let user = format!("user-{n}");
        let mut client = cluster["b"].guest(&user).await;
        cluster["a"]
            .emit(json!({"user": user, "event": "e", "data": n}))
            .await;
        assert_eq!(client.expect("e").await.args[0], n);
    }
}

#[tokio::test]
async fn the_same_while_a_third_node_joins() {
    let mut cluster = Cluster::of(["a", "b"]).start().await;
    let newcomer = cluster.newcomer("c").launch();
    cluster.add("c", newcomer);
    let joining = Instant::now();
    while cluster["a"].sees("c").await["state"] != "ready" {
        assert!(joining.elapsed() < Duration::from_secs(30));
        nothing_is_lost(&cluster, "b", &["a"], 20).await;
    }
    cluster["c"].wait_until_listening().await;
    nothing_is_lost(&cluster, "b", &["a", "c"], 20).await;
    nothing_is_lost(&cluster, "c", &["a", "b"], 20).await;
}
