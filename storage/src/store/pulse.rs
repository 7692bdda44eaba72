//! What others may know of the storage thread without asking it: whether it moves, whether it
//! failed, how much disk is left. Read by `Store::health` at any time, without waiting.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often the watcher looks at the pulse.
pub(crate) const WATCH_EVERY: Duration = Duration::from_millis(500);

/// A storage thread that has not moved for this long is stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Shared by the storage thread, its watcher and every handle.
pub(crate) struct Pulse {
    /// Steps of the thread: odd while it works, even while it has no work.
    steps: AtomicU64,
    /// The steps at the watcher's last look, and how many looks since have found no other while the
    /// thread was at work. Looks are counted and not time: after a pause of the whole process, or of
    /// its machine, a clock would say that the thread has been still for as long.
    seen: AtomicU64,
    still: AtomicU64,
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
            steps: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            still: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            min_free,
            calls: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    /// The storage thread moves. Only that thread says so.
    pub(crate) fn beat(&self) {
        let steps = self.steps.load(Relaxed);
        self.steps.store((steps + 1) | 1, Relaxed);
    }

    /// The storage thread has no work.
    pub(crate) fn rest(&self) {
        let steps = self.steps.load(Relaxed);
        self.steps.store((steps | 1) + 1, Relaxed);
    }

    /// The watcher looks, every [`WATCH_EVERY`]. Says whether the thread is stuck.
    pub(crate) fn look(&self) -> bool {
        let steps = self.steps.load(Relaxed);
        let moved = self.seen.swap(steps, Relaxed) != steps;
        if moved || steps.is_multiple_of(2) {
            self.still.store(0, Relaxed);
        } else {
            self.still.fetch_add(1, Relaxed);
        }
        self.is_stuck()
    }

    /// How long the thread has been in one step while the process ran, as of the last look; zero
    /// while it has no work.
    pub(crate) fn still_for(&self) -> Duration {
        let looks = self.still.load(Relaxed);
        WATCH_EVERY.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX))
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.still_for() >= STUCK_AFTER
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_thread_can_be_stuck() {
        let pulse = Pulse::new(0);
        let looks = STUCK_AFTER.as_millis() / WATCH_EVERY.as_millis();
        for _ in 0..=looks {
            assert!(!pulse.look(), "it rests");
        }
        pulse.beat();
        for _ in 0..looks {
            assert!(!pulse.look(), "{:?}", pulse.still_for());
        }
        assert!(pulse.look());
        assert_eq!(pulse.still_for(), STUCK_AFTER);
        pulse.beat();
        assert!(!pulse.look(), "it has moved");
        pulse.look();
        assert_eq!(pulse.still_for(), WATCH_EVERY);
        pulse.rest();
        assert!(!pulse.look());
        assert_eq!(pulse.still_for(), Duration::ZERO);
        pulse.rest();
        assert!(!pulse.look(), "it rests again");
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
