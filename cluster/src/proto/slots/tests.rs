//! A cluster of one: the same code, and nothing is said to anybody.

mod epochs;
mod group;
mod history;
mod pieces;
mod speed;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;

/// So many entries in a message.
pub(super) fn settings_of(fetch_entries: usize) -> Settings {
    Settings {
        fetch_entries,
        ..settings()
    }
}

fn settings() -> Settings {
    Settings {
        slots: 256,
        ..group::settings()
    }
}

fn now(ms: u64) -> Now {
    Now { ms, wall_ms: ms }
}

/// Does what there is to do on a perfect disk; returns the rest, and how often the disk was asked.
fn settle(slots: &mut Slots, ms: u64) -> (Vec<Action>, usize, usize) {
    let (mut rest, mut stores, mut syncs) = (Vec::new(), 0, 0);
    loop {
        let actions = slots.actions();
        if actions.is_empty() {
            return (rest, stores, syncs);
        }
        for action in actions {
            match action {
                Action::Store { token, .. } => {
                    stores += 1;
                    token
                        .into_iter()
                        .for_each(|token| slots.persisted(token, now(ms)));
                }
                Action::Sync { token, .. } => {
                    syncs += 1;
                    slots.persisted(token, now(ms));
                }
                other => rest.push(other),
            }
        }
    }
}

fn alone() -> Slots {
    let id = NodeId(7);
    let mut slots = Slots::new((id, 1), settings(), Vec::new(), false, 42);
    let view = View {
        alive: BTreeSet::from([id]),
        ready: BTreeSet::from([id]),
        boots: BTreeMap::from([(id, 1)]),
    };
    slots.view(view, now(0));
    slots.tick(now(0));
    slots
}

#[test]
fn a_node_alone_owns_all_slots_at_once_and_says_nothing() {
    let mut slots = alone();
    let (actions, stores, syncs) = settle(&mut slots, 0);
    let kept = |action: &&Action| {
        matches!(
            action,
            Action::Opened {
                kept: true,
                cut: false,
                ..
            }
        )
    };
    assert_eq!(actions.iter().filter(kept).count(), 256);
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Send { .. }))
    );
    // Per slot, the promise and the reign are written through, and the chain is stored.
    assert_eq!((stores, syncs), (256, 512));
}

#[test]
fn an_append_costs_one_store_and_is_fed() {
    let mut slots = alone();
    settle(&mut slots, 0);
    let room = Bytes::from_static(b"trades:u1");
    let slot = slot_of("trades:u1");
    slots.tick(now(100));
    // It is fed at once.
    slots.join(1, slot, &room, now(200));
    let (actions, ..) = settle(&mut slots, 200);
    let joined = |action: &Action| matches!(action, Action::Joined { rid: 1, .. });
    assert!(actions.iter().any(joined), "{actions:?}");
    for (rid, id) in [(2, "a"), (3, "b"), (4, "a")] {
        let (id, payload) = (Bytes::from_static(id.as_bytes()), Bytes::from_static(b"!"));
        let room = room.clone();
        slots.ask(rid, slot, Request::Emit { room, id, payload }, now(200));
    }
    let (actions, stores, syncs) = settle(&mut slots, 200);
    // Those that come together are stored together.
    assert_eq!((stores, syncs), (1, 0));
    let at = |rid| {
        let mut answers = actions.iter().filter_map(|action| match action {
            Action::Answer { rid: of, answer } if *of == rid => Some(answer.clone()),
            _ => None,
        });
        match answers.next() {
            Some(Answer::Done {
                position,
                copies: 1,
                kept: true,
            }) => position.seq,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((at(2), at(3), at(4)), (1, 2, 1));
    let delivered = actions.iter().filter_map(|action| match action {
        Action::Deliver { entries, .. } => Some(entries.len()),
        _ => None,
    });
    assert_eq!(delivered.sum::<usize>(), 2);
}

#[test]
fn whoever_joins_is_told_where_the_owner_is() {
    let mut slots = alone();
    settle(&mut slots, 0);
    let (room, slot) = (Bytes::from_static(b"trades:u1"), slot_of("trades:u1"));
    slots.tick(now(100));
    slots.join(1, slot, &room, now(200));
    settle(&mut slots, 200);
    // Nothing comes of the room itself, so the feed stands still.
    let other = Bytes::from_static(b"portfolio:u1");
    let (id, payload) = (Bytes::from_static(b"a"), Bytes::from_static(b"!"));
    let emit = Request::Emit {
        room: other,
        id,
        payload,
    };
    slots.ask(2, slot, emit, now(200));
    settle(&mut slots, 200);
    assert_eq!(slots.fed_upto(slot, &room).map(|at| at.seq), Some(0));
    slots.join(3, slot, &room, now(300));
    let (actions, ..) = settle(&mut slots, 300);
    let joined = actions.iter().find_map(|action| match action {
        Action::Joined { rid: 3, at, .. } => Some(at.seq),
        _ => None,
    });
    assert_eq!(
        (joined, slots.fed_upto(slot, &room).map(|at| at.seq)),
        (Some(1), Some(1))
    );
}
