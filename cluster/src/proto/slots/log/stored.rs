//! What of a log is on the disk, and how it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Chain, Entry, Kept, Pid, Room};
use super::Log;

/// A change of what is stored of a slot's log. Those of one action are stored as one piece, and
/// actions in their order: after a kill a prefix of them is found, and all that were flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Store an entry under its number, in place of one that is there.
    Put(Arc<Entry>),
    /// Remove an entry.
    Remove(u64),
    /// Remove all entries above a number; the log ends there.
    Truncate(u64),
    /// The log's epochs.
    Chain(Chain),
    /// Complete above this.
    From(u64),
    /// The log ends here, whether or not there is an entry.
    End(u64),
    /// A room is trimmed up to here; 0 removes the mark.
    Mark(Room, u64),
    /// A connection's record, or none.
    Record(Pid, Option<Kept>),
    /// All records go.
    ClearRecords,
    /// Whether the newest part may be missing.
    Suspect(bool),
}

/// A slot's log as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// See [`Write::Chain`].
    pub chain: Chain,
    /// By number.
    pub entries: BTreeMap<u64, Arc<Entry>>,
    /// See [`Write::From`].
    pub from: u64,
    /// See [`Write::End`]; entries and marks above it count as well.
    pub end: u64,
    /// By room.
    pub marks: BTreeMap<Room, u64>,
    /// By connection.
    pub records: BTreeMap<Pid, Kept>,
    /// See [`Write::Suspect`].
    pub suspect: bool,
}

impl Stored {
    /// Makes a change: what a store does, for those that keep this in memory.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put(entry) => {
                self.end = self.end.max(entry.position.seq);
                self.entries.insert(entry.position.seq, Arc::clone(entry));
            }
            Write::Remove(seq) => drop(self.entries.remove(seq)),
            Write::Truncate(end) => {
                self.entries.split_off(&(end + 1));
                self.end = *end;
            }
            Write::Chain(chain) => self.chain = chain.clone(),
            Write::From(from) => self.from = *from,
            Write::End(end) => self.end = *end,
            Write::Mark(room, 0) => drop(self.marks.remove(room)),
            Write::Mark(room, mark) => drop(self.marks.insert(room.clone(), *mark)),
            Write::Record(pid, Some(kept)) => drop(self.records.insert(pid.clone(), kept.clone())),
            Write::Record(pid, None) => drop(self.records.remove(pid)),
            Write::ClearRecords => self.records.clear(),
            Write::Suspect(suspect) => self.suspect = *suspect,
        }
    }
}

impl Log {
    /// The log as it was stored.
    pub(in super::super) fn load(stored: Stored) -> Self {
        let mut log = Self {
            chain: stored.chain,
            from: stored.from,
            end: stored.end.max(stored.from),
            trimmed: stored.marks,
            records: stored.records,
            ..Self::default()
        };
        for (seq, entry) in stored.entries {
            log.end = log.end.max(seq);
            log.index(entry);
        }
        log
    }
}
