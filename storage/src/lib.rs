//! What a Tidings node keeps on disk, behind one handle; and the MongoDB that it shares.
//!
//! * [`Store`] is that handle. Its methods are `async`, but everything that touches sled runs on
//!   one thread of its own, `tidings-store` (`store/thread.rs`), which takes what is queued,
//!   applies it, flushes once if any of it must last, and only then answers.
//! * `open` turns a folder into a checked, running store: lock, deadline, damage, version.
//! * `embedded` holds the trees, one file per kind of row, and the index by which rows expire.
//! * `backup` makes one file of a store, and a store of such a file.
//! * `look` says how a store's folder is, from outside.
//! * `files` writes the small files beside sled that must survive a power cut.
//! * [`mongo`] is the MongoDB that an application shares, if there is one.
//!
//! **Invariant:** nothing outside `embedded`, `open` and `backup` names a sled type, but for the one
//! conversion in `error`, and neither is called from an async task.
//!
//! **Invariant:** this crate reads no clock to decide what a row means. Times are unix milliseconds
//! and come from the caller. Only the health of MongoDB is dated here.
//!
//! ## The folder
//!
//! | name | what it holds |
//! |---|---|
//! | `sled/` | the trees |
//! | `slots` | the slot table, written whole and fsynced |
//! | `roster` | the nodes that the cluster counts, written whole and fsynced |
//! | `state` | boot id of the last start, and whether it was stopped cleanly |
//! | `lock` | held while a process has the store open; names its process id |
//! | `unproved` | present while rows may be missing of which no slot table takes account |
//! | `damaged` | present after damage was found; names the copy that was kept |
//!
//! Copies of a damaged folder lie beside it as `<folder>.kept-<UTC time>`.

mod backup;
mod embedded;
mod error;
mod files;
mod look;
pub mod mongo;
mod open;
mod store;

pub use backup::{
    About, Backup, BackupError, Choice, Contents, RestoreError, Restored, check_backup, restore,
};
pub use embedded::counters::{Counter, Pair};
pub use embedded::expiry::Swept;
pub use embedded::keys::ApiKey;
pub use embedded::log::{LogBatch, LogDump};
pub use embedded::revocations::{Revocation, RevocationPage};
pub use embedded::sessions::{SESSION_KEPT_MS, Session};
pub use embedded::shared::SharedSession;
pub use embedded::users::User;
pub use error::{OpenError, StoreError};
pub use look::{Look, look};
pub use mongodb::bson;
pub use open::{OpenReport, StoreConfig};
pub use store::{Health, Stats, Store};
