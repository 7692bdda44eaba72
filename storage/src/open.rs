//! From a folder to a checked, open store.
//!
//! The order, and why: the lock, so that nothing below races with another process; sled's own open,
//! on a thread with a deadline; the format; the check, as damage inside sled's log shows only when
//! it is read, as an error, a panic or a read that never returns; and last the marks for the next
//! start. A damaged folder is copied aside before the one thing that is tried, which is to remove
//! sled's snapshot and settings and let it read its log again. Killed anywhere in between, the next
//! start goes on from the `damaged` mark and the finished copy.

mod attempt;
mod keep;
pub(crate) mod lock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::embedded::trees::Trees;
use crate::error::OpenError;
use crate::files::{Files, State, boot_id, make_folder, replace, sync_folder_of};
use attempt::{CameUp, Damage, Fault, attempt};
use lock::{Lock, LockError};

/// Where the store is and how it is opened.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The store's own folder; made if it is not there.
    pub path: PathBuf,
    /// How long sled may take to come up.
    pub open_deadline: Duration,
    /// How long the check after it may take. It samples for half of this and passes then: only a
    /// read that hangs makes it fail.
    pub check_deadline: Duration,
    /// sled's page cache.
    pub cache_bytes: u64,
    /// Free bytes below which writes are refused, as sled does not survive a full disk.
    pub min_free_bytes: u64,
}

impl StoreConfig {
    /// The defaults for a store in `path`: 30 s to open, 10 s to check, 128 MiB of cache, 64 MiB
    /// kept free.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            open_deadline: Duration::from_secs(30),
            check_deadline: Duration::from_secs(10),
            cache_bytes: 128 << 20,
            min_free_bytes: 64 << 20,
        }
    }
}

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no store; it is new and empty.
    pub fresh: bool,
    /// The store was damaged and has been rebuilt from its own log; the copy of it as it was found
    /// is here. Damage to sled's snapshot costs nothing; after damage to the log itself rows may be
    /// missing or older than they were, so nothing durable should be built on this alone.
    pub rebuilt: Option<PathBuf>,
    /// The last run closed the store. True of a fresh one, which lost nothing.
    pub clean_stop: bool,
    /// The machine has not been started since the last run opened the store, so that not even
    /// unsynced writes were lost. True of a fresh one. False where the kernel does not say.
    pub same_boot: bool,
    /// How long opening took.
    pub took: Duration,
}

/// An open store on its way to the storage thread.
pub(crate) struct Opened {
    pub(crate) trees: Trees,
    pub(crate) files: Files,
    /// Shared with an opening thread that never came back, which then keeps it.
    pub(crate) lock: Arc<Lock>,
    /// For the mark of a clean stop.
    pub(crate) boot_id: String,
}

pub(crate) fn open(config: StoreConfig) -> Result<(Opened, OpenReport), OpenError> {
    let started = Instant::now();
    let files = Files::new(&config.path).map_err(io_error("find", &config.path))?;
    make_folder(&files.root).map_err(io_error("create", &files.root))?;
    let lock = Arc::new(take_lock(&files)?);
    keep::remove_unfinished(&files.root).map_err(io_error("clear up beside", &files.root))?;
    let last = State::read(&files);
    let earlier = keep::noted(&files);

    let opening = Opening {
        config: &config,
        files: &files,
        lock: &lock,
        known: last.is_some(),
    };
    let (came_up, rebuilt) = match opening.attempt() {
        Ok(came_up) => (came_up, earlier),
        Err(Fault::Damaged(damage)) => {
            let (came_up, kept) = opening.rebuild(damage, earlier)?;
            (came_up, Some(kept))
        }
        Err(Fault::Refused(error)) => return Err(error),
    };

    let boot_id = boot_id();
    let fresh = came_up.fresh;
    let unproved = files.unproved().exists();
    let clean = last.as_ref().is_some_and(|last| last.clean);
    let same = last.is_some_and(|last| !boot_id.is_empty() && last.boot_id == boot_id);
    let report = OpenReport {
        fresh,
        clean_stop: fresh || (clean && !unproved),
        same_boot: fresh || (same && !unproved),
        rebuilt,
        took: started.elapsed(),
    };
    if report.rebuilt.is_some() || !(report.clean_stop || report.same_boot) {
        // Said again at each start until the slot table is written: this one may be cut short.
        replace(&files.unproved(), b"rows may be missing\n")
            .map_err(io_error("mark", &files.root))?;
    }
    mark_open(&files, &boot_id).map_err(io_error("mark as open", &files.root))?;
    Ok((
        Opened {
            trees: came_up.trees,
            files,
            lock,
            boot_id,
        },
        report,
    ))
}

