//! What memory knows and the disk does not yet.

use std::collections::{BTreeMap, BTreeSet};

/// Rows to write in one piece: all of them or none, in the order of the batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Entries to store, by slot and number; one that exists is replaced.
    pub put: Vec<(u8, u64, Vec<u8>)>,
    /// Entries to remove; not all of them need exist. None is in `put` too.
    pub delete: Vec<(u8, u64)>,
    /// Rows of state to store, or to remove.
    pub state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether it must be flushed before it counts as written.
    pub durable: bool,
}

/// The rows read back at a start.
#[derive(Debug, Default)]
pub struct Dump {
    /// All entries, rising by slot and number.
    pub entries: Vec<(u8, u64, Vec<u8>)>,
    /// All rows of state, rising by key.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How many rows that can wait go into one batch, so that none holds up the store for long. More
/// than a batch of appends brings about.
const ROWS_PER_BATCH: usize = 4096;

/// Changes that wait for the next batches, the newest per row. They ride along with appends, so that
/// trimming costs no flush of its own; until they are written a start finds more than it needs.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Rows of failed batches. They go before or with the next entries, as those could be read
    /// together with them otherwise.
    failed: BTreeSet<(u8, u64)>,
    /// What becomes of entries that are trimmed. Always after the state that says so.
    rows: BTreeMap<(u8, u64), Option<Vec<u8>>>,
    /// Written in the order of its keys: a slot's `from` before the marks that it stands for go.
    state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Unwritten {
    pub(super) fn put(&mut self, slot: u8, seq: u64, row: Vec<u8>) {
        self.rows.insert((slot, seq), Some(row));
    }

    pub(super) fn delete(&mut self, slot: u8, seq: u64) {
        self.rows.insert((slot, seq), None);
    }

    /// Removes what a failed batch may have stored.
    pub(super) fn withdraw(&mut self, slot: u8, seq: u64) {
        self.failed.insert((slot, seq));
    }

    pub(super) fn state(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.state.insert(key, value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.rows.is_empty() && self.state.is_empty()
    }

    /// Takes out what the next batch is to write.
    pub(super) fn split_off_batch(&mut self) -> Self {
        let failed = std::mem::take(&mut self.failed);
        let state = pop_up_to(&mut self.state, ROWS_PER_BATCH);
        let rows = pop_up_to(&mut self.rows, ROWS_PER_BATCH - state.len());
        Self {
            failed,
            rows,
            state,
        }
    }

    pub(super) fn to_batch(&self) -> Batch {
        let mut batch = Batch {
            delete: self.failed.iter().copied().collect(),
            ..Batch::default()
        };
        for ((slot, seq), row) in &self.rows {
            match row {
                Some(row) => batch.put.push((*slot, *seq, row.clone())),
                None => batch.delete.push((*slot, *seq)),
            }
        }
        batch.state = self
            .state
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        batch
    }

    /// Takes back what a failed batch was to write; what is newer here stays.
    pub(super) fn take_back(&mut self, failed: Self) {
        self.failed.extend(failed.failed);
        for (key, row) in failed.rows {
            self.rows.entry(key).or_insert(row);
        }
        for (key, value) in failed.state {
            self.state.entry(key).or_insert(value);
        }
    }
}

fn pop_up_to<K: Ord, V>(map: &mut BTreeMap<K, V>, limit: usize) -> BTreeMap<K, V> {
    let count = limit.min(map.len());
    std::iter::from_fn(|| map.pop_first()).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_what_must_go_and_then_as_much_as_it_may() {
        let mut unwritten = Unwritten::default();
        for seq in 0..ROWS_PER_BATCH as u64 {
            unwritten.delete(0, seq);
            unwritten.withdraw(1, seq);
        }
        unwritten.state(b"t".to_vec(), None);
        let batch = unwritten.split_off_batch().to_batch();
        assert_eq!(batch.state.len(), 1);
        assert_eq!(batch.delete.len(), 2 * ROWS_PER_BATCH - 1);
        let rest = unwritten.split_off_batch().to_batch();
        assert_eq!(rest.delete, [(0, ROWS_PER_BATCH as u64 - 1)]);
        assert!(unwritten.is_empty());
    }

    #[test]
    fn the_newest_change_of_a_row_wins_over_one_taken_back() {
        let mut unwritten = Unwritten::default();
        unwritten.put(0, 1, vec![1]);
        unwritten.put(0, 2, vec![2]);
        let failed = unwritten.split_off_batch();
        unwritten.delete(0, 1);
        unwritten.take_back(failed);
        let batch = unwritten.to_batch();
        assert_eq!(
            (batch.put, batch.delete),
            (vec![(0, 2, vec![2])], vec![(0, 1)])
        );
    }
}
