//! What the pure part costs. Prints only: `cargo test --release -p tidings-cluster --lib
//! slots::tests::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, settings};
use crate::proto::slots::*;

fn group(count: u64) -> Group {
    Group::new(
        count,
        &Settings {
            slots: 256,
            ..settings()
        },
    )
}

#[test]
#[ignore = "a measurement"]
fn an_idle_tick() {
    let mut group = group(3);
    for number in 0..1000_u64 {
        let pid = Bytes::from(format!("pid{number}"));
        let home = Home {
            node: NodeId(1 + number % 3),
            boot: 1,
            connection: number,
        };
        let record = Record {
            home,
            ..Record::default()
        };
        let (taken, last) = (None, None);
        let request = Request::Put {
            pid,
            record,
            taken,
            last,
        };
        group.ask(NodeId(1), (number % 256) as SlotNo, request);
    }
    group.run(3000);
    let (mut took, start) = (Vec::new(), at_work());
    for _ in 0..1000 {
        group.ms += 100;
        let now = group.now();
        for node in group.nodes.values_mut() {
            let start = Instant::now();
            node.tick(now);
            took.push(start.elapsed());
        }
        group.settle();
    }
    let mean = (at_work() - start) / 3000;
    took.sort();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("an idle tick and all it brings: mean {mean:?}; itself: p50 {p50:?}, p99 {p99:?}");
}

/// Time that this thread was at work, whoever else was: from Linux.
fn at_work() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

const APPENDS: u64 = 100_000;

fn emits() -> Vec<(u64, Request)> {
    let emit = |id: u64| Request::Emit {
        room: Bytes::from_static(b"trades:u1"),
        id: Bytes::from(format!("{id}")),
        payload: Bytes::from(vec![b'x'; 200]),
    };
    (0..APPENDS).map(|id| (id, emit(id))).collect()
}

#[test]
#[ignore = "a measurement"]
fn an_append_of_one() {
    let mut group = group(1);
    let (emits, now) = (emits(), group.now());
    let node = group.nodes.get_mut(&NodeId(1)).unwrap();
    let start = at_work();
    for (rid, emit) in emits {
        node.ask(rid, 7, emit, now);
        for action in node.actions() {
            if let Action::Store { token, .. } = action {
                node.persisted(token.unwrap(), now);
            }
        }
        drop(node.actions());
    }
    println!(
        "an append of one: {:?}",
        (at_work() - start) / APPENDS as u32
    );
}

#[test]
#[ignore = "a measurement"]
fn an_append_of_three() {
    let mut group = group(3);
    group.measures = false;
    let owner = group.owner(7).unwrap();
    let (emits, now) = (emits(), group.now());
    let start = at_work();
    for (rid, emit) in emits {
        group.nodes.get_mut(&owner).unwrap().ask(rid, 7, emit, now);
        group.settle();
        group.rest.clear();
    }
    let each = (at_work() - start) / APPENDS as u32;
    println!("an append of three, on owner and follower together: {each:?}");
}
