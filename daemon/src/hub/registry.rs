//! Which shards have members of which rooms. Written when a room's first member comes to a shard
//! and when its last one leaves; read once per emit.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

use crate::shard::rooms::NamespaceId;

/// Locks that share the load; emits to different rooms seldom meet.
const STRIPES: usize = 64;

type Rooms = HashMap<NamespaceId, HashMap<Arc<str>, u64>>;

/// The node-wide register of rooms with members.
#[derive(Debug)]
pub(crate) struct Registry {
    stripes: Vec<RwLock<Rooms>>,
    hasher: RandomState,
}

impl Default for Registry {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| RwLock::default()).collect();
        Self {
            stripes,
            hasher: RandomState::new(),
        }
    }
}

impl Registry {
    /// A shard has members of a room. Done before the join is acknowledged.
    pub(crate) fn add(&self, namespace: NamespaceId, room: &Arc<str>, shard: usize) {
        let mut rooms = self
            .stripe(room)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let names = rooms.entry(namespace).or_default();
        *names.entry(room.clone()).or_default() |= 1 << shard;
    }

    /// A shard has no more members of a room.
    pub(crate) fn remove(&self, namespace: NamespaceId, room: &str, shard: usize) {
        let mut rooms = self
            .stripe(room)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(names) = rooms.get_mut(&namespace) else {
            return;
        };
        if let Some(mask) = names.get_mut(room) {
            *mask &= !(1 << shard);
            if *mask == 0 {
                names.remove(room);
            }
        }
    }

    /// The shards that have members, one bit each.
    pub(crate) fn shards(&self, namespace: NamespaceId, room: &str) -> u64 {
        let rooms = self
            .stripe(room)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        rooms
            .get(&namespace)
            .and_then(|names| names.get(room))
            .copied()
            .unwrap_or_default()
    }

    /// How many rooms have members on this node.
    pub(crate) fn len(&self) -> usize {
        let count = |stripe: &RwLock<Rooms>| {
            let rooms = stripe.read().unwrap_or_else(PoisonError::into_inner);
            rooms.values().map(HashMap::len).sum::<usize>()
        };
        self.stripes.iter().map(count).sum()
    }

    fn stripe(&self, room: &str) -> &RwLock<Rooms> {
        &self.stripes[self.hasher.hash_one(room) as usize % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_known_while_a_shard_has_members() {
        let registry = Registry::default();
        let room: Arc<str> = "a".into();
        registry.add(0, &room, 1);
        registry.add(0, &room, 3);
        assert_eq!(registry.shards(0, "a"), 0b1010);
        assert_eq!(registry.shards(1, "a"), 0);
        registry.remove(0, "a", 3);
        assert_eq!((registry.shards(0, "a"), registry.len()), (0b10, 1));
        registry.remove(0, "a", 1);
        registry.remove(0, "a", 1);
        assert_eq!((registry.shards(0, "a"), registry.len()), (0, 0));
    }
}
