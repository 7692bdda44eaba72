//! What was last read of sessions that an application keeps in MongoDB, by their documents' `_id`s.

use std::fmt;

use crate::embedded::codec::{Reader, Writer, text};
use crate::embedded::expiry::{self, Envelope, Kind};
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;
use crate::store::Keyed;

const TREE: &str = "shared_sessions";

/// The longest that a session is known without being read again: as long as connect-mongo lets one
/// live that says nothing of its end.
const KEPT_MS: u64 = 14 * 24 * 60 * 60 * 1000;

/// One login, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSession {
    /// The `_id` of its document. A secret, as the session id is; `Debug` prints neither.
    pub document: String,
    /// What the client presents.
    pub id: String,
    /// Whose login it is.
    pub user: String,
    /// From when on it is no longer valid, unix milliseconds.
    pub expires_ms: u64,
    /// When it was read, unix milliseconds.
    pub read_ms: u64,
    /// Tells one content of the document from another.
    pub content: u64,
}

impl fmt::Debug for SharedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSession")
            .field("user", &self.user)
            .field("expires_ms", &self.expires_ms)
            .field("read_ms", &self.read_ms)
            .finish_non_exhaustive()
    }
}

impl Keyed for SharedSession {
    fn key(&self) -> &str {
        &self.document
    }
}

pub(crate) fn put(trees: &Trees, session: &SharedSession) -> Result<(), StoreError> {
    let key = session.document.as_bytes();
    let old = trees.row(&trees.shared_sessions, key)?;
    let due_ms = session
        .expires_ms
        .min(session.read_ms.saturating_add(KEPT_MS));
    let body = encode(session);
    let mut change = Change::new();
    let row = (due_ms, &*body);
    expiry::put(&mut change, trees, Kind::Shared, key, old.as_deref(), row);
    change.apply(trees)
}

pub(crate) fn one(trees: &Trees, document: &str) -> Result<Option<SharedSession>, StoreError> {
    let row = trees.row(&trees.shared_sessions, document.as_bytes())?;
    row.map(|row| decode(document.as_bytes(), &row)).transpose()
}

pub(crate) fn delete(trees: &Trees, document: &str) -> Result<(), StoreError> {
    let key = document.as_bytes();
    let Some(row) = trees.row(&trees.shared_sessions, key)? else {
        return Ok(());
    };
    let mut change = Change::new();
    expiry::remove(&mut change, trees, Kind::Shared, key, &row);
    change.apply(trees)
}

fn encode(session: &SharedSession) -> Vec<u8> {
    Writer::new()
        .u64(session.expires_ms)
        .u64(session.read_ms)
        .u64(session.content)
        .text(&session.id)
        .rest(session.user.as_bytes())
}

fn decode(key: &[u8], row: &[u8]) -> Result<SharedSession, StoreError> {
    let mut reader = Reader::new(TREE, Envelope::decode(TREE, row)?.body)?;
    Ok(SharedSession {
        document: text(TREE, key)?,
        expires_ms: reader.u64()?,
        read_ms: reader.u64()?,
        content: reader.u64()?,
        id: reader.text()?,
        user: text(TREE, reader.rest())?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, &bytes);
        }
    }

    #[test]
    fn debug_hides_what_a_client_presents() {
        let session = SharedSession {
            document: "hunter2".into(),
            id: "hunter2".into(),
            user: "u".into(),
            expires_ms: 1,
            read_ms: 2,
            content: 3,
        };
        assert!(!format!("{session:?}").contains("hunter2"));
    }
}
