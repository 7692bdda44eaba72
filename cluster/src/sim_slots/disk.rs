//! A disk that a process or a machine can lose the newest part of.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::slots::rows::{self, Changes, Damaged, Table};
use crate::proto::slots::{Eid, NodeId, Reign, SlotNo, StoredSlot, Write};
use crate::sim::random::Random;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// What a power cut leaves of the logs.
    entries: BTreeMap<(SlotNo, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Writes since, in order.
    batches: Vec<(SlotNo, Vec<Write>)>,
    /// The number of the first of those.
    first: u64,
    /// Up to which number they were flushed: a killed process cannot lose them.
    flushed: u64,
    /// Written through.
    pub(super) promises: Vec<(Eid, Option<Reign>)>,
    /// On their way there, in order.
    pub(super) syncing: Vec<(u64, SlotNo, Eid, Option<Reign>)>,
    pub(super) roster: (BTreeSet<NodeId>, BTreeSet<NodeId>),
}

impl Disk {
    pub(super) fn new(slots: u16) -> Self {
        Self {
            entries: BTreeMap::new(),
            state: BTreeMap::new(),
            batches: Vec::new(),
            first: 0,
            flushed: 0,
            promises: vec![(Eid::default(), None); slots.into()],
            syncing: Vec::new(),
            roster: (BTreeSet::new(), BTreeSet::new()),
        }
    }

    /// Takes writes; returns up to which number a flush must reach to include them.
    pub(super) fn write(&mut self, slot: SlotNo, writes: Vec<Write>) -> u64 {
        self.batches.push((slot, writes));
        self.first + self.batches.len() as u64
    }

    pub(super) fn flush(&mut self, upto: u64) {
        self.flushed = self.flushed.max(upto);
    }

    pub(super) fn flush_all(&mut self) {
        self.flushed = self.first + self.batches.len() as u64;
    }

    /// What was on its way up to a number is written through.
    pub(super) fn sync(&mut self, upto: u64) {
        for (number, slot, promise, record) in std::mem::take(&mut self.syncing) {
            if number <= upto {
                self.promises[usize::from(slot)] = (promise, record);
            } else {
                self.syncing.push((number, slot, promise, record));
            }
        }
    }

    /// The operating system wrote out what was flushed.
    pub(super) fn settle(&mut self) {
        let flushed = (self.flushed - self.first) as usize;
        let mut changes = Changes::default();
        for (slot, writes) in self.batches.drain(..flushed) {
            changes.add(slot, &writes);
        }
        apply(&mut self.entries, changes.entries);
        apply(&mut self.state, changes.state);
        self.first = self.flushed;
    }

    pub(super) fn stop(&mut self) {
        self.flush_all();
        self.settle();
        self.sync(u64::MAX);
    }

    fn lose(&mut self, keep: u64, random: &mut Random) {
        self.batches.truncate(keep as usize);
        self.flushed = self.first + keep;
        self.settle();
        // Writes through that were under way may have come to pass.
        let keep = random.below(self.syncing.len() as u64 + 1) as usize;
        self.syncing.truncate(keep);
        self.sync(u64::MAX);
    }

    pub(super) fn kill(&mut self, random: &mut Random) {
        let flushed = self.flushed - self.first;
        let keep = flushed + random.below(self.batches.len() as u64 - flushed + 1);
        self.lose(keep, random);
    }

    pub(super) fn cut_power(&mut self, random: &mut Random) {
        let keep = random.below(self.batches.len() as u64 + 1);
        self.lose(keep, random);
    }

    /// Power is cut, and all is lost that can be.
    pub(super) fn lose_all(&mut self) {
        self.batches.clear();
        self.flushed = self.first;
        self.syncing.clear();
    }

    /// What a start finds.
    pub(super) fn stored(&self) -> Result<Vec<StoredSlot>, Damaged> {
        assert!(self.batches.is_empty(), "a start finds a machine at rest");
        let entries = self.entries.iter();
        let entries = entries.map(|((slot, seq), row)| (*slot, *seq, row.clone()));
        let state = self.state.iter();
        let state = state.map(|(key, value)| (key.clone(), value.clone()));
        let mut table = Table::default();
        for (slot, (promise, record)) in (0..).zip(&self.promises) {
            table.set(slot, *promise, record.clone());
        }
        rows::load(entries, state, Some(&table.encode()))
    }
}

fn apply<K: Ord>(rows: &mut BTreeMap<K, Vec<u8>>, changes: BTreeMap<K, Option<Vec<u8>>>) {
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}
