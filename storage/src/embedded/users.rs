//! Who may log in with a password: users as clients, admins at the admin page.

use std::fmt;

use sled::Tree;

use crate::embedded::codec::{Reader, Writer, text};
use crate::embedded::trees::Trees;
use crate::error::StoreError;

/// Which list somebody is in. Nobody is in one for being in the other.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Users,
    Admins,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Admins => "admins",
        }
    }

    fn tree(self, trees: &Trees) -> &Tree {
        match self {
            Self::Users => &trees.users,
            Self::Admins => &trees.admins,
        }
    }
}

/// One who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name that is typed, and the user's id.
    pub name: String,
    /// The password's argon2id hash in PHC form. `Debug` does not print it.
    pub password_hash: String,
    /// When it was made, unix milliseconds.
    pub created_ms: u64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password_hash", &"***")
            .field("created_ms", &self.created_ms)
            .finish()
    }
}

pub(crate) fn put(trees: &Trees, list: List, user: &User) -> Result<(), StoreError> {
    trees.insert(list.tree(trees), user.name.as_bytes(), encode(user))
}

pub(crate) fn one(trees: &Trees, list: List, name: &str) -> Result<Option<User>, StoreError> {
    let row = trees.row(list.tree(trees), name.as_bytes())?;
    row.map(|row| decode(list, name.as_bytes(), &row))
        .transpose()
}

pub(crate) fn delete(trees: &Trees, list: List, name: &str) -> Result<bool, StoreError> {
    trees.remove(list.tree(trees), name.as_bytes())
}

pub(crate) fn all(trees: &Trees, list: List) -> Result<Vec<User>, StoreError> {
    trees
        .rows(list.tree(trees).iter())
        .map(|row| row.and_then(|(k, v)| decode(list, &k, &v)))
        .collect()
}

fn encode(user: &User) -> Vec<u8> {
    Writer::new()
        .u64(user.created_ms)
        .rest(user.password_hash.as_bytes())
}

fn decode(list: List, key: &[u8], row: &[u8]) -> Result<User, StoreError> {
    let tree = list.name();
    let mut reader = Reader::new(tree, row)?;
    Ok(User {
        name: text(tree, key)?,
        created_ms: reader.u64()?,
        password_hash: text(tree, reader.rest())?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_user_comes_back(name: String, password_hash: String, created_ms: u64) {
            let user = User { name, password_hash, created_ms };
            assert_eq!(decode(List::Users, user.name.as_bytes(), &encode(&user)).unwrap(), user);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = decode(List::Admins, &bytes, &bytes);
        }
    }
}
