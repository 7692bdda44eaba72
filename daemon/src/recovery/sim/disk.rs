//! A store that a process or a machine can lose the newest part of.

use std::collections::BTreeMap;

use super::random::Random;
use crate::recovery::log::{Batch, Dump};

#[derive(Clone, Default)]
struct Rows {
    entries: BTreeMap<(u8, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Rows {
    fn apply(&mut self, batch: Batch) {
        let puts = batch.put.into_iter();
        self.entries
            .extend(puts.map(|(slot, seq, row)| ((slot, seq), row)));
        for key in batch.delete {
            self.entries.remove(&key);
        }
        for (key, value) in batch.state {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Disk {
    /// What a power cut leaves.
    synced: Rows,
    /// Batches since, in order.
    batches: Vec<Batch>,
    /// How many of those were flushed: a killed process cannot lose them.
    flushed: usize,
    /// Written through, always.
    pub(super) table: Option<Vec<u8>>,
}

impl Disk {
    pub(super) fn write(&mut self, batch: Batch) {
        let durable = batch.durable;
        self.batches.push(batch);
        if durable {
            self.flushed = self.batches.len();
        }
    }

    /// The operating system wrote out what was flushed.
    pub(super) fn sync(&mut self) {
        for batch in self.batches.drain(..self.flushed) {
            self.synced.apply(batch);
        }
        self.flushed = 0;
    }

    pub(super) fn stop(&mut self) {
        self.flushed = self.batches.len();
        self.sync();
    }

    pub(super) fn kill(&mut self, random: &mut Random) {
        let lost = random.below(self.batches.len() - self.flushed + 1);
        self.batches.truncate(self.batches.len() - lost);
        self.stop();
    }

    pub(super) fn cut_power(&mut self, random: &mut Random) {
        let lost = random.below(self.batches.len() + 1);
        self.batches.truncate(self.batches.len() - lost);
        self.stop();
    }

    /// What a start finds.
    pub(super) fn dump(&self) -> Dump {
        assert!(self.batches.is_empty(), "a start finds a machine at rest");
        let entries = self.synced.entries.iter();
        Dump {
            entries: entries
                .map(|((slot, seq), row)| (*slot, *seq, row.clone()))
                .collect(),
            state: self.synced.state.clone().into_iter().collect(),
        }
    }
}
