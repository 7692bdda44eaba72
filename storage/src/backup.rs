//! A whole store as one file, and a store from such a file.
//!
//! | module | what it is |
//! |---|---|
//! | `format` | PURE: what the file is made of, written piece by piece |
//! | `decode` | the same, read and checked piece by piece |
//! | `noted` | which rows were written since a backup began |
//! | `scan` | what the storage thread reads for a backup |
//! | `take` | a backup of a store that runs |
//! | `restore` | a store from a backup |
//!
//! A backup is the store as it was at one moment, its last: the rows are read a few at a time between
//! other calls, and what is written meanwhile is noted, read again, and put behind them, where it
//! counts. The last of these pieces is read in one call, together with the files beside sled.
//!
//! **Invariant:** a backup holds all that the store does, but nothing is taken up from it that others
//! could have been promised more of since: see [`restore`].

mod decode;
mod format;
pub(crate) mod noted;
mod restore;
mod scan;
mod take;
#[cfg(test)]
mod tests;

pub use decode::{BackupError, check_backup};
pub use format::{About, Contents};
pub use restore::{Choice, RestoreError, Restored, restore};
pub use take::Backup;
