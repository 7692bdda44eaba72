//! Opening the log: one node's way to own all slots.
//!
//! This is the OPEN of a cluster of one. Every slot begins a new epoch on its branch if the branch
//! is known whole, else on a new branch on which no earlier position is valid (a CUT). It is not
//! known whole after a power cut, when the last flushed entries may be missing though they were
//! acknowledged and fed; nor when its rows cannot be read, or do not fit its epochs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::chain::{self, Chain, MAX_SEQ};
use super::entry::{Entry, RoomKey, Row};
use super::trimmed::{self, Mark, State, Trimmed};
use super::unwritten::{Dump, Unwritten};
use super::{Dated, Known, Limits, Log};
use crate::recovery::slot::{Eid, SLOTS};

/// What a start adds to what was stored.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// 64 fresh random bits for the new epoch's name.
    pub random: u64,
    /// The store may lack its newest rows: the machine started anew without the store having been
    /// closed, or it was restored from a backup.
    pub suspect: bool,
}

/// What became of what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The epoch that begins, of the same name in every slot.
    pub eid: Eid,
    /// Slots of whose past nothing can be proved: clients that come back are told `false`.
    pub cut: usize,
    /// Rows that could not be read or did not fit.
    pub damaged: usize,
}

impl Log {
    /// Opens the log on what is stored. Before anything else is done with it, its `table` must be
    /// written through; then its first batch.
    pub fn open(
        limits: Limits,
        dump: &Dump,
        table: Option<&[u8]>,
        opening: Opening,
    ) -> (Self, Opened) {
        let mut stored = Stored::read(dump, table);
        let eid = Eid {
            counter: stored.counter.saturating_add(1),
            random: opening.random,
        };
        let mut cut = 0;
        for slot in 0..SLOTS {
            if stored.damaged[slot] || (opening.suspect && stored.chains[slot].is_used()) {
                stored.cut(slot, eid);
                cut += 1;
            } else {
                stored.chains[slot].open(eid);
            }
        }
        let damaged = stored.damaged_rows;
        (stored.build(limits), Opened { eid, cut, damaged })
    }
}

/// What was found, slot by slot.
struct Stored {
    chains: Vec<Chain>,
    rows: Vec<Vec<Row>>,
    marks: Vec<Vec<(RoomKey, Mark)>>,
    /// The slots of which something cannot be trusted.
    damaged: Vec<bool>,
    /// How many rows were at fault.
    damaged_rows: usize,
    /// The highest counter of any epoch seen.
    counter: u64,
    /// Removals of what is of no use.
    unwritten: Unwritten,
}

impl Stored {
    fn read(dump: &Dump, table: Option<&[u8]>) -> Self {
        let is_new = table.is_none() && dump.entries.is_empty() && dump.state.is_empty();
        let chains = table.and_then(|table| chain::decode(table).ok());
        let mut stored = Self {
            damaged: vec![!is_new && chains.is_none(); SLOTS],
            chains: chains.unwrap_or_else(|| vec![Chain::default(); SLOTS]),
            rows: (0..SLOTS).map(|_| Vec::new()).collect(),
            marks: (0..SLOTS).map(|_| Vec::new()).collect(),
            damaged_rows: 0,
            counter: 0,
            unwritten: Unwritten::default(),
        };
        let epochs = stored.chains.iter().flat_map(|chain| &chain.epochs);
        stored.counter = epochs.map(|epoch| epoch.eid.counter).max().unwrap_or(0);
        for (key, value) in &dump.state {
            stored.read_state(key, value);
        }
        for (slot, seq, row) in &dump.entries {
            stored.read_row(*slot, *seq, row);
        }
        stored
    }

