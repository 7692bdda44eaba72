//! Failed logins of names and addresses, and how long the next attempt has to wait. Pure.
//!
//! Names and addresses share so many places, by a hash that nobody outside can compute. So nothing
//! that waits can be pushed out by filling memory up, and a name that somebody has is not told from
//! others. Two that share a place also share their wait.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr};
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

/// Places for names, and for addresses, of 16 bytes each.
const PLACES: usize = 8192;

/// The failures of this node's admin page.
#[derive(Debug)]
pub(super) struct Locks {
    names: Table,
    nets: Table,
}

#[derive(Debug)]
struct Table {
    free: u32,
    hasher: RandomState,
    places: Box<[Failures]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// The latest attempt that was let through.
    last_ms: u64,
    /// Whether somebody was refused since.
    told: bool,
}

/// An attempt is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// How long the next has to wait.
    pub after: RetryAfter,
    /// Whether it is the first that this wait refuses; the others are not worth a line of a log.
    pub is_first: bool,
}

impl Default for Locks {
    fn default() -> Self {
        Self {
            names: Table::new(FREE_FOR_NAME),
            nets: Table::new(FREE_FOR_NET),
        }
    }
}

impl Locks {
    /// Lets an attempt through and counts it as failed, or says how long to wait. One that has to
    /// wait does not count.
    pub(super) fn attempt(&mut self, name: &str, from: IpAddr, now_ms: u64) -> Result<(), Locked> {
        let net = net(from);
        let (name, net) = (self.names.place(name), self.nets.place(&net));
        let longer = name.wait_ms(now_ms).max(net.wait_ms(now_ms));
        if longer > 0 {
            let after = RetryAfter(Duration::from_millis(longer));
            let told = [name, net].map(|it| std::mem::replace(&mut it.failures.told, true));
            return Err(Locked {
                after,
                is_first: told != [true, true],
            });
        }
        name.count(now_ms);
        net.count(now_ms);
        Ok(())
    }

    /// The attempt did not fail. What was counted of the name is forgotten; of the address only
    /// this attempt, so that nobody covers up guesses by logging in between.
    pub(super) fn succeeded(&mut self, name: &str, from: IpAddr) {
        self.forget(name);
        self.nets.place(&net(from)).take_back();
    }

    /// The attempt was not looked at.
    pub(super) fn took_back(&mut self, name: &str, from: IpAddr) {
        self.names.place(name).take_back();
        self.nets.place(&net(from)).take_back();
    }

    /// Nobody has to wait for what was guessed of a name.
    pub(super) fn forget(&mut self, name: &str) {
        *self.names.place(name).failures = Failures::default();
    }
}

/// Any address of this machine is the same: whoever has one has millions.
fn net(from: IpAddr) -> Net {
    let is_here = from.to_canonical().is_loopback();
    Net::from(if is_here {
        Ipv4Addr::LOCALHOST.into()
    } else {
        from
    })
}

/// What is counted at a place, and how many failures are free there.
struct Place<'t> {
    failures: &'t mut Failures,
    free: u32,
}

impl Table {
    fn new(free: u32) -> Self {
        Self {
            free,
            hasher: RandomState::new(),
            places: vec![Failures::default(); PLACES].into(),
        }
    }

    fn place(&mut self, key: &(impl Hash + ?Sized)) -> Place<'_> {
        let at = self.hasher.hash_one(key) as usize % PLACES;
        Place {
            failures: &mut self.places[at],
            free: self.free,
        }
    }
}

impl Place<'_> {
    /// How many milliseconds are left to wait.
    fn wait_ms(&self, now_ms: u64) -> u64 {
        if self.failures.is_forgotten(now_ms) {
            return 0;
        }
        let Some(beyond) = self.failures.count.checked_sub(self.free) else {
            return 0;
        };
        let wait = FIRST_WAIT_MS << beyond.min(20);
        let until = self.failures.last_ms + wait.min(LONGEST_WAIT_MS);
        until.saturating_sub(now_ms)
    }

    fn count(self, now_ms: u64) {
        if self.failures.is_forgotten(now_ms) {
            self.failures.count = 0;
        }
        self.failures.count = self.failures.count.saturating_add(1);
        self.failures.last_ms = now_ms;
        self.failures.told = false;
    }

    fn take_back(self) {
        self.failures.count = self.failures.count.saturating_sub(1);
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

    fn seconds(waited: Result<(), Locked>) -> Option<u64> {
        waited.err().map(|locked| locked.after.seconds())
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
            locks.forget("admin");
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
        assert_eq!(
            locks.nets.place(&net(HOME)).failures.count,
            FREE_FOR_NAME - 1
        );
        for _ in 0..FREE_FOR_NAME {
            assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
        }
        assert!(locks.attempt("root", HOME, 0).is_err());
        locks.took_back("root", HOME);
        assert_eq!(locks.attempt("root", HOME, 0), Ok(()));
    }

    #[test]
    fn no_number_of_other_names_ends_a_wait() {
        let mut locks = Locks::default();
        for number in 0..=FREE_FOR_NAME + 10 {
            let _ = locks.attempt("root", other(number), 0);
        }
        for number in 0..3 * PLACES as u32 {
            let _ = locks.attempt(&number.to_string(), other(number), 1);
        }
        assert!(locks.attempt("root", other(1 << 20), 1).is_err());
        locks.forget("root");
        assert_eq!(locks.names.place("root").wait_ms(1), 0);
    }

    #[test]
    fn this_machine_is_one_address() {
        let mut locks = Locks::default();
        for number in 0..FREE_FOR_NET {
            let from = IpAddr::V4((0x7f00_0001 + number * 300).into());
            assert_eq!(locks.attempt(&number.to_string(), from, 0), Ok(()));
        }
        for from in ["127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(
                locks.attempt("x", from.parse().unwrap(), 0).is_err(),
                "{from}"
            );
        }
    }
}
