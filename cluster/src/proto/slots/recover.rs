//! From a connection's record and the offset that its client presents to what it has missed.
//!
//! The connection first joins all its rooms here and holds what arrives live. Once a slot's rooms
//! are fed, its owner is asked for what is after each room's position and up to where the feed is:
//! up to there the feed has delivered everything, and what comes after is held.
//!
//! Whoever answers may own the slot no more. But it shows that all positions that the client was
//! given are on one branch with the feed's, and before it. So the feed's next step decides whether
//! all of it is on the branch that goes on: if the feed cannot go on from where it is, the rooms are
//! cut, and this connection with them. Nothing would prove a position that is ahead of the feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::rules::{Rule, Rules};
use super::{Answer, Entry, Position, Record, Request, Room, SlotNo};

/// For each slot, up to where everything has been enqueued on a socket.
pub type Cursor = BTreeMap<SlotNo, Position>;

/// What a client returned.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// No offset.
    Nothing,
    /// An offset, and what it says.
    Offset(&'a Bytes, &'a Cursor),
    /// Something that is no offset of ours.
    Unreadable(&'a Bytes),
}

/// A client's way back.
#[derive(Debug)]
pub struct Recovery {
    /// By slot: where each room is to be read from.
    rooms: BTreeMap<SlotNo, BTreeMap<Room, Position>>,
    /// By slot: all positions that the client was given, of which the later counts. They must be on
    /// one branch: the order of two positions says nothing if it forked in between.
    known: BTreeMap<SlotNo, BTreeSet<Position>>,
    /// Rooms that are not fed yet.
    joining: BTreeSet<(SlotNo, Room)>,
    /// Slots that have not been read to the end, and up to where each was asked to be.
    unread: BTreeMap<SlotNo, Position>,
    /// What was missed.
    entries: Vec<Arc<Entry>>,
    /// Up to where each room was read, or had been seen.
    seen: BTreeMap<Room, Position>,
    /// Where each was taken up.
    taken: BTreeMap<Room, (SlotNo, Position)>,
    /// What the client's offset says of these slots.
    before: Cursor,
    /// And what it says after what was missed.
    after: Cursor,
    rules: Rules,
}

/// What is next on a client's way back.
#[derive(Debug)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Read a slot, up to where the feed is.
    Read(SlotNo),
    /// Send CONNECT with the same pid, then the missed entries, then what was held and is new.
    Recovered {
        /// In the order of each slot.
        entries: Vec<Arc<Entry>>,
        /// What the socket's cursor says before the first of them. The cursor must go on from
        /// here: an offset that left out a slot would repeat its events.
        before: Cursor,
        /// What it says after the last.
        after: Cursor,
        /// By room: live entries up to here are among them, or were seen before.
        seen: BTreeMap<Room, Position>,
        /// What the record's rooms are from now on: where it was taken up, named so that it can be
        /// proved for long.
        rooms: BTreeMap<Room, (SlotNo, Position)>,
    },
    /// It cannot be proved what was missed: a new pid.
    Refused,
    /// Nobody answered, or the feed is not where the client has been: it is to come again.
    Failed,
}

impl Recovery {
    /// Begins with a record that was taken; none if the offset proves nothing.
    pub fn new(record: &Record, presented: Presented<'_>) -> Option<Self> {
        Self::with_rules(record, presented, Rules::default())
    }

    pub(crate) fn with_rules(
        record: &Record,
        presented: Presented<'_>,
        rules: Rules,
    ) -> Option<Self> {
        let stale = record
            .stale
            .as_ref()
            .filter(|_| rules.keep(Rule::IgnoreStale));
        let cursor = match presented {
            Presented::Offset(text, cursor) if stale != Some(text) => Some(cursor),
            Presented::Unreadable(text) if stale != Some(text) => return None,
            _ => None,
        };
        let mut rooms = BTreeMap::<_, BTreeMap<_, _>>::new();
        // Slots without a room stay as well: another side of a partition may know of rooms there.
        let mut before = cursor.cloned().unwrap_or_default();
        if !rules.keep(Rule::KeepCursor) {
            before.clear();
        }
        let mut known = BTreeMap::<_, BTreeSet<_>>::new();
        for (room, (slot, start)) in &record.rooms {
            let sent = cursor.and_then(|cursor| cursor.get(slot));
            let known = known.entry(*slot).or_default();
            known.insert(*start);
            known.extend(sent.copied());
            // Along a branch numbers rise, so the later of two positions needs no log.
            let position = match sent {
                Some(sent) if rules.keep(Rule::LaterOfBoth) => *sent.max(start),
                Some(sent) => *sent,
                None => *start,
            };
            rooms
                .entry(*slot)
                .or_default()
                .insert(room.clone(), position);
        }
        if !rules.keep(Rule::BothOnBranch) {
            known.clear();
        }
        let all = rooms.iter();
        let taken = all.clone().flat_map(|(slot, of)| {
            let places = of.iter();
            places.map(|(room, after)| (room.clone(), (*slot, *after)))
        });
        let taken = taken.collect();
        let joining = all.flat_map(|(slot, of)| of.keys().map(|room| (*slot, room.clone())));
        Some(Self {
            joining: joining.collect(),
            known,
            unread: rooms
                .keys()
                .map(|slot| (*slot, Position::default()))
                .collect(),
            rooms,
            entries: Vec::new(),
            seen: BTreeMap::new(),
            taken,
            after: before.clone(),
            before,
            rules,
        })
    }

