//! Being fed: a node's side on which listeners are.
//!
//! One stream per slot, numbered; a gap, another owner or silence means a new stream that goes on
//! at the position. Rooms for which that cannot be proved are cut: their sockets must be closed.

use std::collections::BTreeMap;

use super::context::Context;
use super::machine::Machine;
use super::rules::Rule;
use super::{Action, Body, Eid, Message, NodeId, Numbers, Position, Room, SlotNo};

/// How long an answer of the owner is waited for.
const WAIT_MS: u64 = 700;

#[derive(Clone, Debug, Default)]
struct Joined {
    /// Everything of it after the position comes on the stream.
    is_ready: bool,
    /// The present stream was asked for it.
    is_asked: bool,
    /// By which of the changes that want a room.
    wish: u64,
    /// Which of the epochs that were heard of was the first since it is ready.
    since: usize,
    /// Nothing came of it after this.
    quiet: u64,
    /// Who waits to be told from where on.
    waiting: Vec<u64>,
}

/// What a node hears of one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening {
    owner: Option<(Eid, NodeId)>,
    stream: u64,
    is_open: bool,
    asked_ms: u64,
    /// The next message of the stream, and the next change that is asked for.
    nth: u64,
    changes: u64,
    /// How many of the changes wanted a room, and how many of those were answered, in order.
    wishes: u64,
    granted: u64,
    /// How much the owner said that it had sent.
    told: u64,
    /// More was asked for.
    awaits_more: bool,
    position: Option<Position>,
    rooms: BTreeMap<Room, Joined>,
    /// Epochs of the branch that is heard, in the order in which they were. Sixteen bytes for each
    /// owner that the slot has while anybody here listens.
    epochs: Vec<Eid>,
}

