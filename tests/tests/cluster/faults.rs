//! Nodes that are killed, stopped, or started again: how soon the others notice, what their clients
//! see of it, and that all is in step again afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::{Cluster, RunningCluster, RunningNode, SioClient, Traffic};

/// How soon after its death nothing is routed to a node any more.
const NOTICED: Duration = Duration::from_secs(3);

/// How soon the nodes are in step after what kept them apart is gone.
const CONVERGED: Duration = Duration::from_secs(5);

async fn three() -> RunningCluster {
    Cluster::of(["a", "b", "c"]).start().await
}

/// The bit of a peer is gone from the routes once it is not alive.
async fn reaches(node: &RunningNode, client: &mut SioClient, data: Value) {
    node.emit(json!({"broadcast": true, "event": "e", "data": data}))
        .await;
    assert_eq!(client.expect("e").await.args[0], data);
}

#[tokio::test]
async fn a_killed_node_is_routed_around_and_not_waited_for() {
    let mut cluster = three().await;
    let mut alice = cluster["a"].guest("alice").await;
    let mut bob = cluster["b"].guest("bob").await;
    let _carol = cluster["c"].guest("carol").await;
    cluster["c"].kill9();
    let died = Instant::now();
    // Clients of the others notice nothing meanwhile.
    let mut slowest = Duration::ZERO;
    while cluster["a"].sees("c").await["alive"] == true {
        assert!(
            died.elapsed() < NOTICED,
            "still routed to after {NOTICED:?}"
        );
        let begun = Instant::now();
        reaches(&cluster["a"], &mut bob, json!(0)).await;
        slowest = slowest.max(begun.elapsed());
        alice.expect("e").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!(
        "noticed after {:?}, slowest emit {slowest:?}",
        died.elapsed()
    );
    assert!(slowest < Duration::from_secs(1), "an emit took {slowest:?}");
    cluster.seen("b", "c", false).await;
    assert!(died.elapsed() < NOTICED, "{:?}", died.elapsed());
    let begun = Instant::now();
    let (status, rooms) = cluster["a"].api("GET", "/api/v1/rooms", Value::Null).await;
    assert_eq!(status, 200, "{rooms}");
    assert_eq!(rooms.get("unreachable"), None, "{rooms}");
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "an answer waited {:?} for the dead",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_a_dying_node_does_not_answer_is_named() {
    let cluster = three().await;
    let mut alice = cluster["a"].guest("alice").await;
    cluster["b"].freeze();
    // Not yet known to be gone: it is asked, and not for ever.
    let begun = Instant::now();
    let ask = json!({"user": "alice", "event": "q", "data": 1, "ack": {"timeoutMs": 400}});
    let (sockets, ended, ()) = tokio::join!(
        cluster["a"].api("GET", "/api/v1/sockets", Value::Null),
        cluster["c"].api("DELETE", "/api/v1/users/bob/sessions", Value::Null),
        async {
            let asking = cluster["c"].api("POST", "/api/v1/emit", ask);
            let answering = async {
                let id = alice.expect("q").await.id.expect("an answer is wanted");
                alice.ack(id, json!(["yes"])).await;
            };
            let ((status, answer), ()) = tokio::join!(asking, answering);
            assert_eq!((status, &answer["responses"]), (200, &json!(["yes"])));
        }
    );
    assert_eq!(sockets.0, 200, "{}", sockets.1);
    assert_eq!(sockets.1["unreachable"], json!(["b"]), "{}", sockets.1);
    assert_eq!(ended, (200, json!({"unreachable": ["b"]})));
    assert_eq!(sockets.1["sockets"].as_array().map(Vec::len), Some(1));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    cluster["b"].thaw();
    cluster.in_step().await;
}

#[tokio::test]
async fn a_node_that_was_stopped_is_back_in_step() {
    stopped_for(Duration::from_secs(5)).await;
}

#[tokio::test]
#[ignore = "half a minute; tests/run --long runs it"]
async fn a_node_that_was_stopped_for_half_a_minute_is_back_in_step() {
    stopped_for(Duration::from_secs(30)).await;
}

async fn stopped_for(time: Duration) {
    let cluster = three().await;
    let mut carol = cluster["c"].reader("carol", "before").await;
    let traffic = Traffic::start(&cluster, &["a", "b"], &["a", "b"], 100).await;
    let stopped = Instant::now();
    cluster["c"].freeze();
    for name in ["a", "b"] {
        cluster.seen(name, "c", false).await;
    }
    assert!(stopped.elapsed() < NOTICED, "{:?}", stopped.elapsed());
    // What changes meanwhile is what it must learn.
    let mut late = cluster["b"].reader("late", "meanwhile").await;
    let acked = Instant::now();
    late.read("meanwhile-2").await;
    assert!(
        acked.elapsed() < Duration::from_secs(1),
        "a subscribe waited {:?} for a node that is known to be gone",
        acked.elapsed()
    );
    tokio::time::sleep(time.saturating_sub(stopped.elapsed())).await;
    cluster["c"].thaw();
    let took = cluster.in_step().await;
    eprintln!("in step {took:?} after it went on");
    assert!(took < CONVERGED, "{took:?}");
    cluster["c"]
        .emit(json!({"room": "news:meanwhile", "event": "e", "data": 1}))
        .await;
    late.expect("e").await;
    cluster["b"]
        .emit(json!({"room": "news:before", "event": "e", "data": 2}))
        .await;
    // What waited for it while nobody knew may have come first; nothing of it twice.
    assert_eq!(carol.expect("e").await.args[0], 2);
    traffic.stop().await.assert_whole();
}

#[tokio::test]
async fn a_node_that_starts_again_with_its_old_data_is_a_new_generation() {
    let mut cluster = three().await;
    let mut alice = cluster["a"].reader("alice", "x").await;
    let old = cluster["b"].sees("c").await["generation"].clone();
    cluster["c"].kill9();
    // At once: before the others have noticed that it was gone.
    cluster["c"].start_again().await;
    let took = cluster.in_step().await;
    assert!(took < CONVERGED, "{took:?}");
    for name in ["a", "b"] {
        let new = cluster[name].sees("c").await["generation"].clone();
        assert!(new.as_u64() > old.as_u64(), "{old} then {new}");
        let seen = cluster[name].cluster().await;
        let peers = seen["peers"].as_array().expect("a list");
        let alive = peers.iter().filter(|peer| peer["alive"] == true).count();
        assert_eq!(alive, 2, "{seen:#}");
    }
    let mut carol = cluster["c"].reader("carol", "x").await;
    for name in cluster.names() {
        cluster[name]
            .emit(json!({"room": "news:x", "event": "e", "data": name}))
            .await;
        assert_eq!(alice.expect("e").await.args[0], name);
        assert_eq!(carol.expect("e").await.args[0], name);
    }
}

#[tokio::test]
async fn a_node_that_leaves_is_gone_at_once() {
    let mut cluster = three().await;
    let mut bob = cluster["b"].reader("bob", "x").await;
    let told = Instant::now();
    assert!(cluster["c"].term().await.success());
    let ended = told.elapsed();
    for name in ["a", "b"] {
        cluster.seen(name, "c", false).await;
    }
    eprintln!(
        "it ended after {ended:?}, was gone after {:?}",
        told.elapsed()
    );
    assert!(told.elapsed() < NOTICED + ended, "{:?}", told.elapsed());
    cluster["a"]
        .emit(json!({"room": "news:x", "event": "e", "data": 1}))
        .await;
    bob.expect("e").await;
}
