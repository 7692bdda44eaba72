//! Who waits for an owner does not wait for a tick as well.

use bytes::Bytes;

use super::group::{Group, settings};
use crate::proto::slots::*;

fn joined(group: &Group, at: NodeId, of: u64) -> bool {
    let rest = group.rest.get(&at).into_iter().flatten();
    let mut rest = rest.filter(|it| matches!(it, Action::Joined { rid, .. } if *rid == of));
    rest.next().is_some()
}

#[test]
fn a_room_is_fed_at_once_wherever_its_owner_is() {
    let mut group = Group::new(3, &settings());
    let room = Bytes::from_static(b"a:0");
    for id in 1..=3 {
        let now = group.now();
        let node = group.nodes.get_mut(&NodeId(id)).unwrap();
        node.join(77, 0, &room, now);
        group.settle();
        assert!(joined(&group, NodeId(id), 77), "{id}");
    }
}

#[test]
fn what_waits_goes_on_when_an_owner_is_known() {
    let mut group = Group::new(3, &settings());
    let owner = group.owner(0).unwrap();
    let at = *group.nodes.keys().find(|id| **id != owner).unwrap();
    let room = Bytes::from_static(b"a:0");
    group.nodes.remove(&owner);
    group.look();
    let (now, answer) = (group.now(), |it: &Action| {
        matches!(
            it,
            Action::Answer {
                rid: 78,
                answer: Answer::Done { .. }
            }
        )
    });
    let node = group.nodes.get_mut(&at).unwrap();
    node.join(77, 0, &room, now);
    let id = Bytes::from_static(b"id");
    let payload = Bytes::new();
    let emit = Request::Emit { room, id, payload };
    node.ask(78, 0, emit, now);
    while group.owner(0).is_none() {
        assert!(!joined(&group, at, 77));
        group.run(100);
    }
    // Both were done within the tick in which the slot was opened.
    assert!(joined(&group, at, 77));
    assert!(group.rest[&at].iter().any(answer));
}

#[test]
fn what_a_stopped_owner_does_not_know_is_not_lost() {
    let mut group = Group::new(3, &settings());
    let owner = group.owner(0).unwrap();
    let stopped = group.nodes.remove(&owner).unwrap();
    group.look();
    group.run(3000);
    let other = group.owner(0).unwrap();
    let pid = Bytes::from_static(b"pid");
    let home = |node, connection| Home {
        node,
        boot: 1,
        connection,
    };
    let put = Request::Put {
        pid: pid.clone(),
        record: Record {
            home: home(other, 1),
            ..Record::default()
        },
        taken: None,
        last: None,
    };
    assert!(matches!(
        group.ask(other, 0, put),
        Answer::Done { kept: true, .. }
    ));
    group.nodes.insert(owner, stopped);
    let take = Request::Take {
        pid,
        home: home(owner, 1),
        offset: None,
    };
    let answer = group.ask(owner, 0, take);
    assert!(matches!(answer, Answer::Taken { .. }), "{answer:?}");
}