impl Listening {
    /// Up to where everything of the joined rooms was delivered.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Whether a room is fed.
    pub(super) fn is_ready(&self, room: &Room) -> bool {
        self.rooms.get(room).is_some_and(|joined| joined.is_ready)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// A place in a room, of a member that is here since, so that it does not age: if nothing came
    /// after it, then where the feed is, else on the branch of the present epoch. It was given while
    /// the room was fed here, without a break since: so it is on this branch.
    pub(super) fn renewed(&self, room: &Room, place: Position) -> Option<Position> {
        let (joined, present) = (self.rooms.get(room)?, self.position?);
        let known = self.epochs.get(joined.since..)?;
        if !joined.is_ready || !known.contains(&place.eid) || place.seq > present.seq {
            return None;
        }
        let is_quiet = place.seq >= joined.quiet;
        Some(Position {
            eid: present.eid,
            seq: if is_quiet { present.seq } else { place.seq },
        })
    }

    /// The owner is asked where it is, though the room is fed: the feed may have stood still for
    /// long, if nothing came of its rooms, and a client that comes from elsewhere be ahead of it.
    pub(super) fn join(&mut self, slot: SlotNo, room: &Room, rid: u64, context: &mut Context) {
        let joined = self.rooms.entry(room.clone()).or_default();
        joined.is_asked &= !joined.waiting.is_empty();
        joined.waiting.push(rid);
        self.ask_rooms(slot, context);
    }

    fn ask_rooms(&mut self, slot: SlotNo, context: &mut Context) {
        let Some((_, owner)) = self.owner.filter(|_| self.is_open) else {
            return;
        };
        // Whatever is asked meanwhile, what was asked before is not waited for any longer.
        if !self.waits() {
            self.asked_ms = context.now.ms;
        }
        for (room, joined) in &mut self.rooms {
            if !joined.is_asked {
                joined.is_asked = true;
                joined.wish = self.wishes;
                self.wishes += 1;
                let message = Message::FeedChange {
                    stream: self.stream,
                    nth: self.changes,
                    room: room.clone(),
                    wanted: true,
                };
                self.changes += 1;
                context.send(owner, slot, message);
            }
        }
    }

    /// Whether the owner has been asked for something and has not answered.
    fn waits(&self) -> bool {
        let awaits = |joined: &Joined| joined.is_asked && !joined.waiting.is_empty();
        !self.is_open || self.awaits_more || self.rooms.values().any(awaits)
    }

    pub(super) fn leave(&mut self, slot: SlotNo, room: &Room, context: &mut Context) {
        let Some(joined) = self.rooms.remove(room) else {
            return;
        };
        let Some((_, owner)) = self.owner else {
            return;
        };
        if self.rooms.is_empty() {
            let stream = self.stream;
            context.send(owner, slot, Message::FeedEnd { stream });
        } else if self.is_open && joined.is_asked {
            let message = Message::FeedChange {
                stream: self.stream,
                nth: self.changes,
                room: room.clone(),
                wanted: false,
            };
            self.changes += 1;
            context.send(owner, slot, message);
        }
    }

    /// Asks again what was not answered.
    pub(super) fn tick(&mut self, machine: &Machine, numbers: &mut Numbers, context: &mut Context) {
        self.meet(machine, numbers, context);
        if self.waits() && context.now.ms >= self.asked_ms + WAIT_MS {
            self.reopen(machine.slot, numbers, context);
        }
    }

    /// Goes to another owner.
    pub(super) fn meet(&mut self, machine: &Machine, numbers: &mut Numbers, context: &mut Context) {
        let owner = machine.owner(context);
        if owner.is_some() && owner != self.owner {
            self.owner = owner;
            self.reopen(machine.slot, numbers, context);
        }
    }

    pub(super) fn reopen(&mut self, slot: SlotNo, numbers: &mut Numbers, context: &mut Context) {
        let Some((eid, owner)) = self.owner else {
            return;
        };
        let stream = numbers.fresh();
        (self.stream, self.is_open, self.asked_ms) = (stream, false, context.now.ms);
        (self.nth, self.changes, self.told) = (0, 0, 0);
        (self.wishes, self.granted) = (0, 0);
        self.awaits_more = false;
        let mut rooms = BTreeMap::new();
        for (room, joined) in &mut self.rooms {
            joined.is_asked = true;
            rooms.insert(room.clone(), !joined.is_ready);
        }
        let message = Message::Feed {
            eid,
            stream,
            rooms,
            after: self.position,
        };
        context.send(owner, slot, message);
    }

    /// What an owner says that it has sent. True if the stream is to be opened again.
    pub(super) fn told(&mut self, from: NodeId, stream: u64, sent: u64) -> Option<bool> {
        if self.stream != stream || self.owner.map(|it| it.1) != Some(from) {
            return None;
        }
        let is_behind = self.is_open && self.nth < self.told;
        self.told = sent;
        Some(is_behind)
    }

    /// The next of a stream. True if one before it is missing.
    pub(super) fn fed(&mut self, slot: SlotNo, fed: Message, context: &mut Context) -> bool {
        let Message::Fed {
            stream,
            nth,
            cut,
            entries,
            added,
            position,
            more,
        } = fed
        else {
            return false;
        };
        if stream != self.stream || nth < self.nth {
            return false;
        }
        if nth > self.nth && (!self.is_open || context.rules.keep(Rule::FeedInOrder)) {
            return self.is_open;
        }
        self.nth = nth + 1;
        for room in cut {
            self.rooms.remove(&room);
            context.actions.push(Action::Cut { slot, room });
        }
        let mut wanted = |entry: &std::sync::Arc<super::Entry>| match &entry.body {
            Body::Event { room, .. } => match self.rooms.get_mut(room) {
                Some(joined) if joined.is_ready => {
                    joined.quiet = entry.position.seq;
                    true
                }
                _ => false,
            },
            Body::Record { .. } => false,
        };
        let mut entries = entries;
        entries.retain(&mut wanted);
        if !entries.is_empty() {
            context.actions.push(Action::Deliver { slot, entries });
        }
        self.position = Some(position);
        if !self.epochs.contains(&position.eid) {
            self.epochs.push(position.eid);
        }
        if nth == 0 {
            self.is_open = true;
            let asked = self.rooms.iter().filter(|(_, joined)| joined.is_asked);
            let asked: Vec<Room> = asked.map(|(room, _)| room.clone()).collect();
            asked
                .iter()
                .for_each(|room| self.ready(slot, room, position, context));
            self.ask_rooms(slot, context);
        }
        if let Some(room) = added {
            let wish = self.rooms.get(&room).map(|joined| joined.wish);
            if wish == Some(self.granted) || !context.rules.keep(Rule::FeedOfLastJoin) {
                self.ready(slot, &room, position, context);
            }
            self.granted += 1;
        }
        self.awaits_more = more;
        if let Some((_, owner)) = self.owner.filter(|_| more && !self.is_empty()) {
            self.asked_ms = context.now.ms;
            let (stream, nth) = (self.stream, self.nth);
            context.send(owner, slot, Message::FeedMore { stream, nth });
        }
        false
    }

    fn ready(&mut self, slot: SlotNo, room: &Room, at: Position, context: &mut Context) {
        if let Some(joined) = self.rooms.get_mut(room) {
            if !joined.is_ready {
                let mut epochs = self.epochs.iter();
                joined.since = epochs.rposition(|eid| *eid == at.eid).unwrap_or(0);
                joined.quiet = at.seq;
            }
            joined.is_ready = true;
            for rid in std::mem::take(&mut joined.waiting) {
                context.actions.push(Action::Joined { slot, rid, at });
            }
        }
    }
}
