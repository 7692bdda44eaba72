//! Whom to dial, and when again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The pause after the first failure; it doubles with each.
const FIRST_PAUSE_MS: u64 = 100;
/// The longest pause.
const LAST_PAUSE_MS: u64 = 2000;
/// An address that gossip has not wanted for so long, and of no peer, is forgotten.
const FORGET_MS: u64 = 60_000;
/// A link that lasted so long was a good one: its loss is the first failure.
const GOOD_MS: u64 = 2000;
/// The edge answers every dial; should it not, another is made after this.
const UNANSWERED_MS: u64 = 10_000;
/// Addresses that gossip may want at most; more are not dialled.
const MAX_WANTED: usize = 1024;

/// All addresses that are, or may have to be, dialled.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    targets: BTreeMap<SocketAddr, Target>,
}

/// One address.
#[derive(Debug)]
pub(crate) struct Target {
    /// Who should be there.
    name: Option<Arc<str>>,
    /// When gossip last wanted to reach it.
    wanted_ms: Option<u64>,
    /// Since when it has been tried in vain.
    vain_since_ms: Option<u64>,
    /// Failures in a row.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be dialled at once.
    Due,
    /// Being dialled since.
    Dialing(u64),
    /// To be dialled then.
    Waiting(u64),
    /// Linked since.
    Linked(u64),
    /// This node's own.
    Own,
}

impl Dialer {
    /// Gossip wants to reach an address.
    pub(crate) fn wanted(&mut self, address: SocketAddr, now_ms: u64) {
        if self.targets.len() < MAX_WANTED || self.targets.contains_key(&address) {
            self.target(address).wanted_ms = Some(now_ms);
        }
    }

    /// A peer is to be reached at an address.
    pub(crate) fn peer_at(&mut self, address: SocketAddr, name: &Arc<str>) {
        let target = self.target(address);
        if target.name.as_ref() != Some(name) {
            target.name = Some(name.clone());
        }
    }

    /// A dial has failed. True for the first failure in a row.
    pub(crate) fn failed(&mut self, address: SocketAddr, now_ms: u64, random: u64) -> bool {
        let Some(target) = self.targets.get_mut(&address) else {
            return false;
        };
        let is_first = target.failures == 0;
        target.fail(now_ms, random);
        is_first
    }

    /// The address is this node's own.
    pub(crate) fn is_own(&mut self, address: SocketAddr) {
        self.target(address).state = State::Own;
    }

    /// A dial has led to a node.
    pub(crate) fn linked(&mut self, address: SocketAddr, name: &Arc<str>, now_ms: u64) {
        let target = self.target(address);
        target.name = Some(name.clone());
        target.state = State::Linked(now_ms);
        target.vain_since_ms = None;
    }

    /// A link that was dialled there is gone.
    pub(crate) fn lost(&mut self, address: SocketAddr, now_ms: u64, random: u64) {
        if let Some(target) = self.targets.get_mut(&address)
            && let State::Linked(since_ms) = target.state
        {
            if now_ms >= since_ms + GOOD_MS {
                target.failures = 0;
            }
            target.fail(now_ms, random);
        }
    }

    /// Whether gossip has wanted to reach an address of late.
    pub(crate) fn is_wanted(&self, address: SocketAddr, now_ms: u64) -> bool {
        let target = self.targets.get(&address);
        target.is_some_and(|target| target.is_wanted(now_ms))
    }

    /// Forgets addresses that nobody needs; `is_peer` says whether a peer is to be reached there.
    pub(crate) fn forget(&mut self, now_ms: u64, is_peer: impl Fn(SocketAddr) -> bool) {
        self.targets.retain(|address, target| {
            target.is_wanted(now_ms) || is_peer(*address) || target.is_busy()
        });
    }

    /// Addresses to dial now, and who should be there. `is_linked` says whether there is a link to
    /// a node of that name, `is_peer` whether a peer is to be reached there.
    pub(crate) fn due(
        &mut self,
        now_ms: u64,
        is_linked: impl Fn(&str) -> bool,
        is_peer: impl Fn(SocketAddr) -> bool,
    ) -> Vec<(SocketAddr, Option<Arc<str>>)> {
        let mut due = Vec::new();
        for (address, target) in &mut self.targets {
            let is_due = match target.state {
                State::Due => true,
                State::Waiting(until_ms) => until_ms <= now_ms,
                State::Dialing(since_ms) => now_ms >= since_ms + UNANSWERED_MS,
                State::Linked(_) | State::Own => false,
            };
            let is_needed = target.is_wanted(now_ms) || is_peer(*address);
            let is_reached = target.name.as_deref().is_some_and(&is_linked);
            if is_due && is_needed && !is_reached {
                target.state = State::Dialing(now_ms);
                target.vain_since_ms.get_or_insert(now_ms);
                due.push((*address, target.name.clone()));
            }
        }
        due
    }

    /// When next an address may be due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let due = self
            .targets
            .values()
            .filter_map(|target| match target.state {
                State::Waiting(until_ms) => Some(until_ms),
                _ => None,
            });
        due.min()
    }

    /// Whether every address that gossip wants has been tried in vain for so long.
    pub(crate) fn all_in_vain(&self, now_ms: u64, for_ms: u64) -> bool {
        let mut wanted = self.targets.values().filter(|it| it.is_wanted(now_ms));
        wanted.all(|target| {
            let is_long = |since_ms| now_ms >= since_ms + for_ms;
            let is_vain = target.failures > 0 && target.vain_since_ms.is_some_and(is_long);
            is_vain || target.state == State::Own
        })
    }

    fn target(&mut self, address: SocketAddr) -> &mut Target {
        self.targets.entry(address).or_insert(Target {
            name: None,
            wanted_ms: None,
            vain_since_ms: None,
            failures: 0,
            state: State::Due,
        })
    }
}

impl Target {
    fn is_wanted(&self, now_ms: u64) -> bool {
        self.wanted_ms
            .is_some_and(|wanted_ms| now_ms < wanted_ms + FORGET_MS)
    }

    fn is_busy(&self) -> bool {
        matches!(self.state, State::Dialing(_) | State::Linked(_))
    }

    /// The pause is between half and all of what it could be, so that nodes do not dial in step.
    fn fail(&mut self, now_ms: u64, random: u64) {
        let whole = (FIRST_PAUSE_MS << self.failures.min(10)).min(LAST_PAUSE_MS);
        let pause_ms = whole / 2 + random % (whole / 2 + 1);
        self.failures += 1;
        self.vain_since_ms.get_or_insert(now_ms);
        self.state = State::Waiting(now_ms + pause_ms);
    }
}

#[cfg(test)]
mod tests;
