//! PURE: the logs of all slots, in memory, and what must be written to make them last.
//!
//! An entry is first *assigned* a number, then written, then *committed*. Only committed entries
//! are in the indexes, so nothing else can be read or fed. At most one batch is being written:
//! `append`*, [`Log::take_batch`], then [`Log::commit`] or [`Log::rollback`].
//!
//! **A failed write** leaves a hole. Whether its rows are on the disk is unknown, so its numbers are
//! never given again and the next batch removes its rows before anything after them can be seen. If
//! the process dies first and they turn out to be stored, they become the end of the branch:
//! nothing had been fed after them, and an emit repeated with the same id finds its entry.
//!
//! **Trimming** raises the mark of the rooms that lost entries, never the slot's `from`: a position
//! is valid as long as nothing after it is gone from *its* room. A client that is idle for hours
//! in a quiet room still holds a valid one, however busy the slot's other rooms are. Only when there
//! are too many marks does the oldest become part of `from`; this can refuse what could have been
//! proved, and never the reverse.

mod append;
mod bytes;
mod chain;
mod entry;
mod open;
mod trimmed;
mod unwritten;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use append::{Append, MAX_EVENT, MAX_NAME, TooLong};
pub use bytes::RowError;
pub use chain::MAX_EPOCHS;
pub use entry::{Entry, RoomKey};
pub use open::{Opened, Opening};
pub use unwritten::{Batch, Dump};

use super::slot::{Offset, Position};
use chain::Chain;
use trimmed::{Mark, Trimmed};
use unwritten::Unwritten;

/// How much is kept. Whatever is beyond goes, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an entry can be replayed, milliseconds: the recovery window, and as much more as it
    /// can take to notice that a client is gone.
    pub keep_ms: u64,
    /// How long an id is known, milliseconds. Outlives trimming by size.
    pub known_ms: u64,
    /// Entries of one room.
    pub entries_per_room: usize,
    /// Bytes of all entries.
    pub memory: usize,
    /// Rooms whose trimming is remembered one by one.
    pub marks: usize,
    /// Ids that are known at a time; beyond it the oldest are forgotten before `known_ms`.
    pub ids: usize,
}

impl Limits {
    /// How long a repeated emit gets its first answer.
    pub const KNOWN_MS: u64 = 120_000;
    /// Some ten megabytes of marks.
    pub const MARKS: usize = 65_536;
    /// Some hundred megabytes of ids, if the entries themselves are trimmed by size.
    pub const IDS: usize = 1_000_000;

    /// The limits of a node. `lag_ms` is how long it can take to notice that a client is gone: its
    /// window begins only then, but it has missed what was sent since.
    pub fn new(window_ms: u64, lag_ms: u64, entries_per_room: usize, memory: usize) -> Self {
        Self {
            keep_ms: window_ms + lag_ms,
            known_ms: Self::KNOWN_MS,
            entries_per_room,
            memory,
            marks: Self::MARKS,
            ids: Self::IDS,
        }
    }
}

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The entry's place. It holds once the batch is committed.
    pub offset: Offset,
    /// The id was known: this is the place of the first append, and nothing was added.
    pub repeated: bool,
}

/// Why a position proves nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its epoch is not of this branch, or is long past, or was never at this number.
    #[error("the position is not on this branch of the log")]
    OtherBranch,
    /// Entries after it are gone.
    #[error("entries after the position have been trimmed")]
    Trimmed,
}

/// What the log holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Entries that can be replayed.
    pub entries: usize,
    /// Bytes that they take.
    pub memory: usize,
    /// Ids that are known.
    pub ids: usize,
    /// Rooms whose trimming is remembered.
    pub marks: usize,
}

/// When an id was used, and for which entry.
#[derive(Clone, Copy, Debug)]
struct Known {
    position: Position,
    at_ms: u64,
}

/// An entry's place in the order of age; what is left of it when it is trimmed by size.
#[derive(Debug)]
struct Dated {
    at_ms: u64,
    seq: u64,
    room: RoomKey,
    id: Arc<str>,
}

