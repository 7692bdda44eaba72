//! Failed logins of each name and each address, and how long the next attempt has to wait. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use crate::app::limits::{Net, RetryAfter};

/// Failures of one name that cost no wait.
const FREE_FOR_NAME: u32 = 5;

/// The same of one address, which several people may share: all who come through a tunnel do.
const FREE_FOR_NET: u32 = 20;

/// The first wait; it doubles with each further failure.
const FIRST_WAIT_MS: u64 = 1_000;

/// The longest wait.
const LONGEST_WAIT_MS: u64 = 15 * 60_000;

/// After so long without an attempt all is forgotten.
const REMEMBERED_MS: u64 = 60 * 60_000;

/// Names, and addresses, that are remembered at most. What a stranger can add to them is bounded
/// by the wait of its address; beyond it those that failed longest ago go first.
const MOST: usize = 4096;

/// The failures of this node's admin page.
#[derive(Debug, Default)]
pub(super) struct Locks {
    names: HashMap<Box<str>, Failures>,
    nets: HashMap<Net, Failures>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// The latest attempt that was let through.
    last_ms: u64,
}

impl Locks {
    /// Lets an attempt through and counts it as failed, or says how long to wait. One that has to
    /// wait does not count.
    pub(super) fn attempt(
        &mut self,
        name: &str,
        from: IpAddr,
        now_ms: u64,
    ) -> Result<(), RetryAfter> {
        let net = Net::from(from);
        let of_name = wait(self.names.get(name), FREE_FOR_NAME, now_ms);
        let of_net = wait(self.nets.get(&net), FREE_FOR_NET, now_ms);
        let longer = of_name.max(of_net);
        if longer > 0 {
            return Err(RetryAfter(Duration::from_millis(longer)));
        }
        count(&mut self.names, name.into(), now_ms);
        count(&mut self.nets, net, now_ms);
        Ok(())
    }

    /// The attempt did not fail. What was counted of the name is forgotten; of the address only
    /// this attempt, so that nobody covers up guesses by logging in between.
    pub(super) fn succeeded(&mut self, name: &str, from: IpAddr) {
        self.names.remove(name);
        take_back(&mut self.nets, &Net::from(from));
    }

    /// The attempt was not looked at.
    pub(super) fn took_back(&mut self, name: &str, from: IpAddr) {
        take_back(&mut self.names, name);
        take_back(&mut self.nets, &Net::from(from));
    }
}

/// How many milliseconds are left to wait.
fn wait(failures: Option<&Failures>, free: u32, now_ms: u64) -> u64 {
    let Some(failures) = failures.filter(|it| !it.is_forgotten(now_ms)) else {
        return 0;
    };
    let Some(beyond) = failures.count.checked_sub(free) else {
        return 0;
    };
    let wait = FIRST_WAIT_MS << beyond.min(20);
    let until = failures.last_ms + wait.min(LONGEST_WAIT_MS);
    until.saturating_sub(now_ms)
}

fn count<K: Hash + Eq + Clone>(all: &mut HashMap<K, Failures>, key: K, now_ms: u64) {
    if all.len() >= MOST && !all.contains_key(&key) {
        all.retain(|_, failures| !failures.is_forgotten(now_ms));
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, failures)| failures.last_ms);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| all.remove(&key));
        }
    }
    let failures = all.entry(key).or_default();
    if failures.is_forgotten(now_ms) {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last_ms = now_ms;
}

fn take_back<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(
    all: &mut HashMap<K, Failures>,
    key: &Q,
) {
    if let Some(failures) = all.get_mut(key) {
        failures.count = failures.count.saturating_sub(1);
        if failures.count == 0 {
            all.remove(key);
        }
    }
}

impl Failures {
    fn is_forgotten(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) >= REMEMBERED_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn seconds(waited: Result<(), RetryAfter>) -> Option<u64> {
        waited.err().map(|after| after.seconds())
    }

    fn other(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn waits_of_a_name_grow_and_are_forgotten() {
        let mut locks = Locks::default();
        for number in 0..FREE_FOR_NAME {
            assert_eq!(seconds(locks.attempt("root", other(number), 0)), None);
        }
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            let waited = locks.attempt("root", other(now as u32 + 100), now);
            assert_eq!(seconds(waited), Some(wait));
            assert_eq!(locks.attempt("admin", other(now as u32 + 100), now), Ok(()));
            now += wait * 1000;
            let waited = locks.attempt("root", other(now as u32 + 101), now - 1);
            assert_eq!(seconds(waited), Some(1), "it has to wait to the end");
            assert_eq!(locks.attempt("root", other(now as u32 + 102), now), Ok(()));
            locks.names.remove("admin");
        }
        now += REMEMBERED_MS;
        for _ in 0..FREE_FOR_NAME {
            assert_eq!(locks.attempt("root", HOME, now), Ok(()));
        }
    }

    #[test]
    fn waits_of_an_address_cover_all_names() {
        let mut locks = Locks::default();
        for number in 0..FREE_FOR_NET {
            assert_eq!(locks.attempt(&number.to_string(), HOME, 0), Ok(()));
        }
        assert_eq!(seconds(locks.attempt("another", HOME, 0)), Some(1));
        assert_eq!(locks.attempt("another", other(1), 0), Ok(()));
        // Its own /64 is one address.
        let six = |last: &str| format!("2001:db8::{last}").parse::<IpAddr>().unwrap();
        for number in 0..FREE_FOR_NET {
            let from = six(&format!("{number:x}"));
            assert_eq!(locks.attempt(&format!("six-{number}"), from, 0), Ok(()));
        }
        assert_eq!(seconds(locks.attempt("seven", six("ffff"), 0)), Some(1));
    }

    #[test]
    fn success_forgives_the_name_but_not_the_address() {
        let mut locks = Locks::default();
        for _ in 0..FREE_FOR_NAME - 1 {
            assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
        }
        assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
        locks.succeeded("root", HOME);
        assert_eq!(locks.nets[&Net::from(HOME)].count, FREE_FOR_NAME - 1);
        for _ in 0..FREE_FOR_NAME {
            assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
        }
        assert!(locks.attempt("root", HOME, 0).is_err());
        locks.took_back("root", HOME);
        assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut locks = Locks::default();
        for number in 0..MOST as u32 + 50 {
            let name = number.to_string();
            let now = u64::from(number);
            assert_eq!(locks.attempt(&name, other(number), now), Ok(()));
        }
        assert_eq!((locks.names.len(), locks.nets.len()), (MOST, MOST));
        assert!(!locks.names.contains_key("0"), "the oldest goes first");
    }
}
