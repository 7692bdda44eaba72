//! PURE: which of this shard's sockets are in which rooms.
//!
//! A room lives as long as it has members. Joining and leaving are O(1) in the room's size; a
//! socket's own list is short (the subscription limit bounds it) and searched linearly.

use std::{collections::HashMap, sync::Arc};

use slab::Slab;

/// A namespace's number on this node; see `Namespaces`.
pub type NamespaceId = u32;

/// A socket's place in the shard.
pub type SocketIndex = u32;

/// The room of everybody in a namespace. Clients and backends cannot name it.
pub const EVERYBODY: &str = "";

#[derive(Debug)]
struct Room {
    name: Arc<str>,
    namespace: NamespaceId,
    members: Vec<SocketIndex>,
}

/// One socket's membership of one room.
#[derive(Clone, Copy, Debug)]
struct Membership {
    room: u32,
    /// Where the socket stands in the room's members.
    position: u32,
}

/// What a join changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The socket was a member already.
    Already,
    /// The socket is new; the room had other members.
    Member,
    /// The socket is the room's first member on this shard.
    First,
}

/// What a leave changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The socket was no member.
    Not,
    /// Others remain.
    Member,
    /// The room is empty on this shard and gone.
    Last,
}

/// All rooms of one shard.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: Slab<Room>,
    by_name: HashMap<NamespaceId, HashMap<Arc<str>, u32>>,
    memberships: Vec<Vec<Membership>>,
}

impl Rooms {
    /// Puts a socket into a room.
    pub fn join(&mut self, namespace: NamespaceId, name: &Arc<str>, socket: SocketIndex) -> Joined {
        let index = self.room_index(namespace, name);
        if self.memberships.len() <= socket as usize {
            self.memberships.resize_with(socket as usize + 1, Vec::new);
        }
        let mine = &mut self.memberships[socket as usize];
        if mine.iter().any(|membership| membership.room == index) {
            return Joined::Already;
        }
        let members = &mut self.rooms[index as usize].members;
        mine.push(Membership {
            room: index,
            position: members.len() as u32,
        });
        members.push(socket);
        if members.len() == 1 {
            Joined::First
        } else {
            Joined::Member
        }
    }

    /// Takes a socket out of a room.
    pub fn leave(&mut self, namespace: NamespaceId, name: &str, socket: SocketIndex) -> Left {
        let Some(index) = self.find(namespace, name) else {
            return Left::Not;
        };
        let Some(mine) = self.memberships.get_mut(socket as usize) else {
            return Left::Not;
        };
        let Some(at) = mine.iter().position(|membership| membership.room == index) else {
            return Left::Not;
        };
        let membership = mine.swap_remove(at);
        if self.remove_member(membership) {
            Left::Last
        } else {
            Left::Member
        }
    }

    /// Takes a socket out of all its rooms; returns those that are gone with it.
    pub fn leave_all(&mut self, socket: SocketIndex) -> Vec<(NamespaceId, Arc<str>)> {
        let Some(mine) = self.memberships.get_mut(socket as usize) else {
            return Vec::new();
        };
        let mut gone = Vec::new();
        for membership in std::mem::take(mine) {
            let room = &self.rooms[membership.room as usize];
            let key = (room.namespace, room.name.clone());
            if self.remove_member(membership) {
                gone.push(key);
            }
        }
        gone
    }

    /// The members of a room, in no order.
    pub fn members(&self, namespace: NamespaceId, name: &str) -> &[SocketIndex] {
        match self.find(namespace, name) {
            Some(index) => &self.rooms[index as usize].members,
            None => &[],
        }
    }

    /// Whether a socket is in a room.
    pub fn contains(&self, namespace: NamespaceId, name: &str, socket: SocketIndex) -> bool {
        self.find(namespace, name).is_some_and(|index| {
            self.memberships
                .get(socket as usize)
                .is_some_and(|mine| mine.iter().any(|membership| membership.room == index))
        })
    }

    /// The names of a socket's rooms, in the order of joining as far as leaves allow.
    pub fn of(&self, socket: SocketIndex) -> impl Iterator<Item = &Arc<str>> {
        self.memberships
            .get(socket as usize)
            .into_iter()
            .flatten()
            .map(|membership| &self.rooms[membership.room as usize].name)
    }

