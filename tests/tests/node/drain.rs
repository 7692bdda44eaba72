//! SIGTERM: clients move, emits in flight are delivered or refused, the exit is clean and timely.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::sio::{End, Failure};
use tidings_tests::{Node, RawHttp};

#[tokio::test]
async fn closes_transports_so_that_clients_come_back() {
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    node.signal_term();
    let End::Closed(frame) = client.end().await else {
        panic!("DISCONNECT would keep the client away for good")
    };
    if let Some((code, reason)) = frame {
        assert_eq!((code, reason.as_str()), (1013, "shutting_down"));
    }
    assert!(node.ended(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn delivers_what_it_accepted() {
    let mut node = Node::new().config("drain.spread", "500ms").start().await;
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    for n in 0..50 {
        node.emit(json!({"user": "alice", "event": "e", "args": [n]}))
            .await;
    }
    node.signal_term();
    for n in 0..50 {
        assert_eq!(client.expect("e").await.args[0], n);
    }
    assert!(node.ended(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn refuses_new_clients_in_a_way_that_lets_them_retry() {
    let mut node = Node::new().config("drain.spread", "3s").start().await;
    let alice = node.session("alice").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(node.connected(&alice).await);
    }
    let (public, private) = (node.public().to_owned(), node.private().to_owned());
    node.signal_term();
    let begun = Instant::now();
    loop {
        let health = RawHttp::get(&private, "/health").await;
        if health.status == 503 {
            assert_eq!(health.json(), json!({"status": "draining"}));
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "health still says {}",
            health.text()
        );
    }
    match node.client().auth(alice.auth()).connect().await {
        Err(Failure::Refused(refused)) => {
            assert_eq!(refused.status, 503);
            assert!(refused.body.contains("shutting_down"), "{}", refused.body);
            assert!(refused.retry_after.is_some());
        }
        Err(other) => panic!("503 was due, came {other:?}"),
        Ok(_) => panic!("503 was due, but it connected"),
    }
    let polled = RawHttp::get(&public, "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(polled.status, 503);
    assert_eq!(polled.json()["code"], "shutting_down");
    assert!(polled.header("retry-after").is_some());
    drop(clients);
    assert!(node.ended(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn ends_in_time_with_a_client_that_does_not_read() {
    let mut node = Node::new().config("drain.deadline", "2s").start().await;
    let alice = node.session("alice").await;
    let mut stuck = node.client().engine().await.expect("it opens");
    stuck.send(format!("40{}", alice.auth())).await;
    stuck.text().await;
    let filler = "x".repeat(100_000);
    for _ in 0..8 {
        node.emit(json!({"user": "alice", "event": "e", "args": [filler]}))
            .await;
    }
    let begun = Instant::now();
    node.signal_term();
    assert!(node.ended(Duration::from_secs(10)).await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "it took {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn of_an_idle_node_is_quick() {
    let mut node = Node::new().config("drain.spread", "5s").start().await;
    let begun = Instant::now();
    assert!(node.term().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        begun.elapsed()
    );
}