/// The logs of all slots.
#[derive(Debug)]
pub struct Log {
    /// How much is kept.
    limits: Limits,
    /// Epochs and ends, by slot.
    slots: Vec<Chain>,
    /// What can be replayed, rising; rooms without entries are absent.
    rooms: HashMap<RoomKey, VecDeque<Arc<Entry>>>,
    /// The turn of the newest entry.
    turn: u64,
    /// Up to where rooms are trimmed.
    trimmed: Trimmed,
    /// Ids per room, of assigned entries too.
    ids: HashMap<(RoomKey, Arc<str>), Known>,
    /// Every row on the disk, in the order of their commit.
    dated: VecDeque<Dated>,
    /// How many at the head of `dated` have been trimmed for want of memory already.
    squeezed: usize,
    /// How many entries `rooms` has.
    entries: usize,
    /// What those entries cost.
    memory: usize,
    /// Assigned, in order, not committed.
    pending: Vec<Arc<Entry>>,
    /// To be written with the next batch.
    unwritten: Unwritten,
    /// Being written now, apart from `pending`.
    in_flight: Unwritten,
}

impl Log {
    /// Gives the event the next number of its slot, or finds the place that its id has.
    pub fn append(&mut self, now_ms: u64, append: Append) -> Appended {
        let slot = append.room.slot();
        let key = (append.room.clone(), Arc::clone(&append.id));
        if let Some(known) = self.ids.get(&key)
            && now_ms.saturating_sub(known.at_ms) <= self.limits.known_ms
        {
            let offset = Offset {
                slot,
                position: known.position,
            };
            return Appended {
                offset,
                repeated: true,
            };
        }
        let chain = &mut self.slots[usize::from(slot)];
        chain.end += 1;
        let position = Position {
            eid: chain.eid(),
            seq: chain.end,
        };
        self.ids.insert(
            key,
            Known {
                position,
                at_ms: now_ms,
            },
        );
        self.turn = now_ms.saturating_mul(1000).max(self.turn + 1);
        let entry = append.at(position, now_ms, self.turn);
        self.pending.push(Arc::new(entry));
        Appended {
            offset: Offset { slot, position },
            repeated: false,
        }
    }

