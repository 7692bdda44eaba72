//! What is known of a connection that may come back, by its private id.

use crate::embedded::codec::{Reader, Writer};
use crate::embedded::expiry::{self, Envelope, Kind};
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;

const TREE: &str = "records";

/// A stored recovery record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Rises with every put; a put that does not rise is refused.
    pub version: u64,
    /// The caller's bytes.
    pub value: Vec<u8>,
    /// When it may be forgotten, unix milliseconds.
    pub expires_ms: u64,
}

pub(crate) fn put(trees: &Trees, pid: &str, record: &Record) -> Result<(), StoreError> {
    let key = pid.as_bytes();
    let old = trees.row(&trees.records, key)?;
    if let Some(old) = old.as_deref() {
        let stored = decode(old)?.version;
        if stored >= record.version {
            return Err(StoreError::Stale { stored });
        }
    }
    let body = encode(record.version, &record.value);
    store(trees, key, old.as_deref(), record.expires_ms, &body)
}

pub(crate) fn one(trees: &Trees, pid: &str) -> Result<Option<Record>, StoreError> {
    trees
        .row(&trees.records, pid.as_bytes())?
        .map(|row| decode(&row))
        .transpose()
}

/// Sets the end of those that are stored; the others are passed over.
pub(crate) fn touch(trees: &Trees, records: &[(String, u64)]) -> Result<(), StoreError> {
    for (pid, expires_ms) in records {
        let key = pid.as_bytes();
        if let Some(row) = trees.row(&trees.records, key)? {
            let body = Envelope::decode(TREE, &row)?.body;
            store(trees, key, Some(&row), *expires_ms, body)?;
        }
    }
    Ok(())
}

pub(crate) fn delete(trees: &Trees, pid: &str) -> Result<bool, StoreError> {
    let key = pid.as_bytes();
    let Some(row) = trees.row(&trees.records, key)? else {
        return Ok(false);
    };
    let mut change = Change::new();
    expiry::remove(&mut change, trees, Kind::Record, key, &row);
    change.apply()?;
    Ok(true)
}

fn store(
    trees: &Trees,
    key: &[u8],
    old: Option<&[u8]>,
    due_ms: u64,
    body: &[u8],
) -> Result<(), StoreError> {
    let mut change = Change::new();
    expiry::put(&mut change, trees, Kind::Record, key, old, (due_ms, body));
    change.apply()
}

fn encode(version: u64, value: &[u8]) -> Vec<u8> {
    Writer::new().u64(version).rest(value)
}

fn decode(row: &[u8]) -> Result<Record, StoreError> {
    let envelope = Envelope::decode(TREE, row)?;
    let (version, value) = decode_body(envelope.body)?;
    Ok(Record {
        version,
        value: value.to_vec(),
        expires_ms: envelope.due_ms,
    })
}

fn decode_body(body: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let mut reader = Reader::new(TREE, body)?;
    let version = reader.u64()?;
    Ok((version, reader.rest()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_back(version: u64, value: Vec<u8>) {
            assert_eq!(decode_body(&encode(version, &value)).unwrap(), (version, &value[..]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = decode(&bytes);
        }
    }
}
