//! A cluster of one.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::kit::{Host, Node, bytes, text};
use crate::history::{Refused, Told, Way};
use crate::proto::slots::{Cursor, Home, Presented, Record};

#[tokio::test]
async fn an_append_is_stored_answered_and_delivered() {
    let mut host = Host::new(1, 1);
    let mut node = host.start(None);
    let guard = node.history.join(bytes("trades:u1")).await.unwrap();
    let first = node.emit("trades:u1", "a").await;
    assert!(first.kept && first.copies == 1);
    assert_eq!(first.slot, guard.slot());
    assert!(first.position > guard.at());
    node.emit("other:u1", "b").await;
    node.emit("trades:u1", "c").await;
    assert_eq!(node.heard(2).await, ["a", "c"]);
    // A known id returns its first place.
    assert_eq!(node.emit("trades:u1", "a").await, first);
    let counts = node.history.counts();
    assert_eq!(
        (counts.opens, counts.kept, counts.undelivered_bytes),
        (256, 4, 0)
    );
}

#[tokio::test]
async fn a_client_gets_what_it_missed_also_after_a_restart() {
    let mut host = Host::new(1, 1);
    let node = host.start(None);
    let room = bytes("trades:u1");
    let guard = node.history.join(room.clone()).await.unwrap();
    let (slot, start) = (guard.slot(), guard.at());
    let home = |node: &Node, connection| Home {
        node: host_id(),
        boot: node.boot,
        connection,
    };
    let record = Record {
        home: home(&node, 1),
        rooms: BTreeMap::from([(room.clone(), (slot, start))]),
        ..Record::default()
    };
    let pid = bytes("pid");
    let put = node.history.put(slot, pid.clone(), record, (None, None));
    let written = put.await.unwrap();
    let seen = node.emit("trades:u1", "a").await;
    node.emit("trades:u1", "b").await;
    node.history.close().await;
    drop((guard, node));

    let node = host.start(None);
    node.emit("trades:u1", "c").await;
    let offset = bytes("offset");
    let take = node.history.take(
        slot,
        pid.clone(),
        home(&node, 1),
        Some((offset.clone(), written.position)),
    );
    let taken = take.await.unwrap();
    let cursor = Cursor::from([(slot, seen.position)]);
    let presented = Presented::Offset(&offset, &cursor);
    let Way::Recovered(way) = node.history.recover(&taken.record, presented).await else {
        panic!("not recovered")
    };
    let missed: Vec<String> = way.entries.iter().map(|it| text(it)).collect();
    assert_eq!(missed, ["b", "c"]);
    assert_eq!((way.before, way.guards.len()), (cursor, 1));
    let other = node
        .history
        .take(slot, bytes("unknown"), home(&node, 2), None);
    assert_eq!(other.await, Err(Refused::Lost));
}

#[tokio::test]
async fn what_may_lack_its_newest_part_proves_nothing() {
    let mut host = Host::new(1, 1);
    let node = host.start(None);
    let done = node.emit("trades:u1", "a").await;
    let listening = node.history.join(bytes("trades:u1")).await.unwrap();
    let record = Record {
        rooms: BTreeMap::from([(bytes("trades:u1"), (done.slot, listening.at()))]),
        ..Record::default()
    };
    node.history.close().await;
    drop((node, listening));
    host.is_unclean = true;
    let node = host.start(None);
    node.history.marked().await;
    let again = node.emit("trades:u1", "a").await;
    assert!(again.position.seq > done.position.seq);
    assert!(node.history.counts().cuts > 0);
    let way = node.history.recover(&record, Presented::Nothing).await;
    assert!(matches!(way, Way::Refused), "{way:?}");
}

fn host_id() -> crate::proto::slots::NodeId {
    crate::proto::slots::NodeId(1)
}

