//! What of a log is on the disk, and how it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Chain, Entry, Kept, Pid, Room};
use super::{LimitsOf, Log};

/// A change of what is stored of a slot's log. Those of one action are stored as one piece, and
/// actions in their order: after a kill a prefix of them is found, and all that were flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Store an entry under its number, in place of one that is there.
    Put(Arc<Entry>),
    /// Remove an entry.
    Remove(u64),
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
    /// See [`Write::End`]; entries above it count as well.
    pub end: u64,
    /// By room.
    pub marks: BTreeMap<Room, u64>,
    /// By connection.
    pub records: BTreeMap<Pid, Kept>,
    /// See [`Write::Suspect`].
    pub suspect: bool,
}

impl Log {
    /// The log as it was stored.
    pub(in super::super) fn load(stored: Stored, known_ms: u64, limits_of: LimitsOf) -> Self {
        let mut log = Self {
            known_ms,
            limits_of,
            marks_changed: true,
            chain: stored.chain,
            from: stored.from,
            end: stored.end.max(stored.from),
            trimmed: stored.marks,
            records: stored.records,
            ..Self::default()
        };
        for (seq, entry) in stored.entries {
            log.end = log.end.max(seq);
            let entry = log.admit(entry);
            log.index(entry);
        }
        log
    }
}
