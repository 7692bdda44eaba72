//! What follows from what has happened: done at the end of every call.

use std::collections::BTreeSet;

use super::{ALONE_MS, CALM_MS, Node, PATIENCE_MS};
use crate::proto::members::{Event, Peer};
use crate::proto::room::finish;
use crate::proto::rules::Rule;
use crate::proto::{Action, Lifecycle, LinkId, Refused};

impl Node {
    /// Brings everything in line with who is there and linked.
    pub(super) fn settle(&mut self, now_ms: u64) {
        self.bind(now_ms);
        self.mask();
        self.hold();
        self.live(now_ms);
        self.settle_owners(now_ms);
        self.dial(now_ms);
        self.wake(now_ms);
    }

    /// Decides who is a peer, after gossip or a link said something new of it.
    pub(super) fn settle_members(&mut self, now_ms: u64) {
        for event in self.members.settle(&self.settings.name, now_ms) {
            match event {
                Event::Down(slot, peer) => self.peer_down(slot, peer, now_ms),
                Event::Up(slot) => self.peer_up(slot, now_ms),
                Event::State(slot) => self.peer_state(slot),
            }
        }
    }

    fn peer_down(&mut self, slot: u8, peer: Peer, now_ms: u64) {
        let its = self.outbound.iter().filter(|it| it.slot == Some(slot));
        let its: Vec<LinkId> = its.map(|it| it.link).collect();
        self.hang_up(&its, now_ms);
        let name = peer.name;
        self.actions.push(Action::PeerDown { slot, name });
    }

    fn peer_up(&mut self, slot: u8, now_ms: u64) {
        self.appeared_ms = now_ms;
        if let Some(peer) = self.members.peer(slot) {
            self.actions.push(Action::PeerUp {
                slot,
                name: peer.name.clone(),
                generation: peer.generation,
                address: peer.address,
            });
        }
        self.peer_state(slot);
    }

    fn peer_state(&mut self, slot: u8) {
        if let Some(peer) = self.members.peer(slot) {
            self.actions.push(Action::PeerState {
                slot,
                lifecycle: peer.lifecycle,
            });
        }
    }

    /// Finds for each link the peer that it belongs to.
    fn bind(&mut self, now_ms: u64) {
        for outbound in &mut self.outbound {
            let hello = &outbound.hello;
            let slot = self.members.slot(&hello.name, hello.generation);
            if slot == outbound.slot {
                continue;
            }
            if let Some(slot) = outbound.slot {
                self.actions.push(Action::Unlinked { slot });
            }
            outbound.slot = slot;
            if let Some(slot) = slot {
                let link = outbound.link;
                self.actions.push(Action::Linked { slot, link });
            }
            if let Some(peer) = slot.and_then(|slot| self.members.peer_mut(slot)) {
                peer.was_linked = true;
            }
        }
        for inbound in &mut self.inbound {
            let hello = &inbound.hello;
            let slot = if self.rules.keep(Rule::ViewOfGeneration) {
                self.members.slot(&hello.name, hello.generation)
            } else {
                let mut peers = self.members.peers();
                peers.find(|(_, it)| it.name == hello.name).map(|it| it.0)
            };
            if slot != inbound.slot {
                inbound.slot = slot;
                let peer = slot.and_then(|slot| self.members.peer(slot));
                if let Some(mark) = peer.and_then(|peer| peer.interest) {
                    inbound.view.gossiped(mark, now_ms);
                }
            }
        }
    }

    /// Whom everything goes to.
    fn mask(&mut self) {
        let bits = self.members.peers().map(|(slot, _)| 1_u64 << slot);
        self.everyone = bits.fold(0, |all, bit| all | bit);
        let mut known = 0;
        for inbound in &mut self.inbound {
            inbound.bit = match inbound.slot {
                Some(slot) if inbound.view.is_in_step() => 1 << slot,
                _ => 0,
            };
            known |= inbound.bit;
        }
        self.open = self.everyone & !known;
    }

