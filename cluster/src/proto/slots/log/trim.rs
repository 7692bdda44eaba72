//! What is dropped: by age, by number and by bytes, as each room's limits say.
//!
//! Trimming raises the mark of the rooms that lost entries, not the slot's `from`: a client that is
//! idle in a quiet room keeps a valid position however busy the slot's other rooms are. An entry
//! that is trimmed leaves its id behind for as long as ids are known.

use std::sync::Arc;

use super::super::{Body, Entry, Room};
use super::{Log, Write};

/// How much is kept of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an id is known, milliseconds.
    pub known_ms: u64,
    /// Rooms of one slot whose trimming is remembered one by one.
    pub marks: usize,
    /// Bytes of memory for the entries of all slots of a node. The oldest go first.
    pub memory: u64,
}

/// What an entry takes beside its payload, with its places in the indexes.
const ENTRY: u64 = 256;

impl Log {
    /// Trims what must not be kept. Only what is committed may go. If nothing must, this costs next
    /// to nothing.
    pub(in super::super) fn trim(
        &mut self,
        limits: &Limits,
        wall_ms: u64,
        upto: u64,
        writes: &mut Vec<Write>,
    ) {
        for room in std::mem::take(&mut self.full) {
            let excess = self.rooms.get(&room).and_then(|held| held.excess(self));
            let Some(excess) = excess else {
                continue;
            };
            self.trim_room(&room, excess.min(upto), writes);
            if excess > upto {
                self.full.insert(room);
            }
        }
        let end = self.entries.len();
        while let Some(seq) = self.over(wall_ms, upto) {
            self.age(seq, writes);
        }
        if self.entries.len() < end {
            writes.push(Write::End(self.end));
        }
        self.collapse(limits, writes);
    }

    /// The memory that the entries take.
    pub(in super::super) fn cost(&self) -> u64 {
        self.bytes + ENTRY * self.entries.len() as u64
    }

    /// The oldest entry that is committed, and when it was taken.
    pub(in super::super) fn first_to_go(&self, upto: u64) -> Option<(u64, u64)> {
        let seqs = self.ages.oldest().map(|(_, seq)| seq);
        let taken = |seq| Some((self.entries.get(&seq)?.at_ms, seq));
        seqs.filter(|seq| *seq <= upto).filter_map(taken).min()
    }

    /// Ages the oldest entries, some at a time, until so much less memory is taken.
    pub(in super::super) fn shed(&mut self, upto: u64, excess: u64, writes: &mut Vec<Write>) {
        const SOME: usize = 16;
        let cost = self.cost();
        for _ in 0..SOME {
            if cost - self.cost() >= excess {
                break;
            }
            let Some((_, seq)) = self.first_to_go(upto) else {
                break;
            };
            self.age(seq, writes);
        }
        self.marks_changed = true;
        writes.push(Write::End(self.end));
    }

    /// An entry whose time is over.
    fn over(&self, wall_ms: u64, upto: u64) -> Option<u64> {
        let is_over = |(span_ms, seq): &(u64, u64)| {
            let at_ms = self.entries.get(seq).map_or(0, |entry| entry.at_ms);
            *seq <= upto && wall_ms.saturating_sub(at_ms) > *span_ms
        };
        self.ages.oldest().find(is_over).map(|(_, seq)| seq)
    }

    /// It cannot be read any more; or, if that is so already, it is forgotten.
    fn age(&mut self, seq: u64, writes: &mut Vec<Write>) {
        let room = self.entries.get(&seq).and_then(|entry| match &entry.body {
            Body::Event { room, payload, .. } if payload.is_some() => Some(room.clone()),
            _ => None,
        });
        if let Some(room) = room.filter(|room| self.mark(room) < seq) {
            self.trim_room(&room, seq, writes);
        } else {
            self.unindex(seq);
            writes.push(Write::Remove(seq));
        }
    }

    /// Takes a room's entries up to a number out of what can be read. Their ids stay known.
    pub(super) fn trim_room(&mut self, room: &Room, upto: u64, writes: &mut Vec<Write>) {
        if self.trimmed.get(room).copied().unwrap_or(0) >= upto {
            return;
        }
        self.trimmed.insert(room.clone(), upto);
        writes.push(Write::Mark(room.clone(), upto));
        self.marks_changed = true;
        let Some(held) = self.rooms.get(room) else {
            return;
        };
        let count = held.seqs.partition_point(|seq| *seq <= upto);
        let gone: Vec<u64> = held.seqs.range(..count).copied().collect();
        for seq in gone {
            if let Some(entry) = self.unindex(seq) {
                let entry = Arc::new(stub(&entry));
                writes.push(Write::Put(Arc::clone(&entry)));
                self.index(entry);
            }
        }
    }

    /// Positions below an epoch that is forgotten cannot be asked for; nor need marks be kept
    /// below. If there are too many marks, the lowest become part of `from`.
    fn collapse(&mut self, limits: &Limits, writes: &mut Vec<Write>) {
        let state = (self.chain.lowest(), self.from);
        if !std::mem::take(&mut self.marks_changed) && self.collapsed == state {
            return;
        }
        let mut from = self
            .from
            .max(self.chain.lowest().saturating_sub(1).min(self.end));
        if self.trimmed.len() > limits.marks {
            let mut marks: Vec<u64> = self.trimmed.values().copied().collect();
            marks.sort_unstable();
            from = from.max(marks[marks.len() - limits.marks - 1]);
        }
        if from > self.from {
            self.from = from;
            self.island = self.island.filter(|(low, _)| *low > from);
            writes.push(Write::From(from));
        }
        // `from` may fall to the low end of the island, which has holes of its own.
        let from = self.island.map_or(from, |(low, _)| low);
        let low = self.trimmed.iter().filter(|(_, mark)| **mark <= from);
        let low: Vec<Room> = low.map(|(room, _)| room.clone()).collect();
        for room in low {
            self.trimmed.remove(&room);
            writes.push(Write::Mark(room, 0));
        }
        self.collapsed = (self.chain.lowest(), self.from);
    }
}

pub(super) fn stub(entry: &Entry) -> Entry {
    let mut stub = entry.clone();
    if let Body::Event { payload, .. } = &mut stub.body {
        *payload = None;
    }
    stub
}