    /// The rooms that are to be joined first.
    pub fn rooms(&self) -> Vec<(SlotNo, Room)> {
        self.joining.iter().cloned().collect()
    }

    /// A room is fed.
    pub fn joined(&mut self, slot: SlotNo, room: &Room) -> Step {
        self.joining.remove(&(slot, room.clone()));
        if self.joining.iter().any(|(other, _)| *other == slot) {
            return Step::Wait;
        }
        Step::Read(slot)
    }

    /// What to ask the owner of a slot whose rooms are all fed, up to `upto`.
    pub fn request(&mut self, slot: SlotNo, upto: Position) -> Request {
        self.unread.insert(slot, upto);
        let rooms = self.rooms.get(&slot).into_iter().flatten();
        Request::Read {
            rooms: rooms.map(|(room, after)| (room.clone(), *after)).collect(),
            known: self
                .known
                .get(&slot)
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            upto: Some(upto),
        }
    }

    /// What the owner answered. If it is not all, the slot is to be read again, up to where its feed
    /// is then.
    pub fn read(&mut self, slot: SlotNo, answer: Answer) -> Step {
        match answer {
            Answer::Entries { entries, upto } => {
                self.entries.extend(entries);
                if self.unread.get(&slot).is_some_and(|asked| upto < *asked) {
                    let rooms = self.rooms.get_mut(&slot);
                    for after in rooms.into_iter().flat_map(BTreeMap::values_mut) {
                        *after = upto.max(*after);
                    }
                    return Step::Read(slot);
                }
                let known = self.known.get(&slot).and_then(BTreeSet::last);
                let is_ahead = known.is_some_and(|known| known.seq > upto.seq);
                if is_ahead && self.rules.keep(Rule::NotAheadOfFeed) {
                    return Step::Failed;
                }
                for room in self.rooms.get(&slot).into_iter().flat_map(BTreeMap::keys) {
                    self.seen.insert(room.clone(), upto);
                    let missed = self.entries.iter().any(|entry| entry.is_of(room));
                    if let Some((_, place)) = self.taken.get_mut(room) {
                        // All of these are on this branch, or it would not have been read.
                        let seq = if missed { place.seq } else { upto.seq };
                        *place = Position { seq, ..upto };
                    }
                }
                self.after.insert(slot, upto);
                self.unread.remove(&slot);
                self.end()
            }
            Answer::Invalid => Step::Refused,
            _ => Step::Failed,
        }
    }

    /// The end, if all is read.
    pub fn end(&mut self) -> Step {
        if !self.unread.is_empty() {
            return Step::Wait;
        }
        Step::Recovered {
            entries: std::mem::take(&mut self.entries),
            before: std::mem::take(&mut self.before),
            after: std::mem::take(&mut self.after),
            seen: std::mem::take(&mut self.seen),
            rooms: std::mem::take(&mut self.taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::slots::Eid;

    fn at(counter: u64, seq: u64) -> Position {
        let eid = Eid { counter, random: 7 };
        Position { eid, seq }
    }

    /// What comes of a client that was at 88, in a room that it joined at 80, where a feed is.
    fn step(feed: Position, rules: Rules) -> Step {
        let room = Bytes::from_static(b"trades:u1");
        let record = Record {
            rooms: BTreeMap::from([(room.clone(), (3, at(6, 80)))]),
            ..Record::default()
        };
        let cursor = Cursor::from([(3, at(7, 88))]);
        let text = Bytes::from_static(b"offset");
        let presented = Presented::Offset(&text, &cursor);
        let mut way = Recovery::with_rules(&record, presented, rules).unwrap();
        assert!(matches!(way.joined(3, &room), Step::Read(3)));
        way.request(3, feed);
        let (entries, upto) = (Vec::new(), feed);
        way.read(3, Answer::Entries { entries, upto })
    }

    #[test]
    fn a_client_is_not_ahead_of_its_feed() {
        let all = Rules::default();
        assert!(matches!(step(at(6, 86), all), Step::Failed));
        for feed in [at(7, 88), at(8, 88), at(8, 95)] {
            assert!(
                matches!(step(feed, all), Step::Recovered { .. }),
                "{feed:?}"
            );
        }
        // No world is known that misses it since whoever joins is told where the owner is.
        let without = Rules::without(Rule::NotAheadOfFeed);
        assert!(matches!(step(at(6, 86), without), Step::Recovered { .. }));
    }
}
