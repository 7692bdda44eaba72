//! Who waits for an owner does not wait for a tick as well.

use std::collections::{BTreeMap, BTreeSet};

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

/// What a node sees that sees nobody else.
fn alone(id: NodeId) -> View {
    View {
        alive: BTreeSet::from([id]),
        ready: BTreeSet::from([id]),
        boots: BTreeMap::from([(id, 1)]),
    }
}

/// A cluster whose owner of slot 0 was stopped, with an event on its way to the follower; meanwhile
/// another opened the slot and a client's record was put. Returns the stopped node, which is not
/// among the others, and the request of the client, which comes back to it.
fn stopped() -> (Group, (NodeId, Slots), Request) {
    let mut group = Group::new(3, &settings());
    let owner = group.owner(0).unwrap();
    let mut stopped = group.nodes.remove(&owner).unwrap();
    let emit = Request::Emit {
        room: Bytes::from_static(b"a:0"),
        id: Bytes::from_static(b"id"),
        payload: Bytes::new(),
    };
    stopped.ask(77, 0, emit, group.now());
    for action in stopped.actions() {
        if let Action::Store {
            token: Some(token), ..
        } = action
        {
            stopped.persisted(token, group.now());
        }
    }
    group.look();
    group.run(8000);
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
    let take = Request::Take {
        pid,
        home: home(owner, 1),
        offset: None,
    };
    (group, (owner, stopped), take)
}

#[test]
fn what_a_stopped_owner_does_not_know_is_not_lost() {
    let (mut group, (owner, stopped), take) = stopped();
    group.nodes.insert(owner, stopped);
    let answer = group.ask(owner, 0, take);
    assert!(matches!(answer, Answer::Taken { .. }), "{answer:?}");
}

/// When it goes on, its gossip takes all others for dead until it has heard of them again.
#[test]
fn nor_is_it_while_the_stopped_owner_sees_nobody() {
    let (mut group, (owner, mut stopped), take) = stopped();
    stopped.view(alone(owner), group.now());
    stopped.tick(group.now());
    stopped.ask(78, 0, take, group.now());
    group.nodes.insert(owner, stopped);
    group.settle();
    group.run(1000);
    group.look();
    group.run(2000);
    let mut rest = group.rest.remove(&owner).unwrap().into_iter();
    let answer = rest.find_map(|action| match action {
        Action::Answer { rid: 78, answer } => Some(answer),
        _ => None,
    });
    assert!(matches!(answer, Some(Answer::Taken { .. })), "{answer:?}");
}

/// A node that was stopped, and sees nobody for longer, is as any other that is cut off.
#[test]
fn a_stopped_node_that_stays_alone_goes_on() {
    let (mut group, (owner, mut stopped), _) = stopped();
    group.nodes.clear();
    stopped.view(alone(owner), group.now());
    group.nodes.insert(owner, stopped);
    group.run(5000);
    assert_eq!(group.owner(0), Some(owner));
    let answer = group.emit(owner, "a:0", 1, Bytes::new());
    let kept = matches!(answer, Answer::Done { kept: true, .. });
    assert!(matches!(answer, Answer::Done { .. }) && !kept, "{answer:?}");
}

/// Nor is it said of a client that what it missed cannot be known.
#[test]
fn what_a_stopped_owner_cannot_follow_is_not_refused() {
    let room = Bytes::from_static(b"a:0");
    let read = |after| Request::Read {
        rooms: vec![(room.clone(), after)],
        known: vec![after],
        upto: None,
    };
    let history = |after| Request::History {
        room: room.clone(),
        after: Some(after),
        limit: 10,
    };
    for request in [&read as &dyn Fn(Position) -> Request, &history] {
        let (mut group, (owner, stopped), _) = stopped();
        let other = group.owner(0).unwrap();
        let Answer::Done { position, .. } = group.emit(other, "a:0", 1, Bytes::new()) else {
            panic!("it is not taken");
        };
        group.emit(other, "a:0", 2, Bytes::new());
        group.nodes.insert(owner, stopped);
        let answer = group.ask(owner, 0, request(position));
        let found = matches!(&answer, Answer::Entries { entries, .. } if entries.len() == 1);
        assert!(found, "{answer:?}");
    }
}

/// What it was opening when it was stopped, it does not open alone with an answer from before.
#[test]
fn what_a_stopped_node_was_opening_is_given_up() {
    let mut group = Group::new(3, &settings());
    let owner = group.owner(0).unwrap();
    let away = group.nodes.remove(&owner).unwrap();
    group.look();
    group.run(3000);
    let other = group.owner(0).unwrap();
    group.emit(other, "a:0", 1, Bytes::new());
    group.nodes.insert(owner, away);
    group.look();
    // It comes back and fetches what it lacks.
    group.holds = |message| matches!(message, Message::Fetched { .. });
    let is_of_0 = |it: &(NodeId, NodeId, SlotNo, Message)| (it.0, it.2) == (owner, 0);
    while !group.held.iter().any(is_of_0) {
        group.run(100);
    }
    let mut stopped = group.nodes.remove(&owner).unwrap();
    group.holds = |_| false;
    group.look();
    group.run(8000);
    assert!(group.owner(0).is_some());
    let held = std::mem::take(&mut group.held).into_iter();
    for (_, from, slot, fetched) in held.filter(is_of_0) {
        stopped.message(from, slot, fetched, group.now());
    }
    stopped.view(alone(owner), group.now());
    group.nodes.insert(owner, stopped);
    group.run(2000);
    assert!(group.nodes[&owner].peek(0).open.is_none());
}

/// However many are told so, and however often they ask.
#[test]
fn what_is_not_known_costs_no_more_than_an_entry_at_a_time() {
    let mut group = Group::new(3, &settings());
    let owner = group.owner(0).unwrap();
    let entries = |group: &Group| group.nodes[&owner].look(0).entries;
    let (before, now) = (entries(&group), group.now());
    let node = group.nodes.get_mut(&owner).unwrap();
    for rid in 100..200 {
        let take = Request::Take {
            pid: Bytes::from(format!("pid {rid}")),
            home: Home {
                node: owner,
                boot: 1,
                connection: rid,
            },
            offset: None,
        };
        node.ask(rid, 0, take, now);
    }
    group.settle();
    let rest = group.rest.remove(&owner).unwrap().into_iter();
    let is_lost = |action: &Action| {
        let answer = Answer::Lost;
        matches!(action, Action::Answer { answer: it, .. } if *it == answer)
    };
    assert_eq!(rest.filter(is_lost).count(), 100);
    assert!(entries(&group) <= before + 2, "{before}");
}
