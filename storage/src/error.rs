//! The two ways this crate fails: a store that does not open, and a call that is not done.

use std::path::PathBuf;
use std::time::Duration;

/// Why a store did not open. Unless a variant says otherwise the folder is as it was found.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle in this one, has the store open.
    #[error(
        "{file} is locked{}: another tidings may be running with this data directory",
        .holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    Locked {
        /// The file whose lock is held elsewhere.
        file: PathBuf,
        /// The process that wrote its id there, if it could be read.
        holder: Option<u32>,
    },

    /// The store is damaged and could not be rebuilt. A copy was kept before anything was tried;
    /// the folder itself may have lost its sled snapshot, which sled rebuilds from its log.
    #[error(
        "the store in {path} is damaged ({detail}); {done}; a copy of it as it was found is in \
         {kept}; restore a backup into an empty data folder, or move {path} away to begin empty"
    )]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// What was tried.
        done: String,
        /// Where the copy is.
        kept: PathBuf,
    },

    /// sled did not come up in time. Nothing was concluded from that: a slow disk looks the same.
    /// The opening thread, and the lock with it, stay until the process ends.
    #[error("opening the store in {path} took longer than {after:?}")]
    TimedOut {
        /// The store's folder.
        path: PathBuf,
        /// The deadline that passed.
        after: Duration,
    },

    /// A newer tidings wrote this store.
    #[error(
        "the store in {path} has format {found}, this program reads up to {supported}: \
         run the newer tidings that wrote it"
    )]
    Version {
        /// The store's folder.
        path: PathBuf,
        /// The format it has.
        found: String,
        /// The newest format that this program reads.
        supported: u32,
    },

    /// The disk is too full to keep a copy of the damaged store, so nothing was tried.
    #[error(
        "the store in {path} is damaged ({detail}) and a copy of it needs {needed} bytes where \
         {free} are free: make room and start again, nothing was changed"
    )]
    Full {
        /// The store's folder.
        path: PathBuf,
        /// What was found.
        detail: String,
        /// Bytes that the copy needs, with the reserve that must stay free.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// The operating system refused. What was being done is in `what`.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was being done, as a verb.
        what: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a call was not done. Nothing is retried here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is nearly full, so the write was refused before sled saw it. Nothing changed.
    #[error("disk nearly full: {free} bytes free, {needed} must stay free")]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must stay free for this kind of write.
        needed: u64,
    },

    /// A key or value is longer than the store takes. Nothing changed.
    #[error("{what} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
    },

    /// A stored row cannot be read. Nothing changed; other rows are not affected.
    #[error("a row of {tree} cannot be read: {detail}")]
    Damaged {
        /// The tree or file that holds it.
        tree: &'static str,
        /// What is wrong with it.
        detail: String,
    },

    /// sled failed. Whether this write is kept is unknown, and every later call fails the same way
    /// until the process is started again.
    #[error("storage failed: {reason}")]
    Failed {
        /// What sled said.
        reason: String,
    },

    /// Another backup is being taken. Nothing changed.
    #[error("another backup is being taken")]
    Busy,

    /// The storage thread has not moved for several seconds. A call that was queued may still be
    /// applied later; one made while the thread is stuck is refused and changes nothing.
    #[error("storage is stuck")]
    Stuck,

    /// The store was closed before the call was taken up. Nothing changed.
    #[error("the store is closed")]
    Closed,
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        let reason = match error {
            // sled's own text ends in the debug form of nothing.
            sled::Error::Corruption { at: None, .. } => "sled found corrupted data".to_owned(),
            sled::Error::Corruption { at: Some(at), .. } => {
                format!("sled found corrupted data at {at:?}")
            }
            other => other.to_string(),
        };
        StoreError::Failed { reason }
    }
}
