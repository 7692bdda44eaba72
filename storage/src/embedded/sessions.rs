//! Logins, by id and by user.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::embedded::codec::{MAX_KEY, Reader, Writer, damaged, text};
use crate::embedded::expiry::{self, Envelope, Kind};
use crate::embedded::revocations;
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;
use crate::store::Keyed;

const TREE: &str = "sessions";

/// How long a session is kept after it expired, so that `expired` can be told from `unknown`.
pub const SESSION_KEPT_MS: u64 = 60 * 60 * 1000;

/// One login of one user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the client presents. A secret: `Debug` does not print it.
    pub id: String,
    /// Whose login it is.
    pub user: String,
    /// When it was made, unix milliseconds. Of two with the same id the later one counts.
    pub created_ms: u64,
    /// From when on it is no longer valid, unix milliseconds.
    pub expires_ms: u64,
}

impl Keyed for Session {
    fn key(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &"***")
            .field("user", &self.user)
            .field("created_ms", &self.created_ms)
            .field("expires_ms", &self.expires_ms)
            .finish()
    }
}

/// Stores a session that is made now, later than whatever ended sessions like it and than the one
/// that it takes the place of. Returns it as it is stored.
pub(crate) fn make(trees: &Trees, mut session: Session) -> Result<Session, StoreError> {
    let ended_ms = revocations::ended_until(trees, &session.id, &session.user)?;
    let before_ms = one(trees, &session.id)?.map(|before| before.created_ms);
    if let Some(last_ms) = ended_ms.max(before_ms) {
        session.created_ms = session.created_ms.max(last_ms.saturating_add(1));
    }
    put(trees, &session)?;
    Ok(session)
}

/// Stores a copy of a session that was made elsewhere, unless it was ended or a later one is here;
/// says whether it is the one that counts.
pub(crate) fn copy(trees: &Trees, session: &Session) -> Result<bool, StoreError> {
    let ended_ms = revocations::ended_until(trees, &session.id, &session.user)?;
    if ended_ms.is_some_and(|ended_ms| session.created_ms <= ended_ms) {
        return Ok(false);
    }
    let here = one(trees, &session.id)?;
    if here.as_ref() == Some(session) {
        return Ok(true);
    }
    if here.is_some_and(|here| here.created_ms >= session.created_ms) {
        return Ok(false);
    }
    put(trees, session)?;
    Ok(true)
}

pub(crate) fn put(trees: &Trees, session: &Session) -> Result<(), StoreError> {
    let key = session.id.as_bytes();
    let old = trees.row(&trees.sessions, key)?;
    let mut change = Change::new();
    if let Some(Ok(old)) = old.as_deref().map(|row| Envelope::decode(TREE, row)) {
        remove_from_user(&mut change, trees, key, old.body);
    }
    let due_ms = session.expires_ms.saturating_add(SESSION_KEPT_MS);
    let body = encode(session);
    expiry::put(
        &mut change,
        trees,
        Kind::Session,
        key,
        old.as_deref(),
        (due_ms, &body),
    );
    change.put(
        &trees.sessions_by_user,
        by_user_key(&session.user, key),
        &[][..],
    );
    change.apply(trees)
}

pub(crate) fn one(trees: &Trees, id: &str) -> Result<Option<Session>, StoreError> {
    let row = trees.row(&trees.sessions, id.as_bytes())?;
    row.map(|row| decode(id.as_bytes(), &row)).transpose()
}

pub(crate) fn delete(trees: &Trees, id: &str) -> Result<Option<Session>, StoreError> {
    let key = id.as_bytes();
    let Some(row) = trees.row(&trees.sessions, key)? else {
        return Ok(None);
    };
    let session = decode(key, &row)?;
    let mut change = Change::new();
    expiry::remove(&mut change, trees, Kind::Session, key, &row);
    change.remove(&trees.sessions_by_user, by_user_key(&session.user, key));
    change.apply(trees)?;
    Ok(Some(session))
}

