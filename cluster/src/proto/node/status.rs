//! What an operator may want to know.

#[cfg(test)]
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Node;
#[cfg(test)]
use super::links::Inbound;
use crate::proto::{Hello, Lifecycle};
#[cfg(test)]
use crate::proto::{LinkId, RoomKey};

/// A node that gossip or a link knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Which start of it.
    pub generation: u64,
    /// Where it can be dialled.
    pub address: SocketAddr,
    /// Its slot, if it is a peer.
    pub slot: Option<u8>,
    /// What it is in.
    pub lifecycle: Lifecycle,
    /// Whether it counts as a peer: gossip takes it for alive, and it is its node's latest start.
    pub alive: bool,
    /// Whether there is a link to it.
    pub linked_out: bool,
    /// Whether there is a link from it.
    pub linked_in: bool,
    /// Whether its rooms are known exactly. If not, it is sent everything.
    pub in_step: bool,
    /// How many of its rooms are known.
    pub rooms: usize,
    /// Its last change that was applied here.
    pub applied: u64,
    /// This node's last change that it acknowledged.
    pub acked: u64,
}

impl Node {
    /// All starts of other nodes that gossip or a link knows, by name and generation.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let known = self.members.known().iter();
        let mut found: Vec<_> = known
            .map(|it| (it.name.clone(), it.generation, it.address, it.lifecycle))
            .collect();
        let heard = self.inbound.iter().map(|it| &it.hello);
        let reached = self.outbound.iter().map(|it| &it.hello);
        for hello in heard.chain(reached) {
            let is_it =
                |it: &(Arc<str>, u64, _, _)| (&it.0, it.1) == (&hello.name, hello.generation);
            if !found.iter().any(is_it) {
                let (name, generation) = (hello.name.clone(), hello.generation);
                found.push((name, generation, hello.address, Lifecycle::Joining));
            }
        }
        found.retain(|it| it.0 != self.settings.name);
        found.sort_unstable();
        let found = found.into_iter();
        found
            .map(|(name, generation, address, lifecycle)| {
                let is_it = |it: &Hello| it.name == name && it.generation == generation;
                let inbound = self.inbound.iter().find(|it| is_it(&it.hello));
                let outbound = self.outbound.iter().find(|it| is_it(&it.hello));
                let view = inbound.map(|it| &it.view);
                let slot = self.members.slot(&name, generation);
                PeerStatus {
                    slot,
                    alive: slot.is_some(),
                    linked_out: outbound.is_some(),
                    linked_in: inbound.is_some(),
                    in_step: view.is_some_and(|view| view.is_in_step()),
                    rooms: view.map_or(0, |view| view.len()),
                    applied: view.map_or(0, |view| view.applied()),
                    acked: outbound.and_then(|it| it.acked).unwrap_or_default(),
                    name,
                    generation,
                    address,
                    lifecycle,
                }
            })
            .collect()
    }
}

/// What the simulation looks at.
#[cfg(test)]
impl Node {
    pub(crate) fn slot_of(&self, name: &str, generation: u64) -> Option<u8> {
        self.members.slot(name, generation)
    }

    pub(crate) fn link_to(&self, name: &str) -> Option<LinkId> {
        let mut links = self.outbound.iter();
        Some(links.find(|it| *it.hello.name == *name)?.link)
    }

    pub(crate) fn link_from(&self, name: &str, generation: u64) -> Option<LinkId> {
        let mut links = self.inbound.iter().filter(|it| !it.is_lost);
        let is_it = |it: &&Inbound| *it.hello.name == *name && it.hello.generation == generation;
        Some(links.find(is_it)?.link)
    }

    /// The rooms of a peer, if they are known exactly.
    pub(crate) fn rooms_of(&self, name: &str) -> Option<BTreeSet<RoomKey>> {
        let mut links = self.inbound.iter().filter(|it| it.bit != 0);
        Some(links.find(|it| *it.hello.name == *name)?.view.rooms())
    }

    pub(crate) fn own_rooms(&self) -> BTreeSet<RoomKey> {
        self.own.rooms()
    }
}
