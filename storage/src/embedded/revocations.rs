//! What ended sessions before their time, kept until no copy of them could count any more: a node
//! that had a copy and was cut off must not bring it back.

use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};

use crate::embedded::codec::{Reader, Writer, damaged, text};
use crate::embedded::expiry::{self, Envelope, Kind};
use crate::embedded::sessions::{self, Session};
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;

const TREE: &str = "revocations";
/// The first byte of a key, which tells what the rest is.
const OF_SESSION: u8 = b's';
const OF_USER: u8 = b'u';

/// The end of one session, or of all sessions of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which session; none: all of the user. A secret: `Debug` does not print it.
    pub session: Option<String>,
    /// Whose sessions.
    pub user: String,
    /// Sessions made until then are ended, unix milliseconds; later ones are not.
    pub revoked_ms: u64,
    /// How long it is kept, unix milliseconds: longer than any session that it ended.
    pub expires_ms: u64,
}

/// Some revocations, in no order that means anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationPage {
    /// Those that were found.
    pub found: Vec<Revocation>,
    /// Where to go on; none at the end.
    pub next: Option<Vec<u8>>,
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("session", &self.session.as_ref().map(|_| "***"))
            .field("user", &self.user)
            .field("revoked_ms", &self.revoked_ms)
            .field("expires_ms", &self.expires_ms)
            .finish()
    }
}

/// Ends the sessions that a revocation is about and keeps it, with `heard_ms` if it says anything
/// new. Returns the sessions that it ended.
pub(crate) fn put(
    trees: &Trees,
    revocation: &Revocation,
    heard_ms: u64,
) -> Result<Vec<Session>, StoreError> {
    let mut ended = match &revocation.session {
        Some(id) => sessions::one(trees, id)?.into_iter().collect(),
        None => sessions::of_user(trees, &revocation.user)?,
    };
    ended.retain(|session| session.created_ms <= revocation.revoked_ms);
    let last_end_ms = ended.iter().map(|session| session.expires_ms).max();
    let key = match &revocation.session {
        Some(id) => key(OF_SESSION, id),
        None => key(OF_USER, &revocation.user),
    };
    let old = trees.row(&trees.revocations, &key)?;
    let known = old.as_deref().and_then(|row| decode(&key, row).ok());
    let mut kept = revocation.clone();
    kept.expires_ms = kept.expires_ms.max(last_end_ms.unwrap_or_default());
    if let Some((known, _)) = &known {
        kept.revoked_ms = kept.revoked_ms.max(known.revoked_ms);
        kept.expires_ms = kept.expires_ms.max(known.expires_ms);
    }
    if known.is_none_or(|(known, _)| known != kept) {
        let mut change = Change::new();
        let body = encode(&kept, heard_ms);
        let row = (kept.expires_ms, &body[..]);
        expiry::put(
            &mut change,
            trees,
            Kind::Revocation,
            &key,
            old.as_deref(),
            row,
        );
        change.apply(trees)?;
    }
    // The revocation first: what fails in between is done by doing it again.
    for session in &ended {
        sessions::delete(trees, &session.id)?;
    }
    Ok(ended)
}

/// Up to when sessions with this id and user are ended, if they are.
pub(crate) fn ended_until(trees: &Trees, id: &str, user: &str) -> Result<Option<u64>, StoreError> {
    let mut until_ms = None;
    for key in [key(OF_SESSION, id), key(OF_USER, user)] {
        if let Some(row) = trees.row(&trees.revocations, &key)? {
            until_ms = until_ms.max(Some(decode(&key, &row)?.0.revoked_ms));
        }
    }
    Ok(until_ms)
}

/// Those of the next `limit` rows after a key that were heard of at `since_ms` or later.
pub(crate) fn page(
    trees: &Trees,
    after: Option<&[u8]>,
    since_ms: u64,
    limit: usize,
) -> Result<RevocationPage, StoreError> {
    let from = after.map_or(Unbounded, Excluded);
    let rows = trees.revocations.range::<&[u8], _>((from, Unbounded));
    let mut page = RevocationPage::default();
    for (seen, row) in trees.rows(rows).enumerate() {
        let (key, row) = row?;
        if seen + 1 == limit {
            page.next = Some(key.to_vec());
        }
        let (revocation, heard_ms) = decode(&key, &row)?;
        if heard_ms >= since_ms {
            page.found.push(revocation);
        }
        if page.next.is_some() {
            break;
        }
    }
    Ok(page)
}

fn key(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

fn encode(revocation: &Revocation, heard_ms: u64) -> Vec<u8> {
    Writer::new()
        .u64(revocation.revoked_ms)
        .u64(heard_ms)
        .rest(revocation.user.as_bytes())
}

fn decode(key: &[u8], row: &[u8]) -> Result<(Revocation, u64), StoreError> {
    let envelope = Envelope::decode(TREE, row)?;
    let mut reader = Reader::new(TREE, envelope.body)?;
    let (revoked_ms, heard_ms) = (reader.u64()?, reader.u64()?);
    let user = text(TREE, reader.rest())?;
    let session = match key.split_first() {
        Some((&OF_SESSION, id)) => Some(text(TREE, id)?),
        Some((&OF_USER, _)) => None,
        _ => return Err(damaged(TREE, "its key is not one of ours".to_owned())),
    };
    let revocation = Revocation {
        session,
        user,
        revoked_ms,
        expires_ms: envelope.due_ms,
    };
    Ok((revocation, heard_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            key in proptest::collection::vec(any::<u8>(), 0..8),
            row in proptest::collection::vec(any::<u8>(), 0..48),
        ) {
            let _ = decode(&key, &row);
        }
    }

    #[test]
    fn debug_hides_the_id() {
        let revocation = Revocation {
            session: Some("hunter2".into()),
            user: "u".into(),
            revoked_ms: 1,
            expires_ms: 2,
        };
        assert!(!format!("{revocation:?}").contains("hunter2"));
    }
}
