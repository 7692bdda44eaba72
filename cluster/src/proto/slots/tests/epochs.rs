//! A socket that is connected for so long that nobody knows the epoch in which it came.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::group::{Group, settings};
use crate::proto::slots::*;

const TURNS: u64 = MAX_EPOCHS as u64 + 60;
/// Where the sockets are; whose turns do not matter.
const AT: NodeId = NodeId(2);

/// A connection at a home, whose record is in the first slot and whose rooms are in both.
struct Member {
    pid: Bytes,
    record: Record,
    taken: Option<Position>,
    last: Option<Position>,
}

impl Member {
    fn new(group: &mut Group, connection: u64) -> Self {
        let home = Home {
            node: AT,
            boot: 1,
            connection,
        };
        let mut member = Self {
            pid: Bytes::from(format!("pid{connection}")),
            record: Record {
                home,
                ..Record::default()
            },
            taken: None,
            last: None,
        };
        for (slot, room) in ROOMS {
            let at = group.join(AT, slot, room);
            let room = Bytes::from_static(room.as_bytes());
            member.record.rooms.insert(room, (slot, at));
        }
        member.put(group);
        member
    }

    fn put(&mut self, group: &mut Group) {
        let request = Request::Put {
            pid: self.pid.clone(),
            record: self.record.clone(),
            taken: self.taken,
            last: self.last,
        };
        match group.ask(AT, 0, request) {
            Answer::Done { position, .. } => {
                self.taken.get_or_insert(position);
                self.last = Some(position);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Its client comes back at another node, with what the last event said.
    fn back(&self, group: &mut Group, slot: SlotNo, seen: Position) -> Step {
        let home = Home {
            node: NodeId(3),
            boot: 1,
            connection: 99,
        };
        let text = Bytes::from_static(b"offset");
        let offset = Some((text.clone(), self.last.unwrap()));
        let pid = self.pid.clone();
        let answer = group.ask(home.node, 0, Request::Take { pid, home, offset });
        let Answer::Taken { record, .. } = answer else {
            return Step::Refused;
        };
        let cursor = Cursor::from([(slot, seen)]);
        let presented = Presented::Offset(&text, &cursor);
        let mut recovery = Recovery::new(&record, presented).unwrap();
        let mut step = recovery.end();
        for (slot, room) in recovery.rooms() {
            let name = std::str::from_utf8(&room).unwrap();
            let upto = group.join(home.node, slot, name);
            step = recovery.joined(slot, &room);
            if let Step::Read(slot) = step {
                let request = recovery.request(slot, upto);
                let answer = group.ask(home.node, slot, request);
                step = recovery.read(slot, answer);
                if matches!(step, Step::Refused) {
                    break;
                }
            }
        }
        step
    }
}

const ROOMS: [(SlotNo, &str); 3] = [(0, "busy"), (0, "quiet"), (1, "elsewhere")];

#[test]
fn a_socket_outlives_the_epochs_that_are_remembered() {
    let mut group = Group::new(3, &settings());
    let mut member = Member::new(&mut group, 1);
    let idle = Member::new(&mut group, 2);
    let all: BTreeSet<NodeId> = group.nodes.keys().copied().collect();
    let mut seen = Position::default();
    let mut epochs = BTreeSet::new();
    for turn in 0..TURNS {
        // The first of each slot's order comes and goes.
        let firsts = [0, 1].map(|slot| rendezvous(slot, all.iter().copied())[0]);
        let away = if turn % 2 == 0 { &firsts[..] } else { &[] };
        let ready = all.iter().copied().filter(|node| !away.contains(node));
        group.look_at(&ready.collect());
        group.run(2500);
        let (mut again, rest) = (false, group.rest.remove(&AT).unwrap_or_default());
        for action in rest {
            match action {
                Action::Epoch { slot, eid } => {
                    again |= slot == 0;
                    epochs.insert((slot, eid));
                }
                Action::Renew { .. } => again = true,
                Action::Cut { .. } => panic!("a room is cut in turn {turn}"),
                _ => {}
            }
        }
        if again {
            member.put(&mut group);
        }
        let id = turn;
        match group.emit(AT, "busy", id, Bytes::new()) {
            Answer::Done { position, .. } => seen = position,
            other => panic!("{other:?}"),
        }
    }
    let of = |slot| epochs.iter().filter(|(of, _)| *of == slot).count();
    assert!(
        of(0) > MAX_EPOCHS && of(1) > MAX_EPOCHS,
        "{} {}",
        of(0),
        of(1)
    );
    // It has missed two events.
    group.emit(AT, "quiet", TURNS, Bytes::new());
    group.emit(AT, "busy", TURNS + 1, Bytes::new());
    let step = member.back(&mut group, 0, seen);
    let Step::Recovered { entries, rooms, .. } = step else {
        panic!("{step:?}");
    };
    assert_eq!(entries.len(), 2);
    assert_eq!(rooms.len(), 3);
    // One whose record nobody wrote again cannot be recovered.
    let step = idle.back(&mut group, 0, seen);
    assert!(matches!(step, Step::Refused), "{step:?}");
}
