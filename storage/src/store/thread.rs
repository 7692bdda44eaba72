//! The storage thread: takes what is queued, applies it, flushes once if any of it must last, then
//! answers. Everything that touches sled after opening runs here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::embedded::trees::Trees;
use crate::error::StoreError;
use crate::files::{self, Files, State, free_bytes};
use crate::open::Opened;
use crate::open::lock::freed;
use crate::store::pulse::Pulse;

/// Most calls that share one flush. Bounds how long the first of them waits for the last.
const GROUP: usize = 256;

/// How often an idle thread looks at the disk.
const TICK: Duration = Duration::from_secs(1);

/// How old the last look at the disk may be when a write is judged by it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Below the reserve puts are refused; removals go on down to this part of it, as logging out must
/// work on a full disk and shrinks the store in time.
const REMOVAL_RESERVE: u64 = 4;

/// What a call does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Put {
        durable: bool,
    },
    Remove {
        durable: bool,
    },
    /// Ends the thread.
    Close,
}

impl Effect {
    fn is_durable(self) -> bool {
        matches!(
            self,
            Effect::Put { durable: true } | Effect::Remove { durable: true }
        )
    }
}

/// Sends a call's answer, or the error that overtook it.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Does a call, or is told why not. Gives back how it failed, if it did, and how to answer.
pub(crate) type Work =
    Box<dyn FnOnce(Result<Ground<'_>, StoreError>) -> (Option<StoreError>, Answer) + Send>;

/// What a call may work on.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) trees: &'a Trees,
    pub(crate) files: &'a Files,
}

/// One call on its way.
pub(crate) struct Job {
    pub(crate) effect: Effect,
    pub(crate) work: Work,
}

/// Runs until closed or until every handle is gone.
pub(crate) fn run(opened: Opened, jobs: &Receiver<Job>) {
    let pulse = opened.trees.pulse.clone();
    let mut thread = Thread {
        opened,
        pulse,
        looked: None,
        told: false,
    };
    loop {
        thread.look_at_disk(TICK);
        thread.pulse.rest();
        let first = match jobs.recv_timeout(TICK) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        thread.pulse.beat();
        if let Some(closing) = thread.group(first, jobs) {
            let outcome = thread.close(true);
            closing(outcome);
            return;
        }
    }
    if let Err(error) = thread.close(false) {
        tracing::error!(%error, "storage was dropped without being closed, and its flush failed");
    }
}

struct Thread {
    opened: Opened,
    pulse: Arc<Pulse>,
    /// When free space was last read.
    looked: Option<Instant>,
    /// Whether the log was told that the disk is nearly full.
    told: bool,
}

impl Thread {
    /// One group commit. Returns how to answer the call that closes the store, if one came; calls
    /// queued behind it are answered by the drop of the queue.
    fn group(&mut self, first: Job, jobs: &Receiver<Job>) -> Option<Answer> {
        let mut answers = Vec::new();
        let mut closing = None;
        let queued = std::iter::once(first).chain(jobs.try_iter().take(GROUP - 1));
        for job in queued {
            let (must_last, answer) = self.apply(job.effect, job.work);
            if job.effect == Effect::Close {
                closing = Some(answer);
                break;
            }
            answers.push((must_last, answer));
        }
        let durable = answers.iter().any(|(must_last, _)| *must_last);
        let flushed = if durable { self.flush() } else { Ok(()) };
        for (must_last, answer) in answers {
            answer(if must_last { flushed.clone() } else { Ok(()) });
        }
        closing
    }

    /// Does one call. Says whether it made a change that must last.
    fn apply(&mut self, effect: Effect, work: Work) -> (bool, Answer) {
        self.pulse.beat();
        self.pulse.count_call();
        if let Err(refusal) = self.admit(effect) {
            return (false, work(Err(refusal)).1);
        }
        let Opened { trees, files, .. } = &self.opened;
        let (error, answer) = work(Ok(Ground { trees, files }));
        if let Some(StoreError::Failed { reason }) = &error {
            self.pulse.fail(reason);
        }
        (effect.is_durable() && error.is_none(), answer)
    }

    fn admit(&mut self, effect: Effect) -> Result<(), StoreError> {
        if let (Some(reason), false) = (self.pulse.failure(), effect == Effect::Close) {
            return Err(StoreError::Failed {
                reason: reason.to_owned(),
            });
        }
        let (_, min_free) = self.pulse.space();
        let needed = match effect {
            Effect::Read | Effect::Close => return Ok(()),
            Effect::Put { .. } => min_free,
            Effect::Remove { .. } => min_free / REMOVAL_RESERVE,
        };
        self.look_at_disk(LOOK_EVERY);
        let (free, _) = self.pulse.space();
        if free < needed {
            return Err(StoreError::Full { free, needed });
        }
        Ok(())
    }

    fn look_at_disk(&mut self, every: Duration) {
        if self.looked.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.looked = Some(Instant::now());
        match free_bytes(&self.opened.files.root) {
            Ok(free) => {
                self.pulse.set_free(free);
                self.tell(free);
            }
            Err(error) => tracing::warn!(%error, "cannot read how much disk is free"),
        }
    }

    /// Tells the log that the disk is nearly full, and that it is not any more; not each time that what
    /// is free passes the bound.
    fn tell(&mut self, free: u64) {
        let (_, needed) = self.pulse.space();
        if free < needed && !self.told {
            self.told = true;
            tracing::error!(
                free,
                needed,
                "the disk is nearly full: only removals are taken"
            );
        } else if self.told && free >= needed.saturating_add(needed / 4) {
            self.told = false;
            tracing::info!(free, "there is room on the disk again: writes are taken");
        }
    }

    /// A panic in sled must not take the thread along; it fails the store instead.
    fn flush(&self) -> Result<(), StoreError> {
        self.pulse.beat();
        self.pulse.count_flush();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.opened.trees.flush()))
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        if let Err(StoreError::Failed { reason }) = &outcome {
            self.pulse.fail(reason);
        }
        outcome
    }

    /// Flushes, frees sled's lock and, if `clean` and nothing failed, says so for the next start.
    fn close(self, clean: bool) -> Result<(), StoreError> {
        if let Some(reason) = self.pulse.failure() {
            let reason = reason.to_owned();
            // sled may block for ever in its drop after a failure; the process is about to end.
            std::mem::forget(self.opened);
            return Err(StoreError::Failed { reason });
        }
        self.flush()?;
        self.pulse.beat();
        let Opened {
            trees,
            files,
            lock,
            boot_id,
        } = self.opened;
        drop(trees);
        let synced = sync(&files, clean.then_some(boot_id));
        drop(lock);
        self.pulse.rest();
        synced.map_err(|error| StoreError::Failed {
            reason: format!("cannot close: {error}"),
        })
    }
}

/// Waits until sled's background threads let go of the log, then marks the stop as clean.
fn sync(files: &Files, boot_id: Option<String>) -> std::io::Result<()> {
    if !freed(&files.sled_log())? {
        return Err(std::io::Error::other("sled still holds its log"));
    }
    std::fs::File::open(files.sled_log())?.sync_all()?;
    match boot_id {
        Some(boot_id) => State {
            boot_id,
            clean: true,
        }
        .write(files),
        None => files::sync_folder_of(&files.state()),
    }
}

/// What a caught panic said.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let reason = format!(
        "sled panicked: {}",
        text.as_deref().unwrap_or("without a message")
    );
    StoreError::Failed { reason }
}
