//! What a node tells systemd, and the sockets that systemd hands to it.

use std::time::Duration;

use serde_json::json;
use tidings_tests::node::API_KEY;
use tidings_tests::{Manager, Node, RawHttp, Script, eventually, port};

const WATCHDOG: Duration = Duration::from_secs(2);

#[tokio::test]
async fn is_told_of_start_and_stop() {
    let manager = Manager::new();
    let mut node = manager.of(Node::new(), WATCHDOG).start().await;
    assert_eq!(manager.next().await.trim(), "READY=1");
    node.signal_term();
    manager.expect("STOPPING=1").await;
    assert!(node.ended(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn feeds_its_watchdog_only_while_every_shard_answers() {
    let manager = Manager::new();
    let node = Node::new().config("node.shards", 2);
    let node = manager.of(node, WATCHDOG).start().await;
    manager.expect("WATCHDOG=1").await;
    manager.expect("WATCHDOG=1").await;

    let id = node.id().to_string();
    let mut holder = Script::python("hold_thread.py")
        .args([&*id, "shard-1"])
        .start();
    holder.says("held").await;
    // A round that had begun before may still be told.
    let _ = manager.next_within(WATCHDOG / 2).await;
    while manager.next_within(Duration::ZERO).await.is_some() {}
    let fed = manager.next_within(WATCHDOG + WATCHDOG / 2).await;
    assert_eq!(fed, None, "a shard stands still");
    let health = RawHttp::get(node.private(), "/health").await;
    assert_eq!(
        (health.status, health.json()),
        (503, json!({"status": "stuck"}))
    );
    let (status, _, said) = node.command(&["health"], "");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stuck"), "{said}");
    assert!(node.log().contains("shard-1"), "{}", node.log());
    assert!(!node.log().contains("shard-0"), "{}", node.log());

    holder.tell("go on").await;
    manager.expect("WATCHDOG=1").await;
    eventually("health is well again", async || {
        node.command(&["health"], "").0.success()
    })
    .await;
}

#[tokio::test]
async fn hands_over_a_socket_in_whose_queue_clients_wait() {
    let address = port::address();
    let key = format!("TIDINGS_API_KEY={API_KEY}");
    let activate = [
        "systemd-socket-activate",
        "-l",
        &*address,
        "--fdname=public",
    ];
    let through = [&activate[..], &["-E", &key]].concat();
    // The harness's own address for clients is not used: the socket is.
    let mut node = Node::new().through(&through).launch();
    eventually("the port is open", async || {
        tokio::net::TcpStream::connect(&address).await.is_ok()
    })
    .await;
    // Nothing runs but whoever holds the socket; the request waits for the node.
    let (health, ()) = tokio::join!(
        RawHttp::get(&address, "/health"),
        node.wait_until_listening()
    );
    assert_eq!(node.public(), address);
    // Answered as soon as it takes clients.
    assert!([200, 503].contains(&health.status), "{}", health.status);
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    node.emit(json!({"user": "alice", "event": "e", "args": [1]}))
        .await;
    client.expect("e").await;
}

#[tokio::test]
async fn a_socket_of_another_name_stops_the_start() {
    let address = port::address();
    let through = [
        "systemd-socket-activate",
        "-l",
        &*address,
        "--fdname=publick",
    ];
    let mut node = Node::new().through(&through).launch();
    eventually("the port is open", async || {
        tokio::net::TcpStream::connect(&address).await.is_ok()
    })
    .await;
    let status = node.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(1), "{}", node.log());
    let log = node.log();
    assert!(
        log.contains("\"publick\"") && log.contains("public or private"),
        "{log}"
    );
}
