//! Roughly how fast it is: `cargo test -p tidings-cluster --release history::tests::speed --
//! --ignored --nocapture`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::kit::{Host, Node, Three, bytes};

/// One after the other; then as many as may be under way.
async fn measure(what: &str, node: &Node) {
    let payload = Bytes::from(vec![7; 200]);
    let mut took: Vec<Duration> = Vec::new();
    for at in 0..500 {
        let room = bytes(&format!("trades:u{}", at % 50));
        let (id, began) = (bytes(&format!("{what}{at}")), Instant::now());
        let done = node.history.submit(room, id, payload.clone()).await;
        done.await.unwrap().unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    let (began, mut waiting) = (Instant::now(), Vec::new());
    for at in 0..20_000 {
        let room = bytes(&format!("trades:u{}", at % 500));
        let id = bytes(&format!("{what}-{at}"));
        waiting.push(node.history.submit(room, id, payload.clone()).await);
    }
    for done in waiting {
        done.await.unwrap().unwrap();
    }
    let rate = 20_000.0 / began.elapsed().as_secs_f64();
    println!(
        "{what}: p50 {:?}, p99 {:?}, {rate:.0}/s",
        took[250], took[494]
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn appends() {
    let mut host = Host::new(1, 1);
    let node = host.start(None);
    measure("alone, no flush", &node).await;
    host.disk.delay_us.store(1, Relaxed);
    measure("alone, a flush of 1 to 2 ms", &node).await;
    drop(node);
    let three = Three::start(3).await;
    measure("three, no flush", &three.nodes[0]).await;
    for host in &three.hosts {
        host.disk.delay_us.store(1, Relaxed);
    }
    measure("three, a flush of 1 to 2 ms", &three.nodes[0]).await;
}

/// What this process has used of the processor, by the kernel's count of hundredths of a second.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let hundredths: u64 = fields[11..13]
        .iter()
        .map(|it| it.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * hundredths)
}

async fn idle(what: &str) {
    const WHILE: Duration = Duration::from_secs(10);
    let before = used();
    tokio::time::sleep(WHILE).await;
    let share = (used() - before).as_secs_f64() / WHILE.as_secs_f64();
    println!("{what}: {:.2} % of a core", 100.0 * share);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn nothing_to_do() {
    let mut host = Host::new(1, 1);
    let node = host.start(None);
    node.emit("a:u1", "1").await;
    idle("one node, idle").await;
    drop(node);
    let three = Three::start(3).await;
    idle("three nodes, idle, all in one").await;
    drop(three);
}
