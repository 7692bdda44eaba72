//! What was asked of an application's logins and what ended, counted; and how ends are noticed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How ends of sessions are noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Watching {
    /// Not yet, or MongoDB cannot be reached: open connections go on, and are looked at afterwards.
    #[default]
    Waiting,
    /// MongoDB tells of changes.
    Stream,
    /// It cannot; sessions of connected clients are looked at again and again.
    Recheck {
        /// Why there is no change stream.
        why: String,
        /// How many sessions the last round looked at.
        sessions: usize,
        /// How long it took, milliseconds.
        took_ms: u64,
    },
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedFigures {
    /// Logins that were known.
    pub cached: u64,
    /// Reads of a session from MongoDB.
    pub read: u64,
    /// Logins that were known, but not as fresh as wished, while MongoDB could not be read.
    pub stale: u64,
    /// Questions that could not be answered.
    pub unavailable: u64,
    /// Documents that could not be read.
    pub malformed: u64,
    /// Sessions that were seen to end.
    pub ended: u64,
    /// Change streams that were opened.
    pub streams: u64,
    /// Rounds in which the sessions of all connected clients were looked at.
    pub rounds: u64,
}

/// The counts behind the figures.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) cached: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) streams: AtomicU64,
    pub(super) rounds: AtomicU64,
}

impl Figures {
    pub(super) fn now(&self) -> SharedFigures {
        SharedFigures {
            cached: self.cached.load(Relaxed),
            read: self.read.load(Relaxed),
            stale: self.stale.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            ended: self.ended.load(Relaxed),
            streams: self.streams.load(Relaxed),
            rounds: self.rounds.load(Relaxed),
        }
    }
}
