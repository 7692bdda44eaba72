//! Sums over all nodes, for limits that hold across the cluster.
//!
//! A key (a user's events, an address's connections) has one owner: the ready node whose name
//! hashes highest with it. Each node reports what it counts to the owner, which tells every other
//! node that counts the key what all but that one have. Both are coalesced to one exchange per
//! 100 ms. Amounts end by time, told in milliseconds from now, so that clocks need not agree. What
//! a node counted stays with the owner until then, also when that node dies.

mod owned;
mod parts;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::room::{finish, hash};
use super::rules::{Rule, Rules};
use super::wire::{Answered, Frame, MAX_ENTRIES, Reported};
use owned::Owned;
pub(crate) use parts::MAX_PARTS;
pub use parts::Part;
use parts::Until;
use table::Table;

/// Longer keys are not exchanged.
pub(crate) const MAX_KEY: usize = 1024;
/// Keys that a node counts, and keys that it owns, at most; those that end first go first.
const MAX_KEYS: usize = 1 << 18;
/// How often counts are exchanged.
const EXCHANGE_MS: u64 = 100;
/// How long after a change of owners nobody is told: first all must have heard of it by gossip and
/// have reported to the new ones, or the sums would be too low for a moment.
const GATHER_MS: u64 = 1000;
/// How long a count that was withdrawn is remembered if it is not known when it would have ended.
const WITHDRAWN_MS: u64 = 600_000;

/// What this node counts, what it owns, and what is to be said of both.
#[derive(Debug)]
pub(crate) struct Counters {
    name: Arc<str>,
    /// Nodes that own keys, with the hashes of their names.
    owners: Vec<(u64, Arc<str>)>,
    mine: Table<Mine>,
    /// Keys of `mine` to be reported at the next exchange.
    changed: VecDeque<Bytes>,
    owned: Owned,
    /// What is to be said on the link to each node that has one.
    outboxes: BTreeMap<Arc<str>, Outbox>,
    exchanged_ms: u64,
    /// Until when nobody is told.
    gathers_until_ms: u64,
    rules: Rules,
}

/// What this node counts of a key.
#[derive(Debug)]
struct Mine {
    hash: u64,
    parts: Vec<Until>,
    /// The hash of the owner's name that it was reported to.
    told: Option<u64>,
    /// Whether the owner must be asked for the others'.
    anew: bool,
    is_queued: bool,
    /// The hash of the name of the node for whose link it waits, and will be said as it is then.
    waits_for: Option<u64>,
}

/// Keys of which there is something to say on one link.
#[derive(Debug, Default)]
struct Outbox {
    reports: VecDeque<Bytes>,
    answers: VecDeque<Bytes>,
}

impl Counters {
    pub(crate) fn new(name: Arc<str>, rules: Rules) -> Self {
        Self {
            owners: vec![(hash(name.as_bytes()), name.clone())],
            mine: Table::new(MAX_KEYS),
            changed: VecDeque::new(),
            owned: Owned::new(MAX_KEYS),
            outboxes: BTreeMap::new(),
            exchanged_ms: 0,
            gathers_until_ms: 0,
            name,
            rules,
        }
    }

    /// Whether nothing is counted, here or for others.
    pub(crate) fn is_empty(&self) -> bool {
        self.mine.is_empty() && self.owned.is_empty()
    }

    /// What this node counts of a key has changed to this. Without parts it is withdrawn, which is
    /// remembered as long as an earlier report may be kept elsewhere.
    pub(crate) fn count(&mut self, key: Bytes, parts: &[Part], now_ms: u64) {
        if key.len() > MAX_KEY {
            return;
        }
        let parts = parts::until(parts, now_ms);
        let before_ms = match self.mine.ends_ms(&key) {
            Some(ends_ms) if self.rules.keep(Rule::RememberWithdrawn) => ends_ms,
            Some(_) => now_ms + 2 * EXCHANGE_MS,
            None if parts.is_empty() => now_ms + WITHDRAWN_MS,
            None => 0,
        };
        let ends_ms = parts::ends_ms(&parts).unwrap_or_default().max(before_ms);
        let hash = hash(&key);
        let mine = self.mine.entry(key.clone(), ends_ms, || Mine {
            hash,
            parts: Vec::new(),
            told: None,
            anew: true,
            is_queued: false,
            waits_for: None,
        });
        mine.parts = parts;
        if !mine.is_queued {
            mine.is_queued = true;
            self.changed.push_back(key);
        }
    }

    /// The nodes that own keys, by name and sorted; this one's if there is none. What has another
    /// owner now is reported to it.
    pub(crate) fn set_owners(&mut self, owners: BTreeSet<Arc<str>>, now_ms: u64) {
        if self.owners.iter().map(|it| &it.1).eq(owners.iter()) {
            return;
        }
        self.owners = owners
            .into_iter()
            .map(|name| (hash(name.as_bytes()), name))
            .collect();
        if self.rules.keep(Rule::ReportToNewOwner) {
            let owners = &self.owners;
            let moved = |mine: &Mine| mine.told != Some(owner(owners, mine.hash).0);
            report_anew(&mut self.mine, &mut self.changed, moved);
        }
        self.owned.tell_all(None);
        self.gathers_until_ms = now_ms + GATHER_MS;
    }

    /// There is a new link to a node: what was said on an earlier one may be lost.
    pub(crate) fn link_up(&mut self, name: &Arc<str>) {
        self.outboxes.insert(name.clone(), Outbox::default());
        let its = hash(name.as_bytes());
        for (_, mine) in self.mine.iter_mut() {
            mine.waits_for = mine.waits_for.filter(|waits_for| *waits_for != its);
        }
        if self.rules.keep(Rule::ReportOnLink) {
            let owners = &self.owners;
            let is_its = |mine: &Mine| owner(owners, mine.hash).0 == its;
            report_anew(&mut self.mine, &mut self.changed, is_its);
            self.owned.tell_all(Some(name));
        }
    }

