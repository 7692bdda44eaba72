//! Nodes over links on loopback.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::kit::{Host, Three, bytes, text};
use crate::ClusterKey;
use crate::history::{Refused, Way};
use crate::proto::slots::{Cursor, Home, Presented, Record, slot_of};

#[tokio::test]
async fn an_append_at_any_node_is_heard_at_all_in_one_order() {
    let mut three = Three::start(3).await;
    let mut guards = Vec::new();
    for node in &three.nodes {
        guards.push(node.history.join(bytes("trades:u1")).await.unwrap());
    }
    for at in 0..30 {
        let done = three.nodes[at % 3]
            .emit("trades:u1", &format!("e{at}"))
            .await;
        assert!(done.kept && done.copies == 2, "{done:?}");
    }
    let expected: Vec<String> = (0..30).map(|at| format!("e{at}")).collect();
    for node in &mut three.nodes {
        assert_eq!(node.heard(30).await, expected);
    }
    let status = three.nodes[0].history.status().await;
    assert!(
        status
            .iter()
            .all(|it| matches!(&it.owner, Some((_, Some(_)))))
    );
    let names: Vec<_> = status.iter().filter_map(|it| it.owner.clone()?.1).collect();
    for name in ["node1", "node2", "node3"] {
        assert!(
            names.iter().filter(|it| ***it == *name).count() > 40,
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn an_owners_death_loses_nothing() {
    let mut three = Three::start(3).await;
    let (room, slot) = (bytes("trades:u1"), slot_of("trades:u1"));
    let at = three.owner(slot).await;
    // The client's home is the owner.
    let owner = &three.nodes[at];
    let guard = owner.history.join(room.clone()).await.unwrap();
    let home = Home {
        node: three.hosts[at].id,
        boot: owner.boot,
        connection: 1,
    };
    let record = Record {
        home,
        rooms: BTreeMap::from([(room.clone(), (slot, guard.at()))]),
        ..Record::default()
    };
    let pid = bytes("pid");
    let put = owner.history.put(slot, pid.clone(), record, (None, None));
    let written = put.await.unwrap();
    assert!(written.kept);
    let seen = owner.emit("trades:u1", "a").await;
    let missed = owner.emit("trades:u1", "b").await;
    assert!(missed.kept);

    drop(guard);
    three.kill(at);
    let killed = Instant::now();
    let again = three.nodes[0].emit("trades:u1", "b").await;
    println!("an append after {:?}", killed.elapsed());
    assert_eq!(again.position, missed.position);
    let roster = three.nodes[0].history.roster().await;
    assert_eq!((roster.size, roster.quorum), (3, 2));
    let dead = roster.nodes.iter().filter(|it| !it.alive && !it.ready);
    let dead: Vec<_> = dead.map(|it| (it.id, it.name.clone())).collect();
    let name = format!("node{}", home.node.0);
    assert_eq!(dead, [(home.node, Some(name.into()))]);
    let later = three.nodes[1].emit("trades:u1", "c").await;
    assert!(later.position > missed.position);

    let node = &three.nodes[0];
    let new = Home {
        node: three.hosts[0].id,
        boot: node.boot,
        connection: 5,
    };
    let offset = bytes("offset");
    let presented = Some((offset.clone(), written.position));
    let taken = node.history.take(slot, pid, new, presented).await.unwrap();
    assert_eq!(taken.record.home, new);
    let cursor = Cursor::from([(slot, seen.position)]);
    let presented = Presented::Offset(&offset, &cursor);
    let Way::Recovered(way) = node.history.recover(&taken.record, presented).await else {
        panic!("not recovered")
    };
    let missed: Vec<String> = way.entries.iter().map(|it| text(it)).collect();
    assert_eq!(missed, ["b", "c"]);
    let read = node.history.history(room.clone(), None, 2).await.unwrap();
    let first: Vec<String> = read.entries.iter().map(|it| text(it)).collect();
    assert_eq!(first, ["a", "b"]);
    let read = node
        .history
        .history(room, Some(read.upto), 9)
        .await
        .unwrap();
    assert_eq!(text(&read.entries[0]), "c");
    three.settle(2).await;
    let done = three.nodes[1].emit("trades:u1", "d").await;
    assert!(done.kept && done.copies == 2, "{done:?}");
}

#[tokio::test]
async fn a_drained_node_hands_over_its_slots() {
    let three = Three::start(3).await;
    let node = &three.nodes[2];
    assert!(node.history.counts().owned > 40);
    let began = Instant::now();
    assert_eq!(node.history.hand_over(Duration::from_secs(10)).await, 0);
    println!("handed over in {:?}", began.elapsed());
    let done = node.emit("trades:u1", "a").await;
    assert!(done.kept && done.copies == 2, "{done:?}");
    node.history.close().await;
    three.settle(2).await;
    // With nobody left there is nothing to wait for.
    three.nodes[0]
        .history
        .hand_over(Duration::from_secs(10))
        .await;
    let began = Instant::now();
    let left = three.nodes[1]
        .history
        .hand_over(Duration::from_secs(10))
        .await;
    assert!(
        left > 0 && began.elapsed() < Duration::from_secs(5),
        "{left}"
    );
}

#[tokio::test]
async fn a_forgotten_node_is_not_counted_also_by_those_that_join_later() {
    let mut three = Three::start(1).await;
    // Two of three: without a third, one more may not go.
    let mut gone = three.hosts.remove(2);
    drop(three.nodes.remove(2));
    three.settle(2).await;
    let own = three.nodes[0].history.forget(three.hosts[0].id);
    assert_eq!(own.await, Err(Refused::Invalid));
    three.nodes[0].history.forget(gone.id).await.unwrap();
    let seeds = [three.hosts[0].address()];
    let mut late = Host::new(4, 1);
    let late_node = late.join(&three.key, &seeds).await;
    three.hosts.push(late);
    three.nodes.push(late_node);
    three.settle(3).await;
    let back = gone.join(&three.key, &seeds).await;
    let began = Instant::now();
    while !back.history.is_forgotten() {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for host in &three.hosts {
        let (roster, forgotten) = host.stored_roster();
        assert_eq!(roster.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(forgotten.iter().map(|id| id.0).collect::<Vec<_>>(), [3]);
    }
    assert_eq!(back.history.counts().owned, 0);
}

#[tokio::test]
async fn a_node_that_never_met_its_seeds_keeps_nothing() {
    let key = ClusterKey::generate().unwrap();
    let mut lone = Host::new(1, 1);
    let node = lone.join(&key, &[([127, 0, 0, 1], 9).into()]).await;
    let done = node.emit("trades:u1", "a").await;
    assert!(!done.kept && done.copies == 1, "{done:?}");
    // Once it has met another, both count.
    let mut other = Host::new(2, 1);
    let other = other.join(&key, &[lone.address()]).await;
    node.until("two copies", |it| it.owned > 0 && it.under_copied == 0)
        .await;
    other
        .until("two copies", |it| it.owned > 0 && it.under_copied == 0)
        .await;
    let done = other.emit("trades:u1", "b").await;
    assert!(done.kept && done.copies == 2, "{done:?}");
}
