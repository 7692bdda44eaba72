//! Reading a room's history.

use bytes::Bytes;

use super::group::{Group, settings};
use crate::proto::slots::*;

fn history(group: &mut Group, after: Option<Position>, limit: u32) -> Answer {
    let room = Bytes::from_static(b"a:0");
    group.ask(NodeId(1), 0, Request::History { room, after, limit })
}

/// The ids that were read, and up to where.
fn read(answer: Answer) -> (Vec<Bytes>, Position) {
    let Answer::Entries { entries, upto } = answer else {
        panic!("{answer:?}");
    };
    let id = |entry: &std::sync::Arc<Entry>| match &entry.body {
        Body::Event { id, .. } => id.clone(),
        Body::Record { .. } => panic!("a record is no event"),
    };
    (entries.iter().map(id).collect(), upto)
}

#[test]
fn a_history_is_read_page_by_page() {
    let mut group = Group::new(3, &settings());
    for id in 0..7 {
        let room = if id == 3 { "b:0" } else { "a:0" };
        group.emit(NodeId(2), room, id, Bytes::from_static(b"!"));
    }
    let (first, upto) = read(history(&mut group, None, 4));
    assert_eq!(first, ["0", "1", "2", "4"]);
    let (rest, end) = read(history(&mut group, Some(upto), 4));
    assert_eq!(rest, ["5", "6"]);
    let (none, same) = read(history(&mut group, Some(end), 4));
    assert!(none.is_empty() && same == end);
    let wrong = Position {
        seq: end.seq + 1,
        ..end
    };
    assert_eq!(history(&mut group, Some(wrong), 4), Answer::Invalid);
    let unknown = Position {
        eid: Eid {
            counter: 99,
            random: 1,
        },
        seq: 1,
    };
    assert_eq!(history(&mut group, Some(unknown), 4), Answer::Invalid);
}

#[test]
fn what_was_trimmed_is_not_gone_on_from() {
    let mut group = Group::new(
        1,
        &Settings {
            limits_of: LimitsOf::from(RoomLimits {
                entries: 2,
                ..RoomLimits::NONE
            }),
            ..settings()
        },
    );
    let Answer::Done { position, .. } = group.emit(NodeId(1), "a:0", 0, Bytes::new()) else {
        panic!();
    };
    for id in 1..5 {
        group.emit(NodeId(1), "a:0", id, Bytes::new());
    }
    group.run(100);
    assert_eq!(history(&mut group, Some(position), 9), Answer::Invalid);
    assert_eq!(read(history(&mut group, None, 9)).0, ["3", "4"]);
}

#[test]
fn of_all_rooms_the_oldest_go_when_memory_is_short() {
    let mut group = Group::new(
        1,
        &Settings {
            limits: Limits {
                memory: 6000,
                ..settings().limits
            },
            ..settings()
        },
    );
    let emit = |group: &mut Group, id| {
        let room = if id % 2 == 0 { "a:0" } else { "b:0" };
        let answer = group.emit(NodeId(1), room, id, Bytes::from(vec![0; 1000]));
        group.run(100);
        answer
    };
    let first = emit(&mut group, 0);
    for id in 1..10 {
        emit(&mut group, id);
    }
    let kept = read(history(&mut group, None, 9)).0;
    assert_eq!(kept.last().map(|id| &id[..]), Some(&b"8"[..]));
    assert!((1..4).contains(&kept.len()), "{kept:?}");
    let Answer::Done { position, .. } = first else {
        panic!();
    };
    assert_eq!(history(&mut group, Some(position), 9), Answer::Invalid);
    // It goes on all the same.
    assert!(matches!(emit(&mut group, 10), Answer::Done { .. }));
}
