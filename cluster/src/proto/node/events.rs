//! Gossip, time, and the end.

use super::{Node, STOPPED_MS, TICK_MS};
use crate::proto::{Action, Gossiped, Lifecycle, LinkId, Refused};

/// How often at most the own mark is given out: gossip travels no faster.
const MARK_MS: u64 = 200;

impl Node {
    /// Everything that gossip knows of the others, and a random number.
    pub fn gossip(&mut self, known: Vec<Gossiped>, now_ms: u64, random: u64) {
        self.random = random;
        let own = &self.settings;
        let later = known
            .iter()
            .find(|it| it.alive && it.name == own.name && it.generation > own.generation);
        if let Some(address) = later.map(|it| it.address) {
            self.conflict(address, Refused::NameTaken { address }, now_ms);
        }
        self.members.gossip(known);
        self.settle_members(now_ms);
        for inbound in &mut self.inbound {
            let peer = inbound.slot.and_then(|slot| self.members.peer(slot));
            let is_it = |it: &&super::Peer| it.generation == inbound.hello.generation;
            if let Some(mark) = peer.filter(is_it).and_then(|peer| peer.interest) {
                inbound.view.gossiped(mark, now_ms);
            }
        }
        self.settle(now_ms);
    }

    /// Time has passed. Returns when to call it next, at the latest.
    pub fn tick(&mut self, now_ms: u64, random: u64) -> u64 {
        self.random = random;
        let before_ms = self.ticked_ms.replace(now_ms);
        if before_ms.is_some_and(|before_ms| now_ms >= before_ms + STOPPED_MS) {
            self.running_since_ms = now_ms;
        }
        if self.own.expire(now_ms) {
            self.wake_for_interest();
        }
        let told = self.outbound.iter().map(|it| it.feed.told(&self.own)).min();
        self.own.trim(told.unwrap_or(u64::MAX));
        for inbound in &mut self.inbound {
            inbound.view.tick(now_ms);
        }
        self.mark_rooms(now_ms);
        self.drop_idle_links(now_ms);
        self.forget_addresses(now_ms);
        for (key, parts) in self.counters.exchange(now_ms) {
            self.actions.push(Action::Others { key, parts });
        }
        self.settle(now_ms);
        let due = self.dialer.next_due_ms().into_iter();
        let due = due.chain(self.own.next_expiry_ms()).min();
        due.unwrap_or(u64::MAX).clamp(now_ms + 1, now_ms + TICK_MS)
    }

    /// Whether nothing waits for time to pass but the dialing and lingering that [`Node::tick`] has
    /// told of: then it need not be called every 100 ms, but every half second.
    pub fn is_idle(&self) -> bool {
        self.lifecycle != Lifecycle::Joining
            && self.marked == Some(self.own.mark())
            && self.counters.is_empty()
    }

    /// This node is about to leave: it takes no new clients, and never will again.
    pub fn drain(&mut self, now_ms: u64) {
        if self.lifecycle != Lifecycle::Draining {
            self.lifecycle = Lifecycle::Draining;
            self.actions.push(Action::Lifecycle(Lifecycle::Draining));
            self.settle(now_ms);
        }
    }

    /// Gives out the mark if it has changed.
    fn mark_rooms(&mut self, now_ms: u64) {
        let mark = self.own.mark();
        if self.marked != Some(mark) && now_ms >= self.marked_ms + MARK_MS {
            self.marked = Some(mark);
            self.marked_ms = now_ms;
            self.actions.push(Action::Mark(mark));
        }
    }

    /// Closes links to nodes that are not alive and that gossip does not try to reach.
    fn drop_idle_links(&mut self, now_ms: u64) {
        let idle = self
            .outbound
            .iter()
            .filter(|it| it.slot.is_none() && !self.dialer.is_wanted(it.dialled, now_ms));
        let idle: Vec<LinkId> = idle.map(|it| it.link).collect();
        self.hang_up(&idle, now_ms);
    }

    fn forget_addresses(&mut self, now_ms: u64) {
        let members = &self.members;
        self.dialer.forget(now_ms, |address| {
            members.peers().any(|(_, peer)| peer.address == address)
        });
    }
}