pub(crate) fn of_user(trees: &Trees, user: &str) -> Result<Vec<Session>, StoreError> {
    let prefix = by_user_key(user, &[]);
    let mut found = Vec::new();
    for row in trees.rows(trees.sessions_by_user.scan_prefix(&prefix)) {
        let (key, _) = row?;
        let id = text("sessions_by_user", &key[prefix.len()..])?;
        found.extend(one(trees, &id)?);
    }
    Ok(found)
}

pub(crate) fn delete_of_user(trees: &Trees, user: &str) -> Result<Vec<Session>, StoreError> {
    let sessions = of_user(trees, user)?;
    for session in &sessions {
        delete(trees, &session.id)?;
    }
    Ok(sessions)
}

pub(crate) fn page(
    trees: &Trees,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Session>, StoreError> {
    use std::ops::Bound::{Excluded, Unbounded};
    let from = after.map_or(Unbounded, |id| Excluded(id.as_bytes()));
    let rows = trees.sessions.range::<&[u8], _>((from, Unbounded));
    let page = trees.rows(rows).take(limit);
    page.map(|row| row.and_then(|(key, value)| decode(&key, &value)))
        .collect()
}

/// Adds to `change` the removal of a session's row in the index by user. `body` is the stored
/// session; if it cannot be read there is nothing to find the row by, and it stays.
pub(crate) fn remove_from_user<'a>(
    change: &mut Change<'a>,
    trees: &'a Trees,
    key: &[u8],
    body: &[u8],
) {
    if let Ok((user, ..)) = decode_body(body) {
        change.remove(&trees.sessions_by_user, by_user_key(&user, key));
    }
}

/// The user's length comes first, so that no user's rows begin like another's.
fn by_user_key(user: &str, id: &[u8]) -> Vec<u8> {
    debug_assert!(user.len() <= MAX_KEY);
    let mut key = Vec::with_capacity(8 + user.len() + id.len());
    key.extend_from_slice(&(user.len() as u64).to_be_bytes());
    key.extend_from_slice(user.as_bytes());
    key.extend_from_slice(id);
    key
}

fn encode(session: &Session) -> Vec<u8> {
    Writer::new()
        .u64(session.created_ms)
        .u64(session.expires_ms)
        .rest(session.user.as_bytes())
}

fn decode(key: &[u8], row: &[u8]) -> Result<Session, StoreError> {
    let (user, created_ms, expires_ms) = decode_body(Envelope::decode(TREE, row)?.body)?;
    Ok(Session {
        id: text(TREE, key)?,
        user,
        created_ms,
        expires_ms,
    })
}

fn decode_body(body: &[u8]) -> Result<(String, u64, u64), StoreError> {
    let mut reader = Reader::new(TREE, body)?;
    let (created_ms, expires_ms) = (reader.u64()?, reader.u64()?);
    let user = text(TREE, reader.rest())?;
    if user.len() > MAX_KEY {
        return Err(damaged(TREE, "its user is too long".to_owned()));
    }
    Ok((user, created_ms, expires_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_session_comes_back(user: String, created_ms: u64, expires_ms: u64) {
            let session = Session { id: "s".into(), user: user.clone(), created_ms, expires_ms };
            assert_eq!(decode_body(&encode(&session)).unwrap(), (user, created_ms, expires_ms));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = decode(&bytes, &bytes);
            let _ = decode_body(&bytes);
        }

        #[test]
        fn no_user_begins_like_another(a: String, b: String, id: Vec<u8>) {
            let other = by_user_key(&b, &id);
            assert_eq!(other.starts_with(&by_user_key(&a, &[])), a == b);
        }
    }

    #[test]
    fn debug_hides_the_id() {
        let session = Session {
            id: "hunter2".into(),
            user: "u".into(),
            created_ms: 1,
            expires_ms: 2,
        };
        assert!(!format!("{session:?}").contains("hunter2"));
    }
}
