//! What others may know of the storage thread without asking it: whether it moves, whether it
//! failed, how much disk is left. Read by `Store::health` at any time, without waiting.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A storage thread that has not moved for this long is stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Stored in `busy_ms` while the thread waits for work.
const IDLE: u64 = u64::MAX;

/// Shared by the storage thread, its watcher and every handle.
pub(crate) struct Pulse {
    started: Instant,
    /// Milliseconds after `started` at which the thread last moved; [`IDLE`] while it has no work.
    busy_ms: AtomicU64,
    /// Free bytes when last looked.
    free: AtomicU64,
    /// Free bytes below which writes are refused.
    min_free: u64,
    /// Calls applied and flushes made since the start.
    calls: AtomicU64,
    flushes: AtomicU64,
    /// Why the store failed; set once, for good.
    failure: OnceLock<String>,
}

impl Pulse {
    pub(crate) fn new(min_free: u64) -> Self {
        Self {
            started: Instant::now(),
            busy_ms: AtomicU64::new(IDLE),
            free: AtomicU64::new(u64::MAX),
            min_free,
            calls: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    /// The storage thread moves.
    pub(crate) fn beat(&self) {
        self.busy_ms.store(self.now_ms(), Relaxed);
    }

    /// The storage thread has no work.
    pub(crate) fn rest(&self) {
        self.busy_ms.store(IDLE, Relaxed);
    }

    /// How long the thread has been in one step; zero while it has no work.
    pub(crate) fn still_for(&self) -> Duration {
        match self.busy_ms.load(Relaxed) {
            IDLE => Duration::ZERO,
            since => Duration::from_millis(self.now_ms().saturating_sub(since)),
        }
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.still_for() > STUCK_AFTER
    }

    pub(crate) fn set_free(&self, free: u64) {
        self.free.store(free, Relaxed);
    }

    /// Free bytes, and how many must stay free.
    pub(crate) fn space(&self) -> (u64, u64) {
        (self.free.load(Relaxed), self.min_free)
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_flush(&self) {
        self.flushes.fetch_add(1, Relaxed);
    }

    /// Calls and flushes so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.calls.load(Relaxed), self.flushes.load(Relaxed))
    }

    /// The first failure stands.
    pub(crate) fn fail(&self, reason: &str) {
        if self.failure.set(reason.to_owned()).is_ok() {
            tracing::error!(
                reason,
                "storage failed; every call is refused until a restart"
            );
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(IDLE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_thread_can_be_stuck() {
        let pulse = Pulse::new(0);
        assert_eq!(pulse.still_for(), Duration::ZERO);
        pulse.beat();
        std::thread::sleep(Duration::from_millis(20));
        assert!(pulse.still_for() >= Duration::from_millis(19));
        pulse.rest();
        assert_eq!(pulse.still_for(), Duration::ZERO);
    }

    #[test]
    fn the_first_failure_stands() {
        let pulse = Pulse::new(0);
        pulse.fail("first");
        pulse.fail("second");
        assert_eq!(pulse.failure(), Some("first"));
    }
}