    /// There is no link to a node any more.
    pub(crate) fn link_down(&mut self, name: &str) {
        self.outboxes.remove(name);
    }

    /// A node reports what it counts.
    pub(crate) fn reported(&mut self, from: &Arc<str>, entries: Vec<Reported>, now_ms: u64) {
        for Reported { key, anew, parts } in entries {
            let parts = parts::until(&parts, now_ms);
            self.owned.report(from, compact(key), parts, anew);
        }
    }

    /// Whether an answer to this key by that node counts: it is the owner, and this node counts the
    /// key.
    pub(crate) fn heeds(&self, from: &str, key: &Bytes) -> bool {
        let mine = self.mine.get(key);
        mine.is_some_and(|mine| *owner(&self.owners, mine.hash).1 == *from)
    }

    /// Every 100 ms: sorts what has changed by whom it must be told. Returns what this node itself
    /// must be told, as the owner.
    pub(crate) fn exchange(&mut self, now_ms: u64) -> Vec<(Bytes, Vec<Part>)> {
        if now_ms < self.exchanged_ms + EXCHANGE_MS {
            return Vec::new();
        }
        self.exchanged_ms = now_ms;
        for key in std::mem::take(&mut self.changed) {
            let Some(mine) = self.mine.get_mut(&key) else {
                continue;
            };
            mine.is_queued = false;
            let (owner, owner_name) = owner(&self.owners, mine.hash);
            if mine.told != Some(*owner) {
                mine.told = Some(*owner);
                mine.anew = true;
            }
            if *owner_name == self.name {
                let anew = std::mem::take(&mut mine.anew);
                self.owned.report(&self.name, key, mine.parts.clone(), anew);
            } else if mine.waits_for != Some(*owner)
                && let Some(outbox) = self.outboxes.get_mut(owner_name)
            {
                mine.waits_for = Some(*owner);
                outbox.reports.push_back(key);
            }
        }
        self.mine.expire(now_ms);
        self.owned.expire(now_ms);
        if now_ms < self.gathers_until_ms {
            return Vec::new();
        }
        self.tell(now_ms)
    }

    fn tell(&mut self, now_ms: u64) -> Vec<(Bytes, Vec<Part>)> {
        let (owners, own_name) = (&self.owners, &self.name);
        let is_own = |hash| owner(owners, hash).1 == *own_name;
        let outboxes = &self.outboxes;
        let can_tell = |name: &str| *name == **own_name || outboxes.contains_key(name);
        let mut own = Vec::new();
        for (name, key) in self.owned.take_untold(is_own, can_tell) {
            if name == self.name {
                let parts = self.owned.tell(&key, &name, now_ms);
                own.extend(parts.map(|parts| (key, parts)));
            } else if let Some(outbox) = self.outboxes.get_mut(&name) {
                outbox.answers.push_back(key);
            }
        }
        own
    }

    /// Whether there is something to say on the link to a node.
    pub(crate) fn is_pending(&self, name: &str) -> bool {
        self.outboxes
            .get(name)
            .is_some_and(|outbox| !outbox.reports.is_empty() || !outbox.answers.is_empty())
    }

    /// The next frame on the link to a node.
    pub(crate) fn next(&mut self, name: &str, now_ms: u64) -> Option<Frame> {
        let outbox = self.outboxes.get_mut(name)?;
        let its = hash(name.as_bytes());
        let mut entries = Vec::new();
        while entries.len() < MAX_ENTRIES
            && let Some(key) = outbox.reports.pop_front()
        {
            let Some(mine) = self.mine.get_mut(&key) else {
                continue;
            };
            mine.waits_for = mine.waits_for.filter(|waits_for| *waits_for != its);
            if mine.told != Some(its) {
                continue;
            }
            entries.push(Reported {
                anew: std::mem::take(&mut mine.anew),
                parts: parts::left(&mine.parts, now_ms),
                key,
            });
        }
        if !entries.is_empty() {
            return Some(Frame::Report { entries });
        }
        let mut entries = Vec::new();
        while entries.len() < MAX_ENTRIES
            && let Some(key) = outbox.answers.pop_front()
        {
            let parts = self.owned.tell(&key, name, now_ms);
            entries.extend(parts.map(|parts| Answered { key, parts }));
        }
        (!entries.is_empty()).then_some(Frame::Answer { entries })
    }
}

/// The owner of a key: rendezvous hashing (Thaler, Ravishankar 1996), so that few keys move when a
/// node comes or goes. There is always one.
fn owner(owners: &[(u64, Arc<str>)], key: u64) -> &(u64, Arc<str>) {
    owners
        .iter()
        .max_by_key(|(name, _)| finish(name ^ key))
        .expect("this node owns keys when no other does")
}

/// Has keys reported at the next exchange, with the wish to be told of the others.
fn report_anew(
    mine: &mut Table<Mine>,
    changed: &mut VecDeque<Bytes>,
    is_meant: impl Fn(&Mine) -> bool,
) {
    for (key, mine) in mine.iter_mut().filter(|(_, mine)| is_meant(mine)) {
        mine.anew = true;
        if !mine.is_queued {
            mine.is_queued = true;
            changed.push_back(key.clone());
        }
    }
}

/// A copy of its own: a key must not keep the frame that it came in.
fn compact(key: Bytes) -> Bytes {
    Bytes::copy_from_slice(&key)
}

#[cfg(test)]
mod tests;
