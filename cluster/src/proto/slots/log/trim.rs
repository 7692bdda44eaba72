//! What is dropped: by age, and by number in each room.
//!
//! Trimming raises the mark of the rooms that lost entries, not the slot's `from`: a client that is
//! idle in a quiet room keeps a valid position however busy the slot's other rooms are. An entry
//! that is trimmed by number leaves its id behind for the window.

use std::sync::Arc;

use super::super::{Body, Entry, Room};
use super::{Log, Write};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long entries can be read, milliseconds.
    pub keep_ms: u64,
    /// How long an id is known, milliseconds.
    pub known_ms: u64,
    /// Entries of one room.
    pub per_room: usize,
    /// Rooms of one slot whose trimming is remembered one by one.
    pub marks: usize,
}

impl Limits {
    fn longest_ms(&self) -> u64 {
        self.keep_ms.max(self.known_ms)
    }
}

impl Log {
    /// Trims what must not be kept. Only what is committed may go.
    pub(in super::super) fn trim(
        &mut self,
        limits: &Limits,
        wall_ms: u64,
        upto: u64,
        writes: &mut Vec<Write>,
    ) {
        let full = self
            .rooms
            .iter()
            .filter(|(_, it)| it.len() > limits.per_room);
        let mut full: Vec<_> = full
            .map(|(room, seqs)| (room.clone(), seqs[seqs.len() - limits.per_room - 1]))
            .collect();
        full.sort();
        for (room, mark) in full {
            self.trim_room(&room, mark.min(upto), writes);
        }
        while let Some((seq, entry)) = self.entries.first_key_value()
            && *seq <= upto
            && wall_ms.saturating_sub(entry.at_ms) > limits.longest_ms()
        {
            let (seq, entry) = (*seq, Arc::clone(entry));
            if let Body::Event { room, .. } = &entry.body {
                self.trim_room(room, seq, writes);
            }
            self.unindex(seq);
            writes.extend([Write::Remove(seq), Write::End(self.end)]);
        }
        self.collapse(limits, writes);
    }

    /// Takes a room's entries up to a number out of what can be read. Their ids stay known.
    pub(super) fn trim_room(&mut self, room: &Room, upto: u64, writes: &mut Vec<Write>) {
        if self.trimmed.get(room).copied().unwrap_or(0) >= upto {
            return;
        }
        self.trimmed.insert(room.clone(), upto);
        writes.push(Write::Mark(room.clone(), upto));
        let Some(seqs) = self.rooms.get_mut(room) else {
            return;
        };
        let count = seqs.partition_point(|seq| *seq <= upto);
        let gone: Vec<u64> = seqs.drain(..count).collect();
        if seqs.is_empty() {
            self.rooms.remove(room);
        }
        for seq in gone {
            if let Some(entry) = self.entries.get_mut(&seq) {
                *entry = Arc::new(stub(entry));
                writes.push(Write::Put(Arc::clone(entry)));
            }
        }
    }

    /// Positions below an epoch that is forgotten cannot be asked for; nor need marks be kept
    /// below. If there are too many marks, the lowest become part of `from`.
    fn collapse(&mut self, limits: &Limits, writes: &mut Vec<Write>) {
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
    }
}

pub(super) fn stub(entry: &Entry) -> Entry {
    let mut stub = entry.clone();
    if let Body::Event { payload, .. } = &mut stub.body {
        *payload = None;
    }
    stub
}