    fn read_state(&mut self, key: &[u8], value: &[u8]) {
        match State::decode(key, value) {
            Ok(State::From(slot, from)) if from <= MAX_SEQ => {
                let chain = &mut self.chains[usize::from(slot)];
                chain.from = chain.from.max(from);
                chain.end = chain.end.max(from);
            }
            Ok(State::Mark(room, mark)) if mark.seq <= MAX_SEQ => {
                let chain = &mut self.chains[usize::from(room.slot())];
                if mark.seq > chain.from {
                    chain.end = chain.end.max(mark.seq);
                    self.marks[usize::from(room.slot())].push((room, mark));
                } else {
                    self.unwritten.state(key.to_vec(), None);
                }
            }
            // Whose row it was cannot be told.
            _ => {
                self.damaged.fill(true);
                self.damaged_rows += 1;
                self.unwritten.state(key.to_vec(), None);
            }
        }
    }

    fn read_row(&mut self, slot: u8, seq: u64, row: &[u8]) {
        let at = usize::from(slot);
        let chain = &mut self.chains[at];
        if seq <= chain.floor {
            self.unwritten.delete(slot, seq);
            return;
        }
        if seq <= MAX_SEQ {
            chain.end = chain.end.max(seq);
        }
        match Row::decode(slot, seq, row) {
            Ok(row) if seq <= MAX_SEQ && chain.fits(row.entry().position) => {
                self.rows[at].push(row);
                return;
            }
            Ok(row) => self.counter = self.counter.max(row.entry().position.eid.counter),
            Err(_) => {}
        }
        self.damaged[at] = true;
        self.damaged_rows += 1;
        self.unwritten.delete(slot, seq);
    }

    /// Begins a new branch; ids of the old one must not be answered from it either.
    fn cut(&mut self, slot: usize, eid: Eid) {
        self.chains[slot].cut(eid);
        for row in std::mem::take(&mut self.rows[slot]) {
            self.unwritten.delete(slot as u8, row.entry().position.seq);
        }
        for (room, _) in std::mem::take(&mut self.marks[slot]) {
            self.unwritten.state(trimmed::mark_key(&room), None);
        }
    }

    fn build(self, limits: Limits) -> Log {
        let mut log = Log {
            limits,
            slots: self.chains,
            rooms: HashMap::new(),
            turn: 0,
            trimmed: Trimmed::default(),
            ids: HashMap::new(),
            dated: VecDeque::new(),
            squeezed: 0,
            entries: 0,
            memory: 0,
            pending: Vec::new(),
            unwritten: self.unwritten,
            in_flight: Unwritten::default(),
        };
        for (room, mark) in self.marks.into_iter().flatten() {
            log.trimmed.raise(&room, mark);
        }
        for row in by_age(self.rows) {
            log.restore(row);
        }
        log.squeeze();
        log
    }
}

/// Merges the slots by age, and leaves the order within each as it is: where the clock was set
/// back, an entry counts as old as the one before it.
fn by_age(slots: Vec<Vec<Row>>) -> impl Iterator<Item = Row> {
    let mut rows = Vec::new();
    for slot in slots {
        let mut newest = 0;
        for row in slot {
            newest = row.entry().at_ms.max(newest);
            rows.push((newest, row));
        }
    }
    rows.sort_by_key(|(at_ms, _)| *at_ms);
    rows.into_iter().map(|(_, row)| row)
}

impl Log {
    fn restore(&mut self, row: Row) {
        let Entry {
            position, at_ms, ..
        } = *row.entry();
        self.turn = self.turn.max(row.entry().turn);
        let key = (row.entry().room.clone(), Arc::clone(&row.entry().id));
        let known = self
            .ids
            .entry(key.clone())
            .or_insert(Known { position, at_ms });
        if known.position < position {
            *known = Known { position, at_ms };
        }
        match row {
            Row::Whole(entry) => self.index(Arc::new(entry)),
            Row::Stub(entry) => {
                let (room, id) = key;
                self.dated.push_back(Dated {
                    at_ms,
                    seq: entry.position.seq,
                    room,
                    id,
                });
            }
        }
    }
}
