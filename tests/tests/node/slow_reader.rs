//! A client that does not read is closed with a reason; its memory is capped, others see nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::{Incoming, Node, PATIENCE, RunningNode, eventually};

/// Resident memory of a process, in bytes.
fn resident(id: u32) -> usize {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a running process");
    let kib: usize = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib * 1024
}

async fn connections_of(node: &RunningNode, user: &str) -> usize {
    let (_, shown) = node
        .api("GET", &format!("/api/v1/users/{user}"), json!(null))
        .await;
    shown["sockets"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn is_closed_while_others_go_on() {
    let node = Node::new()
        .config("limits.payload", "128KiB")
        .config("limits.outbox", "256KiB")
        .start()
        .await;
    let slow = node.session("slow").await;
    let mut stuck = node.client().engine().await.expect("it opens");
    stuck.send(format!("40{}", slow.auth())).await;
    stuck.text().await;
    let quick = node.session("quick").await;
    let mut quick = node.connected(&quick).await;
    let before = resident(node.id());
    let filler = "x".repeat(64 * 1024);
    let mut worst = Duration::ZERO;
    // Socket buffers take some megabytes before the outbox fills.
    for n in 0..400 {
        let begun = Instant::now();
        node.emit(json!({"broadcast": true, "event": "e", "args": [n, filler]}))
            .await;
        assert_eq!(quick.expect("e").await.args[0], n);
        worst = worst.max(begun.elapsed());
    }
    eventually("the slow reader is gone", async || {
        connections_of(&node, "slow").await == 0
    })
    .await;
    assert!(worst < PATIENCE / 5, "another client waited for {worst:?}");
    let grown = resident(node.id()).saturating_sub(before);
    assert!(grown < 64 << 20, "{} KiB more than before", grown / 1024);
    // What was on its way comes, then the end with its reason, if the buffers had room for it.
    let end = loop {
        match stuck.recv().await {
            Incoming::Text(_) => {}
            Incoming::Closed(frame) => break frame,
            Incoming::Binary(bytes) => panic!("no binary was sent: {bytes:?}"),
        }
    };
    if let Some((code, reason)) = end {
        assert_eq!((code, reason.as_str()), (1013, "slow_reader"));
    }
}

#[tokio::test]
async fn over_polling_is_closed_too() {
    let node = Node::new()
        .config("limits.payload", "64KiB")
        .config("limits.outbox", "64KiB")
        .start()
        .await;
    let slow = node.session("slow").await;
    let (polling, _) = tidings_tests::EnginePolling::open(node.public(), "/socket.io/").await;
    polling.send(&[&format!("40{}", slow.auth())]).await;
    assert!(polling.poll().await[0].starts_with("40{"));
    let filler = "x".repeat(16 * 1024);
    for _ in 0..10 {
        node.emit(json!({"user": "slow", "event": "e", "args": [filler]}))
            .await;
    }
    eventually("the slow reader is gone", async || {
        connections_of(&node, "slow").await == 0
    })
    .await;
    assert_eq!(polling.get().await.status, 400);
}

#[tokio::test]
async fn of_quotes_gets_fewer_and_never_older_ones() {
    let node = Node::new()
        .config("limits.payload", "128KiB")
        .config("limits.outbox", "256KiB")
        .start()
        .await;
    let slow = node.session("slow").await;
    let mut stuck = node.client().engine().await.expect("it opens");
    stuck.send(format!("40{}", slow.auth())).await;
    stuck.text().await;
    stuck
        .send(r#"420["subscribe:watchlist",{"symbols":["A"]}]"#)
        .await;
    assert!(stuck.text().await.starts_with("430"));
    let filler = "x".repeat(100 * 1024);
    let begun = Instant::now();
    let mut last = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        last += 1;
        let quote = json!({"price": last, "filler": filler});
        let (status, answer) = node.api("POST", "/api/v1/quotes/A", quote).await;
        assert_eq!(status, 202, "{answer}");
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let packet = stuck.text_past_pings().await;
        let at = packet.find("\"price\":").expect("a quote") + "\"price\":".len();
        let digits: String = packet[at..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        seen.push(digits.parse::<u64>().expect("a number"));
    }
    assert!(
        seen.is_sorted(),
        "an older quote came after a newer: {seen:?}"
    );
    assert!(seen.len() < 30, "{} quotes in three seconds", seen.len());
}