    /// How far joins are known to every peer that matters.
    fn hold(&mut self) {
        let before = self.floor();
        if !self.is_held {
            // Until now everything was promised.
            self.promised = self.promised.max(self.own.mark().seq);
        }
        let joining_holds = self.rules.keep(Rule::JoiningHolds);
        let holders = self.members.peers().filter(|(_, peer)| {
            peer.lifecycle != Lifecycle::Joining || (peer.was_linked && joining_holds)
        });
        let peers = holders.map(|(slot, _)| self.acked_by(slot).unwrap_or_default());
        let early = self
            .outbound
            .iter()
            .filter(|it| it.slot.is_none() && joining_holds);
        let early = early.map(|it| it.acked.unwrap_or_default());
        let lowest = peers.chain(early).min();
        self.is_held = lowest.is_some();
        self.promised = self.promised.max(lowest.unwrap_or_default());
        let floor = self.floor();
        if floor != before {
            self.actions.push(Action::Floor(floor));
        }
    }

    /// How far a peer has acknowledged this node's rooms on the present link.
    pub(super) fn acked_by(&self, slot: u8) -> Option<u64> {
        let mut links = self.outbound.iter();
        links.find(|it| it.slot == Some(slot))?.acked
    }

    /// Becomes ready when the time has come.
    fn live(&mut self, now_ms: u64) {
        self.conflicts.retain(|conflict| now_ms < conflict.until_ms);
        let is_name = |it: &super::Conflict| matches!(it.refused, Refused::NameTaken { .. });
        let is_free = self.lifecycle == Lifecycle::Joining && !self.conflicts.iter().any(is_name);
        if is_free && self.ticked_ms.is_some() && self.has_joined(now_ms) {
            self.lifecycle = Lifecycle::Ready;
            self.actions.push(Action::Lifecycle(Lifecycle::Ready));
        }
    }

    fn has_joined(&self, now_ms: u64) -> bool {
        let mut peers = self.members.peers();
        if !peers.all(|(slot, peer)| self.has_exchanged_with(slot, peer, now_ms)) {
            return false;
        }
        if self.outbound.iter().any(|it| it.slot.is_some()) {
            return now_ms >= self.appeared_ms + CALM_MS;
        }
        let is_alone = now_ms >= self.running_since_ms + ALONE_MS
            && self.outbound.is_empty()
            && self.dialer.all_in_vain(now_ms, ALONE_MS);
        !self.settings.has_seeds || is_alone
    }

    /// Whether a peer knows this node's rooms, and this node the peer's. Of two nodes that are
    /// joining each waits for the other, but not for ever: each will wait for the other again when
    /// that one is ready. One that drains is not waited for: it may take no links any more.
    fn has_exchanged_with(&self, slot: u8, peer: &Peer, now_ms: u64) -> bool {
        let is_patient = match peer.lifecycle {
            Lifecycle::Joining => now_ms < peer.since_ms + PATIENCE_MS,
            Lifecycle::Ready => true,
            Lifecycle::Draining => false,
        };
        !is_patient || (self.acked_by(slot).is_some() && self.open & (1 << slot) == 0)
    }

    /// Keys of counters are shared out among the nodes that are ready.
    fn settle_owners(&mut self, now_ms: u64) {
        let peers = self.members.peers().map(|(_, peer)| peer);
        let ready = peers.filter(|peer| peer.lifecycle == Lifecycle::Ready);
        let mut owners: BTreeSet<_> = ready.map(|peer| peer.name.clone()).collect();
        if self.lifecycle == Lifecycle::Ready || owners.is_empty() {
            owners.insert(self.settings.name.clone());
        }
        self.counters.set_owners(owners, now_ms);
    }

    fn dial(&mut self, now_ms: u64) {
        let mut missing = Vec::new();
        for (_, peer) in self.members.peers() {
            if !self.is_linked(&peer.name) {
                self.dialer.peer_at(peer.address, &peer.name);
                missing.push(peer.address);
            }
        }
        let is_peer = |address| missing.contains(&address);
        let outbound = &self.outbound;
        let is_linked = |name: &str| outbound.iter().any(|it| *it.hello.name == *name);
        for (address, name) in self.dialer.due(now_ms, is_linked, is_peer) {
            self.actions.push(Action::Dial { address, name });
        }
    }

    /// A number to spread things in time, from the last that was passed in.
    pub(super) fn jitter(&mut self) -> u64 {
        self.random = finish(self.random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        self.random
    }
}
