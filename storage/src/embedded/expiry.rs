//! Rows that end: an envelope around the value, and an index by which the ended ones are found.
//!
//! Each such row has exactly one index row, `(time, kind, key)`, written together with it. The time
//! is never later than the row's end, but it may be earlier: extending a row rewrites only the row,
//! and the sweep moves the index row on when it comes to it. So the frequent write (a counter) costs one insert and no transaction.

use sled::Tree;

use crate::embedded::codec::{Reader, Writer, damaged};
use crate::embedded::sessions;
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;

const TREE: &str = "expiry";

/// What kind of row an index row points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Session = 1,
    Counter = 3,
    Revocation = 4,
    Shared = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let kinds = [Kind::Session, Kind::Counter, Kind::Revocation, Kind::Shared];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn tree(self) -> &'static str {
        match self {
            Kind::Session => "sessions",
            Kind::Counter => "counters",
            Kind::Revocation => "revocations",
            Kind::Shared => "shared_sessions",
        }
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions removed.
    pub sessions: usize,
    /// Counters removed.
    pub counters: usize,
    /// Revocations removed.
    pub revocations: usize,
    /// Sessions of MongoDB's removed.
    pub shared: usize,
    /// Rows that had ended but could not be read; they are left where they are.
    pub damaged: usize,
    /// The limit was reached: sweep again.
    pub more: bool,
}

/// A stored row of a kind that ends.
pub(crate) struct Envelope<'a> {
    /// When the row may be removed.
    pub(crate) due_ms: u64,
    /// The time in its index row; at most `due_ms`.
    pub(crate) indexed_ms: u64,
    /// The row's own value, with a version byte of its own.
    pub(crate) body: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(crate) fn decode(tree: &'static str, bytes: &'a [u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::new(tree, bytes)?;
        let (due_ms, indexed_ms) = (reader.u64()?, reader.u64()?);
        Ok(Self {
            due_ms,
            indexed_ms,
            body: reader.rest(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.due_ms)
            .u64(self.indexed_ms)
            .rest(self.body)
    }
}

/// The key of an index row: it sorts by time.
fn index_key(at_ms: u64, kind: Kind, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + key.len());
    bytes.extend_from_slice(&at_ms.to_be_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(key);
    bytes
}

pub(crate) fn parse_index_key(bytes: &[u8]) -> Result<(u64, Kind, &[u8]), StoreError> {
    let parsed = bytes.split_first_chunk::<8>().and_then(|(at, rest)| {
        let (kind, key) = rest.split_first()?;
        Some((u64::from_be_bytes(*at), Kind::of(*kind)?, key))
    });
    parsed.ok_or_else(|| damaged(TREE, "its key is not one of ours".to_owned()))
}

/// Adds to `change` what storing a row takes. `old` is the stored row, if there is one; one that
/// cannot be read is overwritten, and the sweep drops its index row.
pub(crate) fn put<'a>(
    change: &mut Change<'a>,
    trees: &'a Trees,
    kind: Kind,
    key: &[u8],
    old: Option<&[u8]>,
    (due_ms, body): (u64, &[u8]),
) {
    let old = old.and_then(|bytes| Envelope::decode(kind.tree(), bytes).ok());
    let indexed_ms = match &old {
        Some(old) if old.indexed_ms <= due_ms => old.indexed_ms,
        _ => due_ms,
    };
    change.put(
        trees.of(kind),
        key,
        Envelope {
            due_ms,
            indexed_ms,
            body,
        }
        .encode(),
    );
    let old_indexed_ms = old.map(|old| old.indexed_ms);
    if old_indexed_ms == Some(indexed_ms) {
        return;
    }
    if let Some(at_ms) = old_indexed_ms {
        change.remove(&trees.expiry, index_key(at_ms, kind, key));
    }
    change.put(&trees.expiry, index_key(indexed_ms, kind, key), &[][..]);
}

/// Adds to `change` what removing a row takes. `old` is the stored row.
pub(crate) fn remove<'a>(
    change: &mut Change<'a>,
    trees: &'a Trees,
    kind: Kind,
    key: &[u8],
    old: &[u8],
) {
    change.remove(trees.of(kind), key);
    if let Ok(old) = Envelope::decode(kind.tree(), old) {
        change.remove(&trees.expiry, index_key(old.indexed_ms, kind, key));
    }
}

/// Removes what ended at or before `now_ms`, looking at no more than `limit` index rows, oldest
/// first. Each row goes together with its index row.
pub(crate) fn sweep(trees: &Trees, now_ms: u64, limit: usize) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let due = match now_ms.checked_add(1) {
        Some(end) => trees.expiry.range(..end.to_be_bytes()),
        None => trees.expiry.iter(),
    };
    for (seen, row) in trees.rows(due).enumerate() {
        let (index, _) = row?;
        if seen == limit {
            swept.more = true;
            break;
        }
        sweep_one(trees, now_ms, &index, &mut swept)?;
    }
    Ok(swept)
}

fn sweep_one(
    trees: &Trees,
    now_ms: u64,
    index: &[u8],
    swept: &mut Swept,
) -> Result<(), StoreError> {
    let Ok((at_ms, kind, key)) = parse_index_key(index) else {
        swept.damaged += 1;
        return drop_index(trees, index);
    };
    let tree: &Tree = trees.of(kind);
    let Some(bytes) = trees.row(tree, key)? else {
        return drop_index(trees, index);
    };
    let Ok(row) = Envelope::decode(kind.tree(), &bytes) else {
        swept.damaged += 1;
        return drop_index(trees, index);
    };
    if row.indexed_ms != at_ms {
        return drop_index(trees, index);
    }
    let mut change = Change::new();
    change.remove(&trees.expiry, index);
    if row.due_ms > now_ms {
        let moved = Envelope {
            indexed_ms: row.due_ms,
            ..row
        };
        change.put(tree, key, moved.encode());
        change.put(&trees.expiry, index_key(row.due_ms, kind, key), &[][..]);
        return change.apply(trees);
    }
    change.remove(tree, key);
    match kind {
        Kind::Session => {
            sessions::remove_from_user(&mut change, trees, key, row.body);
            swept.sessions += 1;
        }
        Kind::Counter => swept.counters += 1,
        Kind::Revocation => swept.revocations += 1,
        Kind::Shared => swept.shared += 1,
    }
    change.apply(trees)
}

fn drop_index(trees: &Trees, index: &[u8]) -> Result<(), StoreError> {
    trees.remove(&trees.expiry, index)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn an_envelope_comes_back(due_ms: u64, indexed_ms: u64, body: Vec<u8>) {
            let bytes = Envelope { due_ms, indexed_ms, body: &body }.encode();
            let back = Envelope::decode("t", &bytes).unwrap();
            assert_eq!((back.due_ms, back.indexed_ms, back.body), (due_ms, indexed_ms, &body[..]));
        }

        #[test]
        fn an_index_key_comes_back_and_sorts_by_time(a: u64, b: u64, key: Vec<u8>) {
            let first = index_key(a, Kind::Counter, &key);
            assert_eq!(parse_index_key(&first).unwrap(), (a, Kind::Counter, &key[..]));
            let second = index_key(b, Kind::Session, &key);
            assert_eq!(a < b, first < second && a != b);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = Envelope::decode("t", &bytes);
            let _ = parse_index_key(&bytes);
        }
    }
}
