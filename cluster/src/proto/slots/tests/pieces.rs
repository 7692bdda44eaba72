//! However much there is, a message stays small.

use super::group::{Group, settings};
use crate::proto::slots::*;
use bytes::Bytes;

const ENTRIES: u64 = 3000;
const RECORDS: u64 = 600;

fn small() -> Settings {
    Settings {
        fetch_entries: 100,
        fetch_bytes: 20_000,
        ..settings()
    }
}

/// Entries of a thousand bytes in two rooms, and records of two thousand.
fn fill(group: &mut Group, at: NodeId) -> Position {
    let mut last = Position::default();
    for id in 0..ENTRIES {
        let room = ["a:0", "b:0"][(id % 2) as usize];
        let answer = group.emit(at, room, id, Bytes::from(vec![7; 1000]));
        let Answer::Done { position, .. } = answer else {
            panic!("{answer:?}");
        };
        last = position;
    }
    for number in 0..RECORDS {
        let record = Record {
            home: Home {
                node: at,
                boot: 1,
                connection: number,
            },
            data: Bytes::from(vec![1; 2000]),
            ..Record::default()
        };
        let request = Request::Put {
            pid: Bytes::from(format!("pid{number}")),
            record,
            taken: None,
            last: None,
        };
        let answer = group.ask(at, 0, request);
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    }
    last
}

#[test]
fn a_node_that_comes_new_gets_a_log_in_pieces() {
    let mut group = Group::new(1, &small());
    let at = NodeId(1);
    fill(&mut group, at);
    for id in [NodeId(2), NodeId(3)] {
        let node = Slots::new((id, 1), small(), Vec::new(), false, id.0);
        group.nodes.insert(id, node);
    }
    group.look();
    group.run(10_000);
    assert!(group.largest < 30_000, "{} bytes", group.largest);
    let holds = |node: &&Slots| node.readable(0).len() as u64 == ENTRIES + RECORDS;
    assert_eq!(
        group.nodes.values().filter(holds).count(),
        3 - 1 + usize::from(group.owner(0) != Some(at))
    );
    let homes = |node: &&Slots| node.homes(0).len() as u64 == RECORDS;
    assert!(group.nodes.values().filter(homes).count() >= 2);
}

#[test]
fn a_long_absence_is_read_in_pieces() {
    let mut group = Group::new(3, &small());
    let at = NodeId(1);
    let start = group.emit(at, "a:0", u64::MAX, Bytes::new());
    let Answer::Done { position, .. } = start else {
        panic!("{start:?}");
    };
    let last = fill(&mut group, at);
    group.largest = 0;
    let rooms = [Bytes::from_static(b"a:0"), Bytes::from_static(b"b:0")];
    let record = Record {
        rooms: rooms
            .iter()
            .map(|room| (room.clone(), (0, position)))
            .collect(),
        ..Record::default()
    };
    let mut recovery = Recovery::new(&record, Presented::Nothing).unwrap();
    let mut steps = rooms
        .iter()
        .map(|room| recovery.joined(0, room))
        .collect::<Vec<_>>();
    let mut reads = 0;
    loop {
        match steps.pop().unwrap() {
            Step::Read(0) => {
                let request = recovery.request(0, last);
                let answer = group.ask(at, 0, request);
                reads += 1;
                steps.push(recovery.read(0, answer));
            }
            Step::Recovered {
                entries,
                seen,
                after,
                ..
            } => {
                let seqs: Vec<u64> = entries.iter().map(|it| it.position.seq).collect();
                let all = position.seq + 1..=position.seq + ENTRIES;
                assert_eq!(seqs, all.collect::<Vec<_>>());
                assert!(seen.values().all(|it| *it == last) && after[&0] == last);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        reads > 100 && group.largest < 30_000,
        "{reads} {}",
        group.largest
    );
}

#[test]
fn a_listener_that_is_far_behind_is_fed_in_pieces() {
    let mut group = Group::new(3, &small());
    let owner = group.owner(0).unwrap();
    let listener = *group.nodes.keys().find(|id| **id != owner).unwrap();
    let room = Bytes::from_static(b"a:0");
    let now = group.now();
    group
        .nodes
        .get_mut(&listener)
        .unwrap()
        .join(9, 0, &room, now);
    group.run(1000);
    // It hears nothing for a while.
    let away = group.nodes.remove(&listener).unwrap();
    fill(&mut group, owner);
    group.largest = 0;
    group.nodes.insert(listener, away);
    let other = Bytes::from_static(b"b:0");
    let now = group.now();
    group
        .nodes
        .get_mut(&listener)
        .unwrap()
        .join(10, 0, &other, now);
    group.run(5000);
    let rest = &group.rest[&listener];
    let of = |action: &Action| match action {
        Action::Deliver { entries, .. } => entries.clone(),
        _ => Vec::new(),
    };
    let delivered: Vec<_> = rest.iter().flat_map(of).collect();
    let of_room = |entry: &&std::sync::Arc<Entry>| matches!(&entry.body, Body::Event { room: of, .. } if *of == room);
    let seqs: Vec<u64> = delivered
        .iter()
        .filter(of_room)
        .map(|it| it.position.seq)
        .collect();
    assert_eq!(seqs.len() as u64, ENTRIES / 2);
    assert!(seqs.is_sorted());
    assert!(!rest.iter().any(|it| matches!(it, Action::Cut { .. })));
    assert!(
        rest.iter()
            .any(|it| matches!(it, Action::Joined { rid: 10, .. }))
    );
    assert!(group.largest < 30_000, "{}", group.largest);
}

#[test]
fn what_no_store_would_take_is_refused() {
    let mut group = Group::new(3, &settings());
    let long = "r".repeat(MAX_NAME + 1);
    let emit = |group: &mut Group, room: &str, bytes: usize| {
        let payload = Bytes::from(vec![0; bytes]);
        group.emit(NodeId(1), room, 1, payload)
    };
    assert_eq!(emit(&mut group, &long, 1), Answer::Invalid);
    assert_eq!(emit(&mut group, "a:0", MAX_EVENT), Answer::Invalid);
    let (pid, home) = (Bytes::from(long.clone()), Home::default());
    let take = Request::Take {
        pid,
        home,
        offset: None,
    };
    assert_eq!(group.ask(NodeId(1), 0, take), Answer::Invalid);
    let done = emit(&mut group, &long[1..], MAX_EVENT - 1);
    assert!(matches!(done, Answer::Done { .. }), "{done:?}");
}
