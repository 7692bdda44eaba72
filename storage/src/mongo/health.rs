//! What works and what does not, since when. Pure.
//!
//! Kinds of operation are looked at one by one: a server can answer pings and fail every `find`, and
//! would otherwise be well and ill in turns.

use std::collections::BTreeMap;

/// A kind of operation that failed and was not tried again for so long says nothing any more, once
/// MongoDB answers otherwise.
const STALE_MS: u64 = 15_000;

/// What is known of MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MongoHealth {
    /// Nothing yet.
    Untried,
    /// What was tried last worked.
    Up,
    /// Something does not work.
    Degraded {
        /// Since when, unix milliseconds.
        since_ms: u64,
        /// What, and what was said; no secrets.
        why: String,
    },
}

/// The kinds of operation that fail.
#[derive(Default)]
pub(super) struct Ledger {
    failing: BTreeMap<&'static str, Failing>,
    tried: bool,
}

struct Failing {
    since_ms: u64,
    last_ms: u64,
    why: String,
}

impl Ledger {
    /// Something worked. Says whether that makes all well, or is the first to be known.
    pub(super) fn worked(&mut self, what: &str) -> bool {
        let first = !std::mem::replace(&mut self.tried, true);
        let was_last = self.failing.remove(what).is_some() && self.failing.is_empty();
        first || was_last
    }

    /// Something failed. Says whether all was well before.
    pub(super) fn failed(&mut self, what: &'static str, why: &str, now_ms: u64) -> bool {
        self.tried = true;
        let was_well = self.failing.is_empty();
        let failing = self.failing.entry(what).or_insert(Failing {
            since_ms: now_ms,
            last_ms: now_ms,
            why: String::new(),
        });
        failing.last_ms = now_ms;
        why.clone_into(&mut failing.why);
        was_well
    }

    /// MongoDB answers: what failed long ago may work too.
    pub(super) fn is_there(&mut self, now_ms: u64) {
        self.failing
            .retain(|_, failing| now_ms.saturating_sub(failing.last_ms) < STALE_MS);
    }

    pub(super) fn health(&self) -> MongoHealth {
        let oldest = self.failing.iter().min_by_key(|(_, it)| it.since_ms);
        match oldest {
            Some((what, failing)) => MongoHealth::Degraded {
                since_ms: failing.since_ms,
                why: format!("{what}: {}", failing.why),
            },
            None if self.tried => MongoHealth::Up,
            None => MongoHealth::Untried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degraded(since_ms: u64, why: &str) -> MongoHealth {
        let why = why.to_owned();
        MongoHealth::Degraded { since_ms, why }
    }

    #[test]
    fn is_degraded_since_the_first_of_what_still_fails() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.health(), MongoHealth::Untried);
        assert!(ledger.worked("ping"), "it is the first to be known");
        assert!(ledger.failed("find", "gone", 5));
        assert!(!ledger.failed("find", "still gone", 9));
        assert!(!ledger.failed("ping", "gone", 7));
        assert_eq!(ledger.health(), degraded(5, "find: still gone"));
        assert!(!ledger.worked("find"), "pings still fail");
        assert_eq!(ledger.health(), degraded(7, "ping: gone"));
        assert!(ledger.worked("ping"));
        assert_eq!(ledger.health(), MongoHealth::Up);
        assert!(!ledger.worked("ping"));
    }

    #[test]
    fn what_is_not_tried_again_is_forgotten_once_pings_are_answered() {
        let mut ledger = Ledger::default();
        ledger.failed("find", "gone", 1000);
        ledger.worked("ping");
        ledger.is_there(1000 + STALE_MS - 1);
        assert_eq!(ledger.health(), degraded(1000, "find: gone"));
        ledger.is_there(1000 + STALE_MS);
        assert_eq!(ledger.health(), MongoHealth::Up);
    }
}
