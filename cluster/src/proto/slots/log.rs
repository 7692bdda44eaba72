//! One slot's log: entries, up to where it is complete, what has been trimmed, known ids, records.
//!
//! All of it is what the *end* of the log says, committed or not; whoever answers from it waits for
//! the commit. Changes are made in memory and noted as [`Write`]s, which the edge stores in order
//! and as one piece.

mod adopt;
mod basis;
mod held;
mod stored;
mod trim;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use basis::{After, Basis, Rest};
pub use held::{LimitsOf, RoomLimits};
pub use stored::{Stored, Write};
pub use trim::Limits;

use held::{Ages, Held};

use super::{Body, Chain, Eid, Entry, Kept, Pid, Position, Room};

/// One slot's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Its epochs.
    pub chain: Chain,
    /// Rising; trimmed ones may be missing.
    pub(super) entries: BTreeMap<u64, Arc<Entry>>,
    /// Complete above this number, but for what `trimmed` says.
    pub from: u64,
    /// The highest number.
    pub end: u64,
    /// Another stretch that is complete, above the first number and up to the second: below `from`.
    pub(super) island: Option<(u64, u64)>,
    /// Up to where rooms are trimmed.
    pub(super) trimmed: BTreeMap<Room, u64>,
    /// What can be read of each room.
    rooms: HashMap<Room, Held>,
    /// Rooms of which too much is held.
    full: BTreeSet<Room>,
    /// How long each entry is kept.
    ages: Ages,
    /// Entries that can be read, and the bytes of their payloads.
    whole: usize,
    bytes: u64,
    limits_of: LimitsOf,
    /// How long entries that cannot be read are kept.
    known_ms: u64,
    /// Whether and from where marks were collapsed last.
    marks_changed: bool,
    collapsed: (u64, u64),
    /// The latest entry with an id.
    ids: HashMap<(Room, bytes::Bytes), u64>,
    /// Records of connections.
    pub(super) records: BTreeMap<Pid, Kept>,
}

/// Why a position proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its epoch is not of this branch, or is long past, or was never at this number.
    #[error("the position is not on this branch of the log")]
    OtherBranch,
    /// Entries after it are gone.
    #[error("entries after the position have been trimmed")]
    Trimmed,
    /// Entries after it are still being copied to this node.
    #[error("entries after the position are not here yet")]
    NotYet,
}

impl Log {
    /// Adds an entry at the end.
    pub(super) fn append(&mut self, eid: Eid, at_ms: u64, body: Body) -> Arc<Entry> {
        let position = Position {
            eid,
            seq: self.end + 1,
        };
        let entry = Arc::new(Entry {
            position,
            at_ms,
            body,
        });
        self.push(Arc::clone(&entry));
        entry
    }

    /// Takes the next entry of the log.
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.end = entry.position.seq;
        if let Body::Record { pid, record } = &entry.body {
            let seq = entry.position.seq;
            match record.clone() {
                Some(record) => drop(self.records.insert(pid.clone(), Kept { record, seq })),
                None => drop(self.records.remove(pid)),
            }
        }
        self.index(entry);
    }

    /// Where the entry with an id is, if it is known.
    pub(super) fn known(&self, room: &Room, id: &bytes::Bytes) -> Option<&Arc<Entry>> {
        let seq = self.ids.get(&(room.clone(), id.clone()))?;
        self.entries.get(seq)
    }

    /// Whether everything after a position in a room can be read, if the log is read up to
    /// `commit`.
    pub(super) fn check(
        &self,
        room: &Room,
        position: Position,
        commit: u64,
    ) -> Result<(), Invalid> {
        if !self.chain.holds(position, commit) {
            return Err(Invalid::OtherBranch);
        }
        if position.seq < self.mark(room) {
            return Err(Invalid::Trimmed);
        }
        if position.seq < self.from {
            return Err(Invalid::NotYet);
        }
        Ok(())
    }

    /// Above which number a room is complete.
    pub(super) fn oldest(&self, room: &Room) -> u64 {
        self.from.max(self.mark(room))
    }

    /// Up to where a room is trimmed.
    fn mark(&self, room: &Room) -> u64 {
        self.trimmed.get(room).copied().unwrap_or(0)
    }

    /// A room's entries above `after` and up to `upto`.
    pub(super) fn read(
        &self,
        room: &Room,
        after: u64,
        upto: u64,
    ) -> impl Iterator<Item = &Arc<Entry>> {
        let seqs = self.rooms.get(room).into_iter().flat_map(move |held| {
            let start = held.seqs.partition_point(|seq| *seq <= after);
            held.seqs.range(start..)
        });
        let wanted = seqs.take_while(move |seq| **seq <= upto);
        wanted.filter_map(|seq| self.entries.get(seq))
    }

    /// All entries in `(after, upto]`.
    pub(super) fn range(
        &self,
        after: u64,
        upto: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        let upto = upto.max(after);
        self.entries.range(after + 1..upto + 1).map(|(_, it)| it)
    }
}

#[cfg(test)]
mod tests;
