//! PURE: a room's name in the log: its namespace, NUL, its own name. The slot is that of the name
//! alone.

use bytes::{BufMut, Bytes, BytesMut};
use tidings_cluster::proto::slots::Room;

/// Names a room of a namespace.
pub(crate) fn key(namespace: &str, room: &str) -> Room {
    let mut key = BytesMut::with_capacity(namespace.len() + 1 + room.len());
    key.put_slice(namespace.as_bytes());
    key.put_u8(0);
    key.put_slice(room.as_bytes());
    key.freeze()
}

/// Reads what [`key`] wrote: namespace and room.
pub(crate) fn parse(key: &Bytes) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back(namespace in "/[a-z]{0,9}", room in "\\PC{0,9}") {
            let key = key(&namespace, &room);
            prop_assert_eq!(parse(&key), Some((&*namespace, &*room)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes.into());
        }
    }
}
