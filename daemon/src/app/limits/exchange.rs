//! What the nodes of a cluster tell each other of their counts.
//!
//! A node tells of a key what it counts itself, and is told what all others count of it. It is told
//! only of keys that it counts, so that a first hit always passes: all nodes together let pass at
//! most the limit and what arrives within one exchange.

use super::subscriptions::STRIPES;
use super::{Inner, Limits};
use crate::app::window::Elsewhere;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the other nodes are told.
pub const EXCHANGE_EVERY: Duration = Duration::from_millis(100);
/// The kind of a key that says how many subscriptions a user has.
const SUBSCRIPTIONS: u8 = b's';
/// In how many exchanges all subscriptions are told again: 9.6 seconds.
const PROLONG_IN: usize = 6 * STRIPES;

/// A key, and amounts with the milliseconds for which each counts.
pub type Told = (Vec<u8>, Vec<(u32, u32)>);

impl Limits {
    /// There are other nodes from here on: they are to be told of everything, also of what was
    /// restored.
    pub fn share(&self) {
        let inner = &*self.0;
        inner.tables().into_iter().for_each(|table| table.share());
        inner.is_shared.store(true, Ordering::Relaxed);
        inner.share_subscriptions();
    }

    /// What the other nodes do not know yet. To be called once in [`EXCHANGE_EVERY`]; nothing comes
    /// of it before [`Limits::share`].
    pub fn take_untold(&self, now_ms: u64) -> Vec<Told> {
        let inner = &*self.0;
        let turn = inner.exchanges.fetch_add(1, Ordering::Relaxed) % PROLONG_IN;
        if turn.is_multiple_of(PROLONG_IN / STRIPES) {
            inner.subscriptions.prolong(turn / (PROLONG_IN / STRIPES));
        }
        let mut told = Vec::new();
        for table in inner.tables() {
            table.take_untold(now_ms, &mut told);
        }
        inner.subscriptions.take_untold(SUBSCRIPTIONS, &mut told);
        told
    }

    /// Takes up what all other nodes count of a key. One that this node does not count any more is
    /// passed over.
    pub fn hear(&self, key: &[u8], parts: &[(u32, u32)], now_ms: u64) {
        let Inner { subscriptions, .. } = &*self.0;
        match key.split_first() {
            Some((&SUBSCRIPTIONS, user)) => {
                if let Ok(user) = std::str::from_utf8(user) {
                    subscriptions.hear(user, parts, now_ms);
                }
            }
            _ => {
                self.0
                    .on_table(key, |table, name| table.hear(name, parts, now_ms));
            }
        }
    }
}

impl Inner {
    /// Has the other nodes told of subscriptions, if there are any and subscriptions are limited.
    pub(super) fn share_subscriptions(&self) {
        let is_limited = self.rules.now().subscriptions_per_user > 0;
        if is_limited && self.is_shared.load(Ordering::Relaxed) {
            self.subscriptions.share();
        }
    }
}

/// From milliseconds that are left to times, in the order in which they end.
pub(super) fn heard(parts: &[(u32, u32)], now_ms: u64) -> Box<[Elsewhere]> {
    let ends = |&(left, hits): &(u32, u32)| (now_ms + u64::from(left), hits);
    let mut others: Box<[Elsewhere]> = parts.iter().map(ends).collect();
    others.sort_unstable();
    others
}

#[cfg(test)]
mod tests;
