//! The entries of recoverable rooms, by slot and sequence number, and what goes with them.

use sled::IVec;

use crate::embedded::codec::{Reader, Writer, damaged};
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;

const TREE: &str = "log";
const STATE: &str = "log_state";

/// Changes to the log that are kept all together or not at all.
#[derive(Debug, Clone, Default)]
pub struct LogBatch {
    /// Entries to store: slot, sequence number, bytes.
    pub put: Vec<(u8, u64, Vec<u8>)>,
    /// Entries to remove: slot, sequence number. One that is in `put` too is removed.
    pub delete: Vec<(u8, u64)>,
    /// Keys to set, or with `None` to remove.
    pub state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the answer waits until all this survives the death of the process.
    pub durable: bool,
}

/// Everything the log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogDump {
    /// Slot, sequence number, bytes; ordered by the first two.
    pub entries: Vec<(u8, u64, Vec<u8>)>,
    /// Ordered by key.
    pub state: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn commit(trees: &Trees, batch: &LogBatch) -> Result<(), StoreError> {
    let mut change = Change::new();
    for (slot, seq, entry) in &batch.put {
        change.put(&trees.log, &entry_key(*slot, *seq)[..], encode(entry));
    }
    for (slot, seq) in &batch.delete {
        change.remove(&trees.log, &entry_key(*slot, *seq)[..]);
    }
    for (key, value) in &batch.state {
        match value {
            Some(value) => {
                change.put(&trees.log_state, key.as_slice(), encode(value));
            }
            None => change.remove(&trees.log_state, key.as_slice()),
        }
    }
    change.apply(trees)
}

pub(crate) fn load(trees: &Trees) -> Result<LogDump, StoreError> {
    let entries = trees.rows(trees.log.iter()).map(|row| row.and_then(entry));
    let entries = entries.collect::<Result<_, _>>()?;
    let state = trees
        .rows(trees.log_state.iter())
        .map(|row| row.and_then(state));
    Ok(LogDump {
        entries,
        state: state.collect::<Result<_, _>>()?,
    })
}

fn entry((key, value): (IVec, IVec)) -> Result<(u8, u64, Vec<u8>), StoreError> {
    let (slot, seq) = parse_entry_key(&key)?;
    Ok((slot, seq, Reader::new(TREE, &value)?.rest().to_vec()))
}

fn state((key, value): (IVec, IVec)) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    Ok((key.to_vec(), Reader::new(STATE, &value)?.rest().to_vec()))
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    Writer::new().rest(bytes)
}

fn entry_key(slot: u8, seq: u64) -> [u8; 9] {
    let mut key = [slot; 9];
    key[1..].copy_from_slice(&seq.to_be_bytes());
    key
}

fn parse_entry_key(key: &[u8]) -> Result<(u8, u64), StoreError> {
    match key.split_first_chunk::<9>() {
        Some((&[slot, ref seq @ ..], [])) => Ok((slot, u64::from_be_bytes(*seq))),
        _ => Err(damaged(TREE, "its key is not one of ours".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back_and_sort(a: (u8, u64), b: (u8, u64)) {
            let (first, second) = (entry_key(a.0, a.1), entry_key(b.0, b.1));
            assert_eq!(parse_entry_key(&first).unwrap(), a);
            assert_eq!(first.cmp(&second), a.cmp(&b));
        }

        #[test]
        fn an_entry_and_a_state_come_back(slot: u8, seq: u64, bytes: Vec<u8>) {
            let stored = encode(&bytes);
            let row = (entry_key(slot, seq)[..].into(), stored.as_slice().into());
            assert_eq!(entry(row).unwrap(), (slot, seq, bytes.clone()));
            let row = (bytes.as_slice().into(), stored.as_slice().into());
            assert_eq!(state(row).unwrap(), (bytes.clone(), bytes));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = parse_entry_key(&bytes);
            let row: (IVec, IVec) = (bytes.as_slice().into(), bytes.as_slice().into());
            let _ = (entry(row.clone()), state(row));
        }
    }
}
