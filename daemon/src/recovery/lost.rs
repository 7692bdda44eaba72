//! Who may be coming back: recoveries that do not count against an address, and addresses whose
//! clients were lost.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::node::now_ms;

/// Recoveries of one user within a minute that do not count against the address.
const FREE_RECOVERIES: u32 = 30;

/// Addresses, and losses of each, that are remembered.
const MAX_EXPECTED: usize = 100_000;
const MAX_EXPECTED_EACH: usize = 1000;

/// What is remembered of clients that were lost.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// Recoveries by user in the current minute, and which minute it is.
    free: Mutex<(u64, HashMap<Arc<str>, u32>)>,
    /// Until when lost connections of an address may come back beyond its limit.
    expected: Mutex<HashMap<IpAddr, VecDeque<u64>>>,
}

impl Lost {
    /// Whether one more recovery of a user does not count against its address: those of an office
    /// after a restart do not, those of a client that loops do.
    pub(crate) fn is_free(&self, user: &Arc<str>) -> bool {
        let minute = now_ms() / 60_000;
        let mut free = lock(&self.free);
        if free.0 != minute {
            *free = (minute, HashMap::new());
        }
        let count = free.1.entry(user.clone()).or_default();
        *count += 1;
        *count <= FREE_RECOVERIES
    }

    /// A client of this address lost a connection that it can recover within the window.
    pub(crate) fn expect_back(&self, ip: IpAddr, window: Duration) {
        let until = now_ms() + window.as_millis() as u64;
        let mut expected = lock(&self.expected);
        if expected.len() < MAX_EXPECTED || expected.contains_key(&ip) {
            let times = expected.entry(ip).or_default();
            times.push_back(until);
            if times.len() > MAX_EXPECTED_EACH {
                times.pop_front();
            }
        }
    }

    /// Whether a client of this address may be coming back; each loss is good for one try.
    pub(crate) fn redeem(&self, ip: IpAddr) -> bool {
        let now = now_ms();
        let mut expected = lock(&self.expected);
        let Some(times) = expected.get_mut(&ip) else {
            return false;
        };
        while times.front().is_some_and(|until| *until <= now) {
            times.pop_front();
        }
        let redeemed = times.pop_back().is_some();
        if times.is_empty() {
            expected.remove(&ip);
        }
        redeemed
    }

    /// Forgets addresses whose clients did not come back in time.
    pub(crate) fn sweep(&self) {
        let now = now_ms();
        lock(&self.expected).retain(|_, times| times.back().is_some_and(|until| *until > now));
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
