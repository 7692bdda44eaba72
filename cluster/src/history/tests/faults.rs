//! What is not there any more, or not for a while.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::kit::{Node, Three, bytes, text};
use crate::history::{Done, Told};
use crate::proto::slots::slot_of;

/// What a room's log holds.
async fn log(node: &Node, room: &str) -> Vec<String> {
    let read = node.history.history(bytes(room), None, 100).await.unwrap();
    read.entries.iter().map(|it| text(it)).collect()
}

/// The next so many entries, or those before a cut.
async fn hear(node: &mut Node, count: usize) -> (Vec<String>, bool) {
    let mut heard = Vec::new();
    while heard.len() < count {
        let told = tokio::time::timeout(Duration::from_secs(10), node.told.recv()).await;
        match told.expect("in time").expect("the driver runs") {
            Told::Deliver { entries, .. } => heard.extend(entries.iter().map(|it| text(it))),
            Told::Cut { .. } => return (heard, true),
            _ => {}
        }
    }
    (heard, false)
}

/// Emits again and again until it is as it should be.
async fn emit_until(node: &Node, id: &str, is_so: impl Fn(&Done) -> bool) -> Done {
    let began = Instant::now();
    for at in 0.. {
        let done = node.emit("trades:u1", &format!("{id}{at}")).await;
        if is_so(&done) {
            return done;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{done:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("it counts for ever")
}

#[tokio::test]
async fn one_branch_goes_on_after_a_partition_and_the_listeners_of_the_other_are_told() {
    let mut three = Three::start_behind_relays(3).await;
    let at = three.owner(slot_of("trades:u1")).await;
    let (cut, other) = (at, (at + 1) % 3);
    let mut guards = Vec::new();
    for node in &three.nodes {
        guards.push(node.history.join(bytes("trades:u1")).await.unwrap());
    }
    assert!(three.nodes[cut].emit("trades:u1", "a").await.kept);
    three.cut_off(cut);
    // The side of one goes on, and says what that is worth; so does the other.
    let alone = emit_until(&three.nodes[cut], "alone", |done| !done.kept).await;
    assert_eq!(alone.copies, 1);
    let kept = emit_until(&three.nodes[other], "both", |done| done.kept).await;
    assert_eq!(kept.copies, 2);
    three.heal();
    three.settle(3).await;
    let (ours, theirs) = (
        log(&three.nodes[cut], "trades:u1").await,
        log(&three.nodes[other], "trades:u1").await,
    );
    assert_eq!(ours, theirs);
    assert!(ours.contains(&"a".into()) && ours.iter().all(|id| !id.starts_with("alone")));
    let (heard, is_cut) = hear(&mut three.nodes[cut], usize::MAX).await;
    assert!(is_cut && guards[cut].is_cut());
    assert!(heard.iter().any(|id| id.starts_with("alone")), "{heard:?}");
    let done = three.nodes[cut].emit("trades:u1", "c").await;
    assert!(done.kept && done.copies == 2, "{done:?}");
    // The other side's branch goes on. Its listeners may be cut off as well, if they ask the side
    // of one first; until then they have heard nothing else.
    let whole = log(&three.nodes[cut], "trades:u1").await;
    let (heard, is_cut) = hear(&mut three.nodes[other], whole.len()).await;
    assert!(
        whole.starts_with(&heard) && (is_cut || heard == whole),
        "{heard:?}"
    );
    assert_eq!(guards[other].is_cut(), is_cut);
}

#[tokio::test]
async fn a_cluster_that_was_killed_has_all_that_it_kept() {
    let mut three = Three::start(3).await;
    let mut places = Vec::new();
    for at in 0..20 {
        let done = three.nodes[at % 3]
            .emit("trades:u1", &format!("e{at}"))
            .await;
        assert!(done.kept);
        places.push(done.position);
    }
    let before = log(&three.nodes[0], "trades:u1").await;
    three.start_again().await;
    for node in &three.nodes {
        assert_eq!(log(node, "trades:u1").await, before);
        assert_eq!(node.emit("trades:u1", "e7").await.position, places[7]);
    }
}

#[tokio::test]
async fn the_slots_of_a_node_whose_disk_fails_go_to_others_for_a_while() {
    let three = Three::start(3).await;
    let at = three.owner(slot_of("trades:u1")).await;
    assert!(three.nodes[at].emit("trades:u1", "a").await.kept);
    three.hosts[at].disk.fails.store(true, Relaxed);
    let began = Instant::now();
    let done = emit_until(&three.nodes[(at + 1) % 3], "b", |done| done.kept).await;
    println!("others kept an append after {:?}", began.elapsed());
    assert_eq!(done.copies, 2);
    assert!(three.nodes[at].try_emit("trades:u1", "c").await.is_err());
    three.hosts[at].disk.fails.store(false, Relaxed);
    while three.nodes[at].history.is_failing().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    three.settle(3).await;
    let done = three.nodes[at].emit("trades:u1", "d").await;
    assert!(done.kept && done.copies == 2, "{done:?}");
}