    /// Every room: namespace, name, number of members.
    pub fn all(&self) -> impl Iterator<Item = (NamespaceId, &Arc<str>, usize)> {
        self.rooms
            .iter()
            .map(|(_, room)| (room.namespace, &room.name, room.members.len()))
    }

    fn find(&self, namespace: NamespaceId, name: &str) -> Option<u32> {
        self.by_name.get(&namespace)?.get(name).copied()
    }

    fn room_index(&mut self, namespace: NamespaceId, name: &Arc<str>) -> u32 {
        let names = self.by_name.entry(namespace).or_default();
        if let Some(index) = names.get(&**name) {
            return *index;
        }
        let room = Room {
            name: name.clone(),
            namespace,
            members: Vec::new(),
        };
        let index = self.rooms.insert(room) as u32;
        names.insert(name.clone(), index);
        index
    }

    /// Removes the member at a position; true if the room is gone with it.
    fn remove_member(&mut self, membership: Membership) -> bool {
        let room = &mut self.rooms[membership.room as usize];
        room.members.swap_remove(membership.position as usize);
        if let Some(moved) = room.members.get(membership.position as usize).copied() {
            let theirs = &mut self.memberships[moved as usize];
            let entry = theirs
                .iter_mut()
                .find(|entry| entry.room == membership.room);
            entry.expect("a member of a room lists that room").position = membership.position;
        }
        if !room.members.is_empty() {
            return false;
        }
        let room = self.rooms.remove(membership.room as usize);
        if let Some(names) = self.by_name.get_mut(&room.namespace) {
            names.remove(&room.name);
            if names.is_empty() {
                self.by_name.remove(&room.namespace);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn tells_first_and_last() {
        let mut rooms = Rooms::default();
        assert_eq!(rooms.join(0, &name("a"), 1), Joined::First);
        assert_eq!(rooms.join(0, &name("a"), 1), Joined::Already);
        assert_eq!(rooms.join(0, &name("a"), 2), Joined::Member);
        assert_eq!(
            rooms.join(1, &name("a"), 3),
            Joined::First,
            "namespaces are apart"
        );
        assert_eq!(rooms.leave(0, "a", 1), Left::Member);
        assert_eq!(rooms.leave(0, "a", 1), Left::Not);
        assert_eq!(rooms.leave(0, "a", 2), Left::Last);
        assert_eq!(rooms.members(1, "a"), [3]);
    }

    #[test]
    fn leaving_all_returns_the_emptied_rooms() {
        let mut rooms = Rooms::default();
        for room in ["a", "b", "c"] {
            rooms.join(0, &name(room), 7);
        }
        rooms.join(0, &name("b"), 8);
        assert_eq!(rooms.leave_all(7), [(0, name("a")), (0, name("c"))]);
        assert_eq!(rooms.members(0, "b"), [8]);
        assert!(rooms.leave_all(99).is_empty());
    }

    proptest! {
        /// The same as a plain map of sets, whatever the order of joins and leaves.
        #[test]
        fn agrees_with_a_plain_model(steps in proptest::collection::vec(
            (0u8..3, 0u32..6, any::<u8>().prop_map_room()), 0..200))
        {
            let mut rooms = Rooms::default();
            let mut model: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for (what, socket, room) in steps {
                match what {
                    0 => {
                        rooms.join(0, &name(&room), socket);
                        model.entry(room).or_default().insert(socket);
                    }
                    1 => {
                        rooms.leave(0, &room, socket);
                        if let Some(members) = model.get_mut(&room) {
                            members.remove(&socket);
                        }
                    }
                    _ => {
                        rooms.leave_all(socket);
                        model.values_mut().for_each(|members| { members.remove(&socket); });
                    }
                }
                model.retain(|_, members| !members.is_empty());
                let seen: BTreeMap<String, BTreeSet<u32>> = rooms
                    .all()
                    .map(|(_, room, _)| {
                        let members = rooms.members(0, room).iter().copied().collect();
                        (room.to_string(), members)
                    })
                    .collect();
                prop_assert_eq!(&seen, &model);
            }
        }
    }

    trait PropMapRoom {
        fn prop_map_room(self) -> proptest::strategy::BoxedStrategy<String>;
    }

    impl<S: proptest::strategy::Strategy<Value = u8> + 'static> PropMapRoom for S {
        fn prop_map_room(self) -> proptest::strategy::BoxedStrategy<String> {
            self.prop_map(|byte| format!("r{}", byte % 4)).boxed()
        }
    }
}
