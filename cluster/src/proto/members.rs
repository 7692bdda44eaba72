//! From gossip's view of everybody: who is a peer, and in which slot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Mark;

/// How many peers there can be: each is one bit of a word.
pub const SLOTS: usize = 64;

/// What a node is in; only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// It exchanges interest with the others, and takes no clients yet.
    Joining,
    /// It is of full use.
    Ready,
    /// It takes no new clients, and will leave.
    Draining,
}

/// What gossip says of one start of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossiped {
    /// The node's name.
    pub name: Arc<str>,
    /// Which start of it.
    pub generation: u64,
    /// Where it can be dialled.
    pub address: SocketAddr,
    /// What it is in.
    pub lifecycle: Lifecycle,
    /// Whether the failure detector takes it for alive.
    pub alive: bool,
    /// Its rooms, once it has said.
    pub interest: Option<Mark>,
}

impl Default for Lifecycle {
    /// What a node is in that has not said.
    fn default() -> Self {
        Self::Joining
    }
}

impl Lifecycle {
    /// As it is gossiped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }

    /// Reads what [`Lifecycle::name`] gives.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Joining, Self::Ready, Self::Draining]
            .into_iter()
            .find(|lifecycle| lifecycle.name() == name)
    }
}

/// A node that is there, in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) address: SocketAddr,
    pub(crate) lifecycle: Lifecycle,
    /// What it gossips of its rooms.
    pub(crate) interest: Option<Mark>,
    /// Since when it is there.
    pub(crate) since_ms: u64,
    /// Whether a link of ours has reached it since then.
    pub(crate) was_linked: bool,
}

/// What changed in who is there.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A peer left its slot.
    Down(u8, Peer),
    /// A peer has a slot.
    Up(u8),
    /// A peer's lifecycle changed.
    State(u8),
}

/// All nodes that gossip knows, and those of them that are peers.
#[derive(Debug, Default)]
pub(crate) struct Members {
    known: Vec<Gossiped>,
    /// By name, the first start that is not known to be over: a link says so before gossip does.
    first: BTreeMap<Arc<str>, u64>,
    peers: BTreeMap<u8, Peer>,
    /// Who had which slot last: a node that comes back gets it again, if it is free.
    last: BTreeMap<u8, Arc<str>>,
}

impl Members {
    /// The peers by slot.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (u8, &Peer)> {
        self.peers.iter().map(|(slot, peer)| (*slot, peer))
    }

    /// The peer in a slot.
    pub(crate) fn peer(&self, slot: u8) -> Option<&Peer> {
        self.peers.get(&slot)
    }

    /// The peer in a slot, to change it.
    pub(crate) fn peer_mut(&mut self, slot: u8) -> Option<&mut Peer> {
        self.peers.get_mut(&slot)
    }

    /// The slot of one start of a peer.
    pub(crate) fn slot(&self, name: &str, generation: u64) -> Option<u8> {
        let is_it = |peer: &Peer| *peer.name == *name && peer.generation == generation;
        self.peers().find(|(_, peer)| is_it(peer)).map(|it| it.0)
    }

    /// Everything that gossip knows.
    pub(crate) fn known(&self) -> &[Gossiped] {
        &self.known
    }

    /// Starts of a node that gossip takes for alive, and that nothing else says are over.
    pub(crate) fn alive<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Gossiped> {
        let first = self.first.get(name).copied().unwrap_or_default();
        self.known
            .iter()
            .filter(move |it| it.alive && *it.name == *name && it.generation >= first)
    }

    /// A link says that a node has started again: its earlier starts are over.
    pub(crate) fn restarted(&mut self, name: &Arc<str>, generation: u64) {
        let first = self.first.entry(name.clone()).or_default();
        *first = generation.max(*first);
    }

    /// Gossip's whole view, which is to be followed by [`Members::settle`].
    pub(crate) fn gossip(&mut self, known: Vec<Gossiped>) {
        self.known = known;
        let known = &self.known;
        self.first.retain(|name, first| {
            known
                .iter()
                .any(|it| it.alive && it.name == *name && it.generation < *first)
        });
    }

    /// Decides who is a peer.
    pub(crate) fn settle(&mut self, own_name: &str, now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let chosen = self.choose(own_name);
        let gone: Vec<u8> = self
            .peers()
            .filter(|(_, peer)| {
                chosen.get(&peer.name).map(|it| it.generation) != Some(peer.generation)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in gone {
            if let Some(peer) = self.peers.remove(&slot) {
                events.push(Event::Down(slot, peer));
            }
        }
        for it in chosen.into_values() {
            if let Some(slot) = self.slot(&it.name, it.generation) {
                self.update(slot, &it, &mut events);
            } else if let Some(slot) = self.free_slot(&it.name) {
                self.last.insert(slot, it.name.clone());
                let peer = Peer {
                    name: it.name,
                    generation: it.generation,
                    address: it.address,
                    lifecycle: it.lifecycle,
                    interest: it.interest,
                    since_ms: now_ms,
                    was_linked: false,
                };
                self.peers.insert(slot, peer);
                events.push(Event::Up(slot));
            }
        }
        events
    }

    /// Of each node the start that counts: the latest, but a node at another address does not
    /// take the name of one that is alive.
    fn choose(&self, own_name: &str) -> BTreeMap<Arc<str>, Gossiped> {
        let mut chosen: BTreeMap<Arc<str>, Gossiped> = BTreeMap::new();
        for it in self.known.iter().filter(|it| *it.name != *own_name) {
            if chosen.contains_key(&it.name) {
                continue;
            }
            let holder = self.peers.values().find(|peer| peer.name == it.name);
            let holder = holder.filter(|holder| {
                self.alive(&it.name)
                    .any(|it| it.generation == holder.generation)
            });
            let best = self
                .alive(&it.name)
                .filter(|it| holder.is_none_or(|holder| holder.address == it.address))
                .max_by_key(|it| it.generation);
            if let Some(best) = best {
                chosen.insert(it.name.clone(), best.clone());
            }
        }
        chosen
    }

    fn update(&mut self, slot: u8, it: &Gossiped, events: &mut Vec<Event>) {
        let Some(peer) = self.peers.get_mut(&slot) else {
            return;
        };
        peer.address = it.address;
        peer.interest = it.interest.or(peer.interest);
        if peer.lifecycle != it.lifecycle {
            peer.lifecycle = it.lifecycle;
            events.push(Event::State(slot));
        }
    }

    /// The slot that the name had; else one that nobody had; else any that is free.
    fn free_slot(&self, name: &str) -> Option<u8> {
        let free = || (0..SLOTS as u8).filter(|slot| !self.peers.contains_key(slot));
        let had = |slot: &u8| self.last.get(slot).is_some_and(|last| **last == *name);
        free()
            .find(had)
            .or_else(|| free().find(|slot| !self.last.contains_key(slot)))
            .or_else(|| free().next())
    }
}

#[cfg(test)]
mod tests;
