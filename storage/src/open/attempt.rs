//! One try at opening sled, on a thread of its own, because sled may hang or panic on damage. A
//! thread that hangs is left behind with the lock; the process is about to end anyway.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::embedded::meta::{self, FORMAT};
use crate::embedded::trees::Trees;
use crate::error::{OpenError, StoreError};
use crate::files::Files;
use crate::open::lock::{LINGER, Lock, PAUSE};
use crate::open::{StoreConfig, io_error};
use crate::store::panicked;
use crate::store::pulse::Pulse;

/// sled fsyncs only in this rhythm: what a power cut can take.
const FSYNC_EVERY_MS: u64 = 250;

/// Rows read from each end of each tree by the check.
const SAMPLE: usize = 20_000;

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The data is not what it was.
    Damaged(Damage),
    /// Something that says nothing about the data.
    Refused(OpenError),
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) detail: String,
    /// sled never came back from a read, and still has the store open.
    pub(crate) hung: bool,
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Fault::Damaged(damage)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Fault::Refused(error)
    }
}

impl Damage {
    pub(crate) fn new(detail: impl ToString) -> Self {
        Self {
            detail: detail.to_string(),
            hung: false,
        }
    }
}

impl From<StoreError> for Damage {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed { reason } => Damage::new(reason),
            other => Damage::new(other),
        }
    }
}

/// A store that came up and passed the check.
pub(crate) struct CameUp {
    pub(crate) trees: Trees,
    /// It held nothing.
    pub(crate) fresh: bool,
}

enum Step {
    Opened,
    Done(Box<Result<CameUp, Fault>>),
}

/// `known`: the store had rows before, so one without any is damaged.
pub(crate) fn attempt(
    config: &StoreConfig,
    files: &Files,
    lock: &Arc<Lock>,
    known: bool,
) -> Result<CameUp, Fault> {
    let (steps, taken) = sync_channel(2);
    let (own_config, own_files, lock) = (config.clone(), files.clone(), lock.clone());
    let thread = Builder::new().name("tidings-store-open".to_owned());
    let climbing = thread.spawn(move || {
        let climbed = catch_unwind(AssertUnwindSafe(|| {
            climb(&own_config, &own_files, known, &steps)
        }));
        let outcome = climbed.unwrap_or_else(|panic| Err(Damage::from(panicked(&*panic)).into()));
        // Before the answer, so that whoever is told of a failure can try again at once.
        drop(lock);
        // Nobody listens after a deadline; then the store is dropped here.
        let _ = steps.send(Step::Done(Box::new(outcome)));
    });
    climbing.map_err(io_error("start a thread for", &files.root))?;
    wait(config, &taken)
}

fn wait(config: &StoreConfig, taken: &Receiver<Step>) -> Result<CameUp, Fault> {
    match taken.recv_timeout(config.open_deadline) {
        Ok(Step::Opened) => {}
        Ok(Step::Done(outcome)) => return *outcome,
        Err(_) => {
            let (path, after) = (config.path.clone(), config.open_deadline);
            return Err(OpenError::TimedOut { path, after }.into());
        }
    }
    match taken.recv_timeout(config.check_deadline) {
        Ok(Step::Done(outcome)) => *outcome,
        _ => {
            let detail = format!("a read did not return within {:?}", config.check_deadline);
            Err(Damage { detail, hung: true }.into())
        }
    }
}

fn climb(
    config: &StoreConfig,
    files: &Files,
    known: bool,
    steps: &SyncSender<Step>,
) -> Result<CameUp, Fault> {
    let db = open_sled(config, files)?;
    // The receiver is there until a deadline has passed, and then nobody needs to know.
    let _ = steps.send(Step::Opened);
    let pulse = Arc::new(Pulse::new(config.min_free_bytes));
    let trees = Trees::open(db, pulse).map_err(|error| fault(files, error))?;
    let format = meta::format(&trees).map_err(Damage::from)?;
    let fresh = format.is_none();
    if let Some(newer) = format.filter(|format| *format > u64::from(FORMAT)) {
        return Err(version(files, newer.to_string()));
    }
    if fresh && known {
        return Err(Damage::new("the rows that it had are gone").into());
    }
    check(&trees, config.check_deadline / 2).map_err(|error| fault(files, error))?;
    if fresh {
        let begun = meta::put_format(&trees, FORMAT).and_then(|()| trees.flush());
        begun.map_err(|error| io_error("begin", &files.root)(io::Error::other(error)))?;
    }
    Ok(CameUp { trees, fresh })
}

/// Waits for sled's own lock, as threads of an earlier handle of this process may linger on it.
fn open_sled(config: &StoreConfig, files: &Files) -> Result<sled::Db, Fault> {
    let sled = sled::Config::new()
        .path(files.sled())
        .cache_capacity(config.cache_bytes)
        .flush_every_ms(Some(FSYNC_EVERY_MS));
    let started = Instant::now();
    loop {
        match sled.open() {
            Err(error) if is_locked(&error) && started.elapsed() < LINGER => {
                std::thread::sleep(PAUSE);
            }
            outcome => return outcome.map_err(|error| fault(files, error)),
        }
    }
}

/// Reads some of every tree from both ends. What lies between shows when it is read; the storage
/// thread is then stuck, and health says so.
fn check(trees: &Trees, budget: Duration) -> Result<(), sled::Error> {
    let started = Instant::now();
    for tree in trees.all() {
        let backwards = tree.iter().rev().take(SAMPLE);
        for row in tree.iter().take(SAMPLE).chain(backwards) {
            row?;
            if started.elapsed() > budget {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tells what is wrong with the data from what is wrong around it.
fn fault(files: &Files, error: sled::Error) -> Fault {
    if is_locked(&error) {
        let (file, holder) = (files.sled_log(), None);
        return OpenError::Locked { file, holder }.into();
    }
    match error {
        sled::Error::Io(error) if !is_damage(&error) => io_error("open", &files.root)(error).into(),
        sled::Error::Unsupported(what) if what.contains("pagecache version") => {
            version(files, format!("of another sled ({what})"))
        }
        other => Damage::from(StoreError::from(other)).into(),
    }
}

fn version(files: &Files, found: String) -> Fault {
    let path = files.root.clone();
    let supported = FORMAT;
    OpenError::Version {
        path,
        found,
        supported,
    }
    .into()
}

/// sled has no variant for it. Our own lock is held by now, so it is another sled, or a leftover.
fn is_locked(error: &sled::Error) -> bool {
    let text = "could not acquire lock";
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with(text))
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_never_ends_is_damage() {
        let config = StoreConfig {
            check_deadline: Duration::from_millis(50),
            ..StoreConfig::new("somewhere")
        };
        let (steps, taken) = sync_channel(2);
        steps.send(Step::Opened).unwrap();
        let outcome = wait(&config, &taken);
        let Err(Fault::Damaged(Damage { detail, hung: true })) = outcome else {
            panic!("not taken for damage")
        };
        assert_eq!(detail, "a read did not return within 50ms");
    }
}
