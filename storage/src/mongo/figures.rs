//! What was asked of MongoDB, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::MongoError;

/// Operations by how they ended, and how many have not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MongoFigures {
    /// Answered, also where a document could not be read or was there already.
    pub answered: u64,
    /// Not answered within the deadline.
    pub late: u64,
    /// No server could be reached.
    pub unreachable: u64,
    /// Access was refused.
    pub refused: u64,
    /// Failed otherwise.
    pub failed: u64,
    /// Not begun, as too many were under way.
    pub busy: u64,
    /// Under way now.
    pub under_way: usize,
}

/// The counts behind the figures.
#[derive(Default)]
pub(super) struct Counts {
    answered: AtomicU64,
    late: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    busy: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, outcome: Result<(), &MongoError>) {
        let count = match outcome {
            Ok(()) | Err(MongoError::Malformed(_) | MongoError::Duplicate(_)) => &self.answered,
            Err(MongoError::Deadline(_)) => &self.late,
            Err(MongoError::Unreachable(_)) => &self.unreachable,
            Err(MongoError::Refused(_)) => &self.refused,
            Err(MongoError::Failed(_)) => &self.failed,
            Err(MongoError::Busy) => &self.busy,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn figures(&self, under_way: usize) -> MongoFigures {
        MongoFigures {
            answered: self.answered.load(Relaxed),
            late: self.late.load(Relaxed),
            unreachable: self.unreachable.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            busy: self.busy.load(Relaxed),
            under_way,
        }
    }
}
