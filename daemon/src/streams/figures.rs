//! What this node has done with each stream.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::{config::Stream, node::now_ms};

/// How long health tells that changes were missed.
const TOLD_MS: u64 = 60 * 60 * 1000;

/// One stream.
#[derive(Debug)]
pub(crate) struct StreamFigures {
    pub(crate) name: String,
    /// Whether this node has it open.
    pub(crate) reading: AtomicBool,
    /// Changes that became events.
    pub(crate) emitted: AtomicU64,
    /// Changes that cannot become events.
    pub(crate) skipped: AtomicU64,
    /// Emits that were refused and tried again.
    pub(crate) retried: AtomicU64,
    /// How often changes were missed.
    pub(crate) lost: AtomicU64,
    /// When that was last, Unix milliseconds.
    lost_ms: AtomicU64,
    /// Whether it was said that MongoDB has no change streams.
    unsupported: AtomicBool,
}

/// The figures of these streams.
pub(crate) fn of(streams: &[Stream]) -> Vec<Arc<StreamFigures>> {
    let figures = |stream: &Stream| {
        Arc::new(StreamFigures {
            name: stream.name.clone(),
            reading: AtomicBool::new(false),
            emitted: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lost_ms: AtomicU64::new(0),
            unsupported: AtomicBool::new(false),
        })
    };
    streams.iter().map(figures).collect()
}

impl StreamFigures {
    /// Changes were missed.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
        self.lost_ms.store(now_ms(), Relaxed);
    }

    /// MongoDB has no change streams; true if that is to be said, which is once.
    pub(super) fn unsupported(&self) -> bool {
        !self.unsupported.swap(true, Relaxed)
    }

    /// A change cannot become an event; true if that is to be said, which is ever more rarely.
    pub(super) fn skip(&self) -> bool {
        (self.skipped.fetch_add(1, Relaxed) + 1).is_power_of_two()
    }

    /// When changes were missed last, if that was not long ago.
    pub(crate) fn lost_lately(&self) -> Option<u64> {
        let at = self.lost_ms.load(Relaxed);
        (at > 0 && now_ms().saturating_sub(at) < TOLD_MS).then_some(at)
    }
}
