//! Keys of the private HTTP API, stored hashed.

use std::fmt;

use crate::embedded::codec::{Reader, Writer, damaged, text};
use crate::embedded::trees::Trees;
use crate::error::StoreError;

const TREE: &str = "keys";

/// More scopes than this in one key are damage; it bounds what a broken row can make us read.
const MAX_SCOPES: usize = 64;

/// A key of the private HTTP API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names the key in lists and in `key revoke`; not secret.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// The secret's argon2id hash in PHC form. `Debug` does not print it.
    pub hash: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made, unix milliseconds.
    pub created_ms: u64,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("hash", &"***")
            .field("scopes", &self.scopes)
            .field("created_ms", &self.created_ms)
            .finish()
    }
}

impl ApiKey {
    /// Whether the key has as many scopes as a row can hold.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.scopes.len() > MAX_SCOPES {
            let (what, len) = ("list of scopes", self.scopes.len());
            return Err(StoreError::TooLong {
                what,
                len,
                max: MAX_SCOPES,
            });
        }
        Ok(())
    }
}

pub(crate) fn put(trees: &Trees, key: &ApiKey) -> Result<(), StoreError> {
    trees.insert(&trees.keys, key.id.as_bytes(), encode(key))
}

pub(crate) fn one(trees: &Trees, id: &str) -> Result<Option<ApiKey>, StoreError> {
    let row = trees.row(&trees.keys, id.as_bytes())?;
    row.map(|row| decode(id.as_bytes(), &row)).transpose()
}

pub(crate) fn delete(trees: &Trees, id: &str) -> Result<bool, StoreError> {
    trees.remove(&trees.keys, id.as_bytes())
}

pub(crate) fn all(trees: &Trees) -> Result<Vec<ApiKey>, StoreError> {
    trees
        .rows(trees.keys.iter())
        .map(|row| row.and_then(|(k, v)| decode(&k, &v)))
        .collect()
}

fn encode(key: &ApiKey) -> Vec<u8> {
    let head = Writer::new()
        .u64(key.created_ms)
        .text(&key.name)
        .text(&key.hash);
    let counted = head.u64(key.scopes.len() as u64);
    key.scopes
        .iter()
        .fold(counted, |writer, scope| writer.text(scope))
        .done()
}

fn decode(id: &[u8], row: &[u8]) -> Result<ApiKey, StoreError> {
    let mut reader = Reader::new(TREE, row)?;
    let (created_ms, name, hash) = (reader.u64()?, reader.text()?, reader.text()?);
    let count = reader.u64()?;
    if count > MAX_SCOPES as u64 {
        return Err(damaged(TREE, format!("it names {count} scopes")));
    }
    let scopes = (0..count)
        .map(|_| reader.text())
        .collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(ApiKey {
        id: text(TREE, id)?,
        name,
        hash,
        scopes,
        created_ms,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_key_comes_back(
            id: String, name: String, hash: String,
            scopes in vec(any::<String>(), 0..8), created_ms: u64,
        ) {
            let key = ApiKey { id, name, hash, scopes, created_ms };
            assert_eq!(decode(key.id.as_bytes(), &encode(&key)).unwrap(), key);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, &bytes);
        }
    }
}
