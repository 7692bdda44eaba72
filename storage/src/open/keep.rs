//! Keeping a copy of a damaged store before anything is done to it.
//!
//! The copy is made as `<store>.keeping` and renamed when it is whole and fsynced, so an
//! interrupted one is never taken for a copy. Its name goes into the store's `damaged` file, so
//! that a process that is started again and again keeps one copy of one damage, not one per start.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

use crate::error::OpenError;
use crate::files::{Files, free_bytes, make_folder, replace, sync_folder_of};
use crate::open::{StoreConfig, io_error};

/// Copies that stay; older ones are removed.
const KEPT: usize = 2;

/// Copied between two looks at the progress.
const CHUNK: u64 = 8 << 20;

/// The copy that an earlier start made of this very damage, if it is still there.
pub(crate) fn noted(files: &Files) -> Option<PathBuf> {
    let name = fs::read_to_string(files.damaged()).ok()?;
    let kept = files.root.with_file_name(name.trim());
    (is_copy_of(&files.root, &kept) && kept.is_dir()).then_some(kept)
}

/// Removes what a start that was killed while copying has left.
pub(crate) fn remove_unfinished(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(beside(root, ".keeping")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the store aside, if there is room, and notes the copy in the store.
pub(crate) fn keep(
    config: &StoreConfig,
    files: &Files,
    detail: &str,
) -> Result<PathBuf, OpenError> {
    let root = &files.root;
    let size = size_of(root).map_err(io_error("measure", root))?;
    let needed = size.saturating_add(config.min_free_bytes);
    let free = free_bytes(root).map_err(io_error("read the free space of", root))?;
    if free < needed {
        let (path, detail) = (root.clone(), detail.to_owned());
        return Err(OpenError::Full {
            path,
            detail,
            needed,
            free,
        });
    }
    let unfinished = beside(root, ".keeping");
    let (from, to) = (root.clone(), unfinished.clone());
    watched(config.open_deadline, move |copied| copy(&from, &to, copied))
        .map_err(io_error("copy", root))?;
    finish(files, &unfinished).map_err(io_error("keep a copy of", root))
}

fn finish(files: &Files, unfinished: &Path) -> io::Result<PathBuf> {
    let kept = free_name(&files.root);
    fs::rename(unfinished, &kept)?;
    sync_folder_of(&kept)?;
    let name = kept
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    replace(&files.damaged(), name.as_bytes())?;
    remove_older(&files.root)?;
    Ok(kept)
}

/// A name that says when; a second damage within one second gets a longer one, which sorts later.
fn free_name(root: &Path) -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp = now.replace(['-', ':'], "");
    let mut kept = beside(root, &format!(".kept-{stamp}"));
    while kept.exists() {
        kept.as_mut_os_string().push("+");
    }
    kept
}

/// Names sort by time.
fn remove_older(root: &Path) -> io::Result<()> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(root.parent().unwrap_or(root))? {
        copies.push(entry?.path());
    }
    copies.retain(|path| is_copy_of(root, path) && path.is_dir());
    copies.sort();
    let older = copies.len().saturating_sub(KEPT);
    copies[..older].iter().try_for_each(fs::remove_dir_all)
}

fn is_copy_of(root: &Path, path: &Path) -> bool {
    let prefix = beside(root, ".kept-");
    let path = path.as_os_str().as_encoded_bytes();
    path.starts_with(prefix.as_os_str().as_encoded_bytes())
}

fn beside(root: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(root);
    name.push(ending);
    PathBuf::from(name)
}

/// Files of a store that a copy of it has no use for.
fn is_left_out(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name == "lock" || name == "damaged")
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let about = fs::metadata(&path)?;
        size += if about.is_dir() {
            size_of(&path)?
        } else {
            about.len()
        };
    }
    Ok(size)
}

/// Copies on a thread, and gives up on it when it makes no progress for as long as `patience`: a
/// disk that hangs must not hang the start. `work` counts what it has copied.
fn watched(
    patience: Duration,
    work: impl FnOnce(&AtomicU64) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let (done, outcome) = sync_channel(1);
    let copied = Arc::new(AtomicU64::new(0));
    let own_copied = copied.clone();
    let thread = Builder::new().name("tidings-store-keep".to_owned());
    thread.spawn(move || {
        // The receiver is gone only after we were given up on.
        let _ = done.send(work(&own_copied));
    })?;
    let mut before = None;
    loop {
        match outcome.recv_timeout(patience) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => {
                let now = copied.load(Relaxed);
                if before.replace(now) == Some(now) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the copying thread panicked"));
            }
        }
    }
}

fn copy(from: &Path, to: &Path, copied: &AtomicU64) -> io::Result<()> {
    make_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let about = fs::metadata(&source)?;
        if about.is_dir() {
            copy(&source, &target, copied)?;
        } else if about.is_file() && !is_left_out(&source) {
            copy_file(&source, &target, copied)?;
        }
    }
    File::open(to)?.sync_all()
}

fn copy_file(from: &Path, to: &Path, copied: &AtomicU64) -> io::Result<()> {
    let (from, mut to) = (File::open(from)?, File::create(to)?);
    loop {
        let bytes = io::copy(&mut (&from).take(CHUNK), &mut to)?;
        copied.fetch_add(bytes.max(1), Relaxed);
        if bytes == 0 {
            return to.sync_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[test]
    fn a_copy_that_makes_no_progress_is_given_up() {
        let outcome = watched(PATIENCE, |_| {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        });
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_slow_copy_is_waited_for() {
        let outcome = watched(PATIENCE, |copied| {
            for _ in 0..20 {
                std::thread::sleep(PATIENCE / 5);
                copied.fetch_add(1, Relaxed);
            }
            Ok(())
        });
        outcome.unwrap();
    }

    #[test]
    fn a_mark_that_names_no_copy_of_this_store_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(&dir.path().join("store")).unwrap();
        fs::create_dir_all(&files.root).unwrap();
        for kept in ["store.kept-1", "other.kept-1"] {
            fs::create_dir(dir.path().join(kept)).unwrap();
        }
        for (mark, known) in [
            ("store.kept-1", true),
            ("store.kept-2", false),
            ("other.kept-1", false),
            ("", false),
            ("..", false),
        ] {
            fs::write(files.damaged(), mark).unwrap();
            assert_eq!(noted(&files).is_some(), known, "{mark:?}");
        }
    }
}
