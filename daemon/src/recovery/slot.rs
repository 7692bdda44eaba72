//! Which slot a room belongs to, and how a place in a slot's log is named.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many hash classes rooms fall into; a slot number is one byte.
pub const SLOTS: usize = 256;

/// An epoch's name: one reign over a slot. Later epochs of one branch have higher names.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Eid {
    /// Above every counter that its opener had seen.
    pub counter: u64,
    /// Tells apart two epochs that were opened without knowledge of each other.
    pub random: u64,
}

/// A place in the log of one slot: everything up to and including `seq` is behind it.
///
/// The derived order (epoch, then number) is the order of the log: along one branch both rise.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The epoch that `seq` is counted in; a number alone could mean another branch.
    pub eid: Eid,
    /// Number within the slot, over all of its rooms.
    pub seq: u64,
}

/// Where one entry is: what the emitter of a recoverable event is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset {
    /// The slot of the entry's room.
    pub slot: u8,
    /// The entry's place in that slot.
    pub position: Position,
}

/// The part of a room's name that decides its slot: what follows the first colon, else all of it.
///
/// `portfolio:u1` and `trades:u1` share a tag, and so one slot and one entry of a cursor.
pub fn tag(room: &str) -> &str {
    room.split_once(':').map_or(room, |(_, tag)| tag)
}

/// The slot of a room: the first byte of SHA-256 over its tag in UTF-8.
///
/// Stored cursors and other nodes rely on it: it may never change.
pub fn slot(room: &str) -> u8 {
    Sha256::digest(tag(room))[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_follows_the_first_colon() {
        assert_eq!(tag("user:u1"), "u1");
        assert_eq!(tag("a:b:c"), "b:c");
        assert_eq!(tag("lobby"), "lobby");
        assert_eq!(tag("user:"), "");
        assert_eq!(tag(""), "");
    }

    /// Computed with coreutils: `printf %s TAG | sha256sum | cut -c1-2`.
    #[test]
    fn slots_are_the_same_on_every_node_and_version() {
        assert_eq!(slot("user:u1"), 0xbb);
        assert_eq!(slot("lobby"), 0x4b);
        assert_eq!(slot("user:"), 0xe3);
        assert_eq!(slot("a:b:c"), 0x33);
        assert_eq!(slot("quote:AAPL"), 0x1e);
        assert_eq!(slot("raum:zürich"), 0x20);
    }

    #[test]
    fn rooms_of_one_user_share_a_slot() {
        assert_eq!(slot("portfolio:u1"), slot("trades:u1"));
        assert_eq!(slot("user:u1"), slot("u1"));
    }

    #[test]
    fn positions_are_ordered_by_epoch_first() {
        let at = |counter, random, seq| Position {
            eid: Eid { counter, random },
            seq,
        };
        assert!(at(2, 0, 1) > at(1, 9, 100));
        assert!(at(1, 2, 1) > at(1, 1, 100));
        assert!(at(1, 1, 2) > at(1, 1, 1));
    }
}
