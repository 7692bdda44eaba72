//! What recoverable rooms ask of a disk.

use std::sync::Arc;

use crate::BoxFuture;
use crate::proto::slots::rows::Changes;

/// Where recoverable rooms are kept. The program fits it with its storage.
///
/// No two calls of one method are under way at a time; a store and a write through may be. What has
/// failed is asked again until it is done, so each must be safe to repeat.
pub trait Keep: Send + Sync + 'static {
    /// Stores rows as one piece and flushes: a killed process does not lose them.
    fn store(&self, changes: Arc<Changes>) -> BoxFuture<'_, Result<(), KeepError>>;

    /// Writes the table of promises, all of it, through to the disk: a power cut cannot undo it.
    fn sync(&self, table: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>>;

    /// Writes the roster through to the disk.
    fn roster(&self, roster: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>>;
}

/// Why something was not stored. It may be on the disk, whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeepError(pub String);
