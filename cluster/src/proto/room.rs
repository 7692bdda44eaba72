//! A room's name as nodes tell it to each other: a number of 64 bits.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};

/// The stable hash of a room's name.
///
/// Two rooms with one key cost a wasted forward and nothing else: a node counts joins by key, so
/// that one of the two leaving does not remove the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(pub u64);

/// Rooms; the keys are hashes already, so little is done to them.
pub(crate) type RoomSet = HashSet<RoomKey, Placing>;
/// Something by room.
pub(crate) type RoomMap<V> = HashMap<RoomKey, V, Placing>;

impl RoomKey {
    /// The key of a name, which is opaque bytes.
    ///
    /// FNV-1a (64 bits), then the finalizer of SplitMix64. Nodes of different builds must agree on
    /// it: it may never change.
    pub fn of(name: &[u8]) -> Self {
        Self(hash(name))
    }

    /// What a room adds to a digest. Not the key itself, so that a digest says nothing about the
    /// table that a key falls into.
    pub(crate) fn mix(self) -> u64 {
        finish(self.0 ^ 0x9e37_79b9_7f4a_7c15)
    }
}

/// FNV-1a over the bytes, well mixed. May never change.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    finish(bytes.iter().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    }))
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of the number.
pub(crate) fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where a key stands in a table: one multiplication with a number that nobody else knows. Clients
/// may name rooms, and whoever can compute keys could aim at one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placing {
    secret: u64,
    place: u64,
}

impl Default for Placing {
    fn default() -> Self {
        Self {
            secret: secret(),
            place: 0,
        }
    }
}

/// Decides nothing but places in tables. Simulations are the same each time.
#[cfg(test)]
fn secret() -> u64 {
    0x9e37_79b9_7f4a_7c15
}

#[cfg(not(test))]
fn secret() -> u64 {
    static SECRET: std::sync::LazyLock<u64> =
        std::sync::LazyLock::new(|| std::hash::RandomState::new().hash_one(0) | 1);
    *SECRET
}

impl BuildHasher for Placing {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Placing {
    fn finish(&self) -> u64 {
        self.place
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(hash(bytes));
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(key) * u128::from(self.secret);
        self.place = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand from the definitions, with Python's integers.
    #[test]
    fn keys_are_the_same_on_every_node_and_version() {
        assert_eq!(RoomKey::of(b""), RoomKey(0xf52a_15e9_a9b5_e89b));
        assert_eq!(RoomKey::of(b"lobby"), RoomKey(0x9cef_5397_b504_887d));
        assert_eq!(RoomKey::of(b"/\0user:u1"), RoomKey(0x4ace_752b_d1d3_4ae8));
    }

    #[test]
    fn keys_that_look_alike_stand_apart() {
        let mut set = RoomSet::default();
        assert!(set.insert(RoomKey(7)) && set.contains(&RoomKey(7)) && !set.insert(RoomKey(7)));
        let hasher = Placing::default();
        let places: HashSet<u64> = (0..1000_u64)
            .map(|high| hasher.hash_one(RoomKey(high << 52 | 7)) & 0xffff)
            .collect();
        assert!(places.len() > 950, "{}", places.len());
    }
}
