//! Which shards have members of which rooms. Written when a room's first member comes to a shard
//! and when its last one leaves; read once per emit. Where the node is one of several, the others
//! are told of a room's first member on the node and of its last.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

use crate::shard::rooms::NamespaceId;

/// Locks that share the load; emits to different rooms seldom meet.
const STRIPES: usize = 64;

type Rooms = HashMap<NamespaceId, HashMap<Arc<str>, Members>>;

/// Where a room has members.
#[derive(Clone, Copy, Debug, Default)]
struct Members {
    /// The shards, one bit each.
    shards: u64,
    /// The number under which the peers are told of it; 0 if there are none to tell.
    announced: u64,
}

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
    /// A shard has members of a room. Done before the join is acknowledged. If the node had none,
    /// `announce` tells the peers, under the room's lock: what they are told has one order.
    pub(crate) fn add(
        &self,
        namespace: NamespaceId,
        room: &Arc<str>,
        shard: usize,
        announce: impl FnOnce() -> u64,
    ) {
        let mut rooms = self
            .stripe(room)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let names = rooms.entry(namespace).or_default();
        let members = names.entry(room.clone()).or_default();
        if members.shards == 0 {
            members.announced = announce();
        }
        members.shards |= 1 << shard;
    }

    /// A shard has no more members of a room. If no shard has, `withdraw` tells the peers.
    pub(crate) fn remove(
        &self,
        namespace: NamespaceId,
        room: &str,
        shard: usize,
        withdraw: impl FnOnce(),
    ) {
        let mut rooms = self
            .stripe(room)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(names) = rooms.get_mut(&namespace) else {
            return;
        };
        if let Some(members) = names.get_mut(room) {
            members.shards &= !(1 << shard);
            if members.shards == 0 {
                names.remove(room);
                withdraw();
            }
        }
    }

    /// The shards that have members, one bit each.
    pub(crate) fn shards(&self, namespace: NamespaceId, room: &str) -> u64 {
        self.find(namespace, room).shards
    }

    /// The number under which the peers are told of a room with members.
    pub(crate) fn announced(&self, namespace: NamespaceId, room: &str) -> u64 {
        self.find(namespace, room).announced
    }

    fn find(&self, namespace: NamespaceId, room: &str) -> Members {
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
        registry.add(0, &room, 1, || 7);
        registry.add(0, &room, 3, || panic!("the room had members"));
        assert_eq!(registry.shards(0, "a"), 0b1010);
        assert_eq!(registry.announced(0, "a"), 7);
        assert_eq!(registry.shards(1, "a"), 0);
        registry.remove(0, "a", 3, || panic!("the room has members"));
        assert_eq!((registry.shards(0, "a"), registry.len()), (0b10, 1));
        let mut withdrawn = 0;
        registry.remove(0, "a", 1, || withdrawn += 1);
        registry.remove(0, "a", 1, || withdrawn += 1);
        assert_eq!((registry.shards(0, "a"), registry.len()), (0, 0));
        assert_eq!(withdrawn, 1);
    }
}
