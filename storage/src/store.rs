//! The handle, and how a call reaches the storage thread and comes back.

mod calls;
pub(crate) mod pulse;
mod recent;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
mod watch;

pub(crate) use recent::Keyed;
pub(crate) use thread::panicked;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::{Semaphore, oneshot};

use crate::embedded::{sessions::Session, shared::SharedSession};
use crate::error::{OpenError, StoreError};
use crate::open::{self, OpenReport, StoreConfig};
use pulse::Pulse;
use recent::Recent;
use thread::{Effect, Ground, Job};
use watch::Alarm;

/// Most calls under way at once. A further call waits for one of them to be answered.
const QUEUE: usize = 1024;

/// Why nothing works after the storage thread panicked outside of a call.
const ENDED: &str = "the storage thread panicked";

/// A cheap handle to the open store; clones share it.
///
/// Dropping the returned future of a call does not undo it: once queued, a write is applied.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// Bounded by `room`: each job carries a permit until it is answered.
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    pulse: Arc<Pulse>,
    /// Sessions that need no call.
    recent: Arc<Recent<Session>>,
    /// The same of MongoDB's.
    recent_shared: Arc<Recent<SharedSession>>,
    /// Rings when the thread gets stuck, so that nobody waits for it without end.
    alarm: Alarm,
    /// Joined by whoever closes the store.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whether the store does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// It answers, or will, but not everything works; says why.
    Degraded(String),
    /// It does not, and will not until the process is started again; says why.
    Failed(String),
}

/// What the store has done and has before it, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls that reached the storage thread.
    pub calls: u64,
    /// Flushes; calls that must last share them.
    pub flushes: u64,
    /// Calls under way now.
    pub under_way: usize,
    /// Bytes free on the store's disk when last looked, about once a second.
    pub free_bytes: u64,
}

impl Store {
    /// Opens the store in `config.path`, making it if there is none, and starts its thread.
    ///
    /// Blocks: once for each of open and check up to its deadline, twice if a damaged store is
    /// rebuilt, and for as long as the copy that is kept then makes progress.
    pub fn open(config: StoreConfig) -> Result<(Store, OpenReport), OpenError> {
        let path = config.path.clone();
        let (opened, report) = open::open(config)?;
        let store = Store::start(opened).map_err(|source| OpenError::Io {
            what: "start a thread for",
            path,
            source,
        })?;
        Ok((store, report))
    }

    fn start(opened: open::Opened) -> std::io::Result<Store> {
        let pulse = opened.trees.pulse.clone();
        let (jobs, queue) = channel();
        let (alarm, ringer) = watch::start(pulse.clone())?;
        let thread = Builder::new()
            .name("tidings-store".to_owned())
            .spawn(move || {
                let _ringer = ringer;
                let pulse = opened.trees.pulse.clone();
                if catch_unwind(AssertUnwindSafe(|| thread::run(opened, &queue))).is_err() {
                    pulse.fail(ENDED);
                }
            })?;
        let room = Arc::new(Semaphore::new(QUEUE));
        let thread = Mutex::new(Some(thread));
        Ok(Store {
            shared: Arc::new(Shared {
                jobs,
                room,
                pulse,
                recent: Arc::default(),
                recent_shared: Arc::default(),
                alarm,
                thread,
            }),
        })
    }

    /// How the store does, from what is known without asking it.
    pub fn health(&self) -> Health {
        let pulse = &self.shared.pulse;
        if let Some(reason) = pulse.failure() {
            return Health::Failed(format!("storage failed: {reason}"));
        }
        if pulse.is_stuck() {
            let still = pulse.still_for().as_secs();
            return Health::Degraded(format!("storage has not moved for {still} s"));
        }
        let (free, needed) = pulse.space();
        if free < needed {
            return Health::Degraded(format!(
                "disk nearly full: {free} bytes free, writes are refused below {needed}"
            ));
        }
        Health::Ok
    }

    /// What the store has done, from what is known without asking it.
    pub fn stats(&self) -> Stats {
        let (calls, flushes) = self.shared.pulse.counts();
        let under_way = QUEUE - self.shared.room.available_permits();
        Stats {
            calls,
            flushes,
            under_way,
            free_bytes: self.shared.pulse.space().0,
        }
    }

    /// Flushes, marks the stop as clean, ends the thread and frees the lock. Calls made after it,
    /// on any clone, get [`StoreError::Closed`]; so does a second close.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.call(Effect::Close, |_| Ok(())).await?;
        let thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The answer was the thread's last act, so this does not wait; its panics are caught.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Takes a call to the storage thread and waits for the answer.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        effect: Effect,
        work: impl FnOnce(Ground<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = &self.shared;
        let room = tokio::select! {
            biased;
            () = shared.alarm.ringing() => return Err(StoreError::Stuck),
            room = shared.room.clone().acquire_owned() => room.map_err(|_| StoreError::Closed)?,
        };
        if effect == Effect::Close {
            shared.room.close();
        }
        let (answer, answered) = oneshot::channel();
        let job = Job {
            effect,
            work: Box::new(move |ground| {
                let outcome = ground.and_then(|ground| {
                    catch_unwind(AssertUnwindSafe(|| work(ground)))
                        .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
                });
                let error = outcome.as_ref().err().cloned();
                let answer = Box::new(move |flushed: Result<(), StoreError>| {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.send(outcome.and_then(|value| flushed.map(|()| value)));
                    drop(room);
                });
                (error, answer)
            }),
        };
        shared.jobs.send(job).map_err(|_| self.gone(effect))?;
        tokio::select! {
            biased;
            outcome = answered => outcome.unwrap_or_else(|_| Err(self.gone(effect))),
            () = shared.alarm.ringing() => Err(StoreError::Stuck),
        }
    }

    /// Why there is no thread to answer.
    fn gone(&self, effect: Effect) -> StoreError {
        let closed = self.shared.room.is_closed() && effect != Effect::Close;
        match self.shared.pulse.failure() {
            None if closed => StoreError::Closed,
            failure => StoreError::Failed {
                reason: failure.unwrap_or(ENDED).to_owned(),
            },
        }
    }
}