/// The rows are synced before the state says that there are some.
fn mark_open(files: &Files, boot_id: &str) -> io::Result<()> {
    fs::File::open(files.sled_log())?.sync_all()?;
    sync_folder_of(&files.sled_log())?;
    State {
        boot_id: boot_id.to_owned(),
        clean: false,
    }
    .write(files)?;
    match fs::remove_file(files.damaged()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_folder_of(&files.damaged()),
    }
}

fn take_lock(files: &Files) -> Result<Lock, OpenError> {
    Lock::take(&files.lock()).map_err(|error| match error {
        LockError::Held(holder) => OpenError::Locked {
            file: files.lock(),
            holder,
        },
        LockError::Io(source) => OpenError::Io {
            what: "lock",
            path: files.lock(),
            source,
        },
    })
}

/// One start's attempts.
struct Opening<'a> {
    config: &'a StoreConfig,
    files: &'a Files,
    lock: &'a Arc<Lock>,
    /// An earlier start got as far as writing rows, so none is not an answer.
    known: bool,
}

impl Opening<'_> {
    fn attempt(&self) -> Result<CameUp, Fault> {
        if self.known && !self.has_log() {
            return Err(Damage::new("sled's log is missing or empty").into());
        }
        attempt(self.config, self.files, self.lock, self.known)
    }

    fn has_log(&self) -> bool {
        fs::metadata(self.files.sled_log()).is_ok_and(|log| log.len() > 0)
    }

    /// Keeps a copy, unless an earlier start already did, and tries again without what sled can
    /// make anew.
    fn rebuild(
        &self,
        damage: Damage,
        earlier: Option<PathBuf>,
    ) -> Result<(CameUp, PathBuf), OpenError> {
        let root = &self.files.root;
        tracing::error!(path = %root.display(), detail = damage.detail, "the store is damaged");
        let kept = match earlier {
            Some(kept) => kept,
            None => keep::keep(self.config, self.files, &damage.detail)?,
        };
        let corrupt = |done: String| OpenError::Corrupt {
            path: root.clone(),
            detail: damage.detail.clone(),
            done,
            kept: kept.clone(),
        };
        if damage.hung {
            let done = "it was not rebuilt, as sled still holds it";
            return Err(corrupt(done.to_owned()));
        }
        if !self.has_log() {
            return Err(corrupt("there is nothing to rebuild it from".to_owned()));
        }
        remove_derived(&self.files.sled()).map_err(io_error("remove the snapshot of", root))?;
        match self.attempt() {
            Ok(came_up) => {
                tracing::warn!(
                    kept = %kept.display(),
                    "the store was rebuilt; rows may be missing or older than they were"
                );
                Ok((came_up, kept))
            }
            Err(Fault::Damaged(Damage { detail, .. })) => Err(corrupt(format!(
                "rebuilding it from sled's log did not help ({detail})"
            ))),
            Err(Fault::Refused(error)) => Err(error),
        }
    }
}

/// Removes what sled makes again from its log and from its own settings.
fn remove_derived(sled: &Path) -> io::Result<()> {
    for entry in fs::read_dir(sled)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "conf" || name.to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that hangs in sled cannot be brought about, so the finding is made up.
    #[test]
    fn a_store_that_hangs_is_copied_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            min_free_bytes: 0,
            ..StoreConfig::new(dir.path().join("store"))
        };
        drop(open(config.clone()).unwrap());
        let files = Files::new(&config.path).unwrap();
        fs::write(files.sled().join("snap.1"), "a snapshot").unwrap();
        let lock = Arc::new(take_lock(&files).unwrap());
        let opening = Opening {
            config: &config,
            files: &files,
            lock: &lock,
            known: true,
        };
        let damage = Damage {
            detail: "it hangs".to_owned(),
            hung: true,
        };
        let error = opening.rebuild(damage, None).err().unwrap();
        let OpenError::Corrupt { kept, done, .. } = error else {
            panic!("{error}")
        };
        assert!(done.contains("still holds it"), "{done}");
        let snapshot = fs::read_to_string(kept.join("sled/snap.1"));
        assert_eq!(snapshot.unwrap(), "a snapshot");
        assert!(files.sled().join("snap.1").exists());
        assert_eq!(keep::noted(&files), Some(kept));
    }
}