    /// What is to be written now, if anything: all that was appended, and some of what can wait.
    /// `commit` or `rollback` must follow, with no append in between.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.pending.is_empty() && self.unwritten.is_empty() {
            return None;
        }
        self.in_flight = self.unwritten.split_off_batch();
        let mut batch = self.in_flight.to_batch();
        batch.durable = !self.pending.is_empty();
        for entry in &self.pending {
            batch
                .put
                .push((entry.room.slot(), entry.position.seq, entry.encode()));
        }
        Some(batch)
    }

    /// The batch is on the disk: its entries can be read, and are returned in order to be fed.
    pub fn commit(&mut self) -> Vec<Arc<Entry>> {
        self.in_flight = Unwritten::default();
        let committed = std::mem::take(&mut self.pending);
        for entry in &committed {
            self.slots[usize::from(entry.room.slot())].commit = entry.position.seq;
            self.index(Arc::clone(entry));
        }
        self.squeeze();
        committed
    }

    /// The batch failed, and may or may not be on the disk: its numbers stay a hole.
    pub fn rollback(&mut self) {
        let failed = std::mem::take(&mut self.in_flight);
        self.unwritten.take_back(failed);
        for entry in std::mem::take(&mut self.pending) {
            self.unwritten
                .withdraw(entry.room.slot(), entry.position.seq);
            self.forget_id(&entry.room, &entry.id, entry.position.seq);
        }
    }

    /// Up to where the slot can be read.
    pub fn head(&self, slot: u8) -> Position {
        self.slots[usize::from(slot)].head()
    }

    /// Whether the entry at this offset, which `append` gave out, can be read.
    pub fn is_committed(&self, offset: Offset) -> bool {
        offset.position.seq <= self.head(offset.slot).seq
    }

    /// Whether everything after the position in this room can be read.
    pub fn check(&self, room: &RoomKey, position: Position) -> Result<(), Invalid> {
        let chain = &self.slots[usize::from(room.slot())];
        if !chain.holds(position) {
            return Err(Invalid::OtherBranch);
        }
        let complete = position.seq >= chain.from && position.seq >= self.trimmed.seq(room);
        if complete {
            Ok(())
        } else {
            Err(Invalid::Trimmed)
        }
    }

    /// The room's committed entries after a number, rising. Check the position first.
    pub fn read(&self, room: &RoomKey, after: u64) -> impl Iterator<Item = &Arc<Entry>> {
        self.rooms.get(room).into_iter().flat_map(move |entries| {
            let start = entries.partition_point(|entry| entry.position.seq <= after);
            entries.range(start..)
        })
    }

    /// Drops what is too old. Called now and then; a clock that was set only makes it early or late.
    pub fn trim(&mut self, now_ms: u64) {
        let keep_ms = self.limits.keep_ms.max(self.limits.known_ms);
        while let Some(oldest) = self.dated.front()
            && now_ms.saturating_sub(oldest.at_ms) > keep_ms
        {
            self.drop_oldest();
        }
    }

    /// The slot table as it is: to be written through before the log is used.
    pub fn table(&self) -> Vec<u8> {
        chain::encode(&self.slots)
    }

    /// What it holds.
    pub fn size(&self) -> Size {
        Size {
            entries: self.entries,
            memory: self.memory,
            ids: self.ids.len(),
            marks: self.trimmed.len(),
        }
    }

    /// Makes an entry readable, at the cost of its room's oldest if there are too many.
    fn index(&mut self, entry: Arc<Entry>) {
        self.dated.push_back(Dated {
            at_ms: entry.at_ms,
            seq: entry.position.seq,
            room: entry.room.clone(),
            id: Arc::clone(&entry.id),
        });
        self.entries += 1;
        self.memory += entry.cost();
        let room = entry.room.clone();
        let entries = self.rooms.entry(room.clone()).or_default();
        entries.push_back(entry);
        let excess = entries.len().saturating_sub(self.limits.entries_per_room);
        if let Some(last) = excess.checked_sub(1) {
            let upto = entries[last].position.seq;
            self.trim_room(&room, upto);
        }
    }

    /// Keeps within the bounds of memory, ids and marks, the oldest first.
    fn squeeze(&mut self) {
        while self.memory > self.limits.memory {
            let Some(oldest) = self.dated.get(self.squeezed) else {
                break;
            };
            let (room, seq) = (oldest.room.clone(), oldest.seq);
            self.squeezed += 1;
            self.trim_room(&room, seq);
        }
        while self.dated.len() > self.limits.ids {
            self.drop_oldest();
        }
        self.collapse_marks();
    }

    /// Takes a room's entries up to a number out of what can be replayed. Their ids stay known.
    fn trim_room(&mut self, room: &RoomKey, upto: u64) {
        let Some(entries) = self.rooms.get_mut(room) else {
            return;
        };
        let count = entries.partition_point(|entry| entry.position.seq <= upto);
        let Some(last) = entries.get(count.wrapping_sub(1)).cloned() else {
            return;
        };
        for entry in entries.drain(..count) {
            self.entries -= 1;
            self.memory -= entry.cost();
            self.unwritten
                .put(room.slot(), entry.position.seq, entry.encode_stub());
        }
        if entries.is_empty() {
            self.rooms.remove(room);
        }
        let mark = Mark {
            seq: last.position.seq,
            at_ms: last.at_ms,
        };
        if mark.seq > self.slots[usize::from(room.slot())].from && self.trimmed.raise(room, mark) {
            self.unwritten
                .state(trimmed::mark_key(room), Some(trimmed::mark_value(mark)));
        }
    }

    /// Forgets the oldest row altogether.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.dated.pop_front() else {
            return;
        };
        self.squeezed = self.squeezed.saturating_sub(1);
        self.trim_room(&oldest.room, oldest.seq);
        self.forget_id(&oldest.room, &oldest.id, oldest.seq);
        self.unwritten.delete(oldest.room.slot(), oldest.seq);
        self.collapse_marks();
    }

    /// An id that has been used again since belongs to a later entry, and stays.
    fn forget_id(&mut self, room: &RoomKey, id: &Arc<str>, seq: u64) {
        let key = (room.clone(), Arc::clone(id));
        if self
            .ids
            .get(&key)
            .is_some_and(|known| known.position.seq == seq)
        {
            self.ids.remove(&key);
        }
    }

    fn collapse_marks(&mut self) {
        while self.trimmed.len() > self.limits.marks
            && let Some((room, seq)) = self.trimmed.pop_oldest()
        {
            self.unwritten.state(trimmed::mark_key(&room), None);
            let chain = &mut self.slots[usize::from(room.slot())];
            if seq > chain.from {
                chain.from = seq;
                let (key, value) = trimmed::from_row(room.slot(), seq);
                self.unwritten.state(key, Some(value));
            }
        }
    }
}

#[cfg(test)]
mod tests;