#[tokio::test]
async fn a_failing_disk_is_tried_again_and_refuses_at_once_meanwhile() {
    let mut host = Host::new(1, 1);
    let mut node = host.start(None);
    let _guard = node.history.join(bytes("a:u1")).await.unwrap();
    node.emit("a:u1", "1").await;
    host.disk.fails.store(true, Relaxed);
    let late = node.history.submit(bytes("a:u1"), bytes("2"), bytes("2"));
    let late = late.await;
    while node.history.is_failing().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    assert_eq!(node.try_emit("a:u1", "3").await, Err(Refused::Unavailable));
    assert!(began.elapsed() < Duration::from_millis(100));
    assert_eq!(node.history.is_failing().unwrap().why, "the disk is full");
    host.disk.fails.store(false, Relaxed);
    assert!(late.await.unwrap().unwrap().kept);
    assert_eq!(node.history.is_failing(), None);
    node.emit("a:u1", "4").await;
    assert_eq!(node.heard(3).await, ["1", "2", "4"]);
}

#[tokio::test]
async fn what_comes_while_the_disk_is_busy_is_stored_together() {
    let mut host = Host::new(1, 1);
    host.disk.delay_us.store(20_000, Relaxed);
    let node = host.start(None);
    node.emit("a:u1", "0").await;
    let before = host.disk.stores.load(Relaxed);
    let mut submitted = Vec::new();
    for id in 0..500 {
        let id = bytes(&format!("id{id}"));
        submitted.push(node.history.submit(bytes("a:u1"), id.clone(), id).await);
    }
    let mut last = None;
    for answer in submitted {
        let done = answer.await.unwrap().unwrap();
        assert!(last < Some(done.position), "in the order of submission");
        last = Some(done.position);
    }
    let stores = host.disk.stores.load(Relaxed) - before;
    assert!(stores <= 3, "{stores} stores");
}

#[tokio::test]
async fn a_room_is_left_after_a_moment_and_a_dropped_call_leaves_nothing() {
    let mut host = Host::new(1, 1);
    let mut node = host.start(None);
    let guard = node.history.join(bytes("a:u1")).await.unwrap();
    drop(node.history.join(bytes("a:u1")));
    let second = node.history.join(bytes("a:u1")).await.unwrap();
    drop(guard);
    node.emit("a:u1", "1").await;
    assert_eq!(node.heard(1).await, ["1"]);
    drop(second);
    tokio::time::sleep(Duration::from_millis(2400)).await;
    node.emit("a:u1", "2").await;
    let _third = node.history.join(bytes("a:u1")).await.unwrap();
    node.emit("a:u1", "3").await;
    assert_eq!(node.heard(1).await, ["3"]);
}

#[tokio::test]
async fn rooms_that_the_program_does_not_take_are_cut_and_emitters_wait() {
    let mut host = Host::new(1, 1);
    let mut node = host.start(None);
    let guard = node.history.join(bytes("a:u1")).await.unwrap();
    let large = vec![7; 4 << 20];
    let mut submitted = Vec::new();
    // Eight are much, and the ninth waits.
    for id in 0..8 {
        let id = bytes(&format!("id{id}"));
        let done = node.history.submit(bytes("a:u1"), id, large.clone().into());
        submitted.push(done.await.await.unwrap().unwrap());
    }
    let more = node
        .history
        .submit(bytes("a:u1"), bytes("more"), bytes("more"));
    let waits = tokio::time::timeout(Duration::from_millis(200), more);
    assert!(waits.await.is_err());
    // What a peer's emitter would do.
    for id in 0..9 {
        let id = bytes(&format!("other{id}"));
        let request = crate::proto::slots::Request::Emit {
            room: bytes("a:u1"),
            id,
            payload: large.clone().into(),
        };
        node.history.ask(guard.slot(), request).await.unwrap();
    }
    assert!(guard.is_cut());
    let (mut delivered, mut cut) = (0, false);
    while let Ok(told) = node.told.try_recv() {
        match told {
            Told::Deliver { entries, .. } if !cut => delivered += entries.len(),
            Told::Cut { .. } => cut = true,
            Told::Epoch { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(cut && delivered >= 8, "{delivered}");
    assert_eq!(node.history.counts().rooms_cut, 1);
    let _guard = node.history.join(bytes("a:u1")).await.unwrap();
    node.emit("a:u1", "more").await;
    assert_eq!(node.heard(1).await, ["more"]);
}
