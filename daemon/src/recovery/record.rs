//! PURE: what of a socket is restored besides its recoverable rooms. The cluster keeps it in the
//! socket's record without looking inside.

use serde::{Deserialize, Serialize};

/// A socket in one namespace, as it must be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The socket's public id, which a recovered socket keeps.
    pub sid: String,
    /// Whose socket it is; checked again when it comes back.
    pub user: String,
    /// The login it came with; checked again when it comes back.
    pub session: String,
    /// The namespace that it is a socket of.
    pub namespace: String,
    /// All rooms it is in: a recovery restores exactly these.
    pub rooms: Vec<String>,
}

/// Why bytes are not what is saved of a socket.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Written by a later version, or empty.
    #[error("the record has an unknown format, this version knows {VERSION}")]
    Version,
    /// Not what this version writes.
    #[error("the record is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

const VERSION: u8 = 2;

impl Saved {
    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // It has text keys and no custom serializer, and a vector takes every write.
        serde_json::to_writer(&mut bytes, self).expect("what is saved is always valid JSON");
        bytes
    }

    /// Reads kept bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SavedError> {
        match bytes.split_first() {
            Some((&VERSION, json)) => Ok(serde_json::from_slice(json)?),
            _ => Err(SavedError::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert_eq, proptest},
    };

    use super::*;

    proptest! {
        #[test]
        fn it_comes_back(texts in vec("\\PC{0,8}", 4), rooms in vec("\\PC{0,8}", 0..4)) {
            let [sid, user, session, namespace] = texts.try_into().unwrap();
            let saved = Saved { sid, user, session, namespace, rooms };
            prop_assert_eq!(Saved::decode(&saved.encode()).unwrap(), saved);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..40)) {
            assert!(Saved::decode(&bytes).is_err());
            assert!(Saved::decode(&[&[VERSION], &bytes[..]].concat()).is_err());
        }
    }
}
