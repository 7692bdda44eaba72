//! The one task that owns the log: it puts appends in order, makes them last, feeds them, answers.
//!
//! Appends that arrive while a batch is being flushed wait in the queue and become the next batch.
//! Reads are answered between batches.
//!
//! **No gap and no repeat.** A socket that subscribes or comes back first joins its rooms in its
//! shard, and only then asks here for a position *P*. An entry is given to [`Dispatch`] by this task
//! after its commit, in the order of the log, and before any later question is answered. So when *P*
//! is read, each entry up to *P* has been dispatched already, and none above it has.
//!
//! - *Coming back.* The socket holds what arrives live, bounded, until it has sent CONNECT and the
//!   replay, which is all up to *P* that it lacks. Then it sends what it held, and all that follows,
//!   but for entries up to *P*: those were in the mailbox at the join, and are in the replay or were
//!   seen before. Entries above *P* were dispatched after the join, so none is missing.
//! - *Subscribing.* Nothing is held: entries of the room are sent live from the join on, in the order
//!   of the slot, and *P* becomes the room's start. One up to *P* may come early, which harms nobody.
//!   To hold the new room alone would be wrong: another room of the slot would take the cursor past
//!   what is held, and a drop in between would lose it.
//!
//! **Back-pressure.** [`Dispatch`] may wait for a shard's mailbox. Meanwhile the queue here fills, and
//! then emitters wait. A shard must not stop emptying its mailbox while it waits for an answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidings_storage::StoreError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::journal::{Journal, write_all};
use super::log::{Append, Appended, Entry, Log, RoomKey, Size};
use super::record::{NotRecoverable, Record};
use super::replay::{Replay, replay};
use super::slot::Position;

/// Commands that wait. When it is full, whoever sends waits.
const QUEUE: usize = 1024;

/// Commands taken in one turn at most; bounds how long the first append waits for the last.
const TURN: usize = 1024;

/// Bytes after which a batch takes no more appends.
const BATCH_BYTES: usize = 4 << 20;

/// Well below the time that entries are kept.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Where committed entries go.
pub trait Dispatch: Send + Sync + 'static {
    /// Hands an entry to the shards that have members of its room; returns when all have taken it.
    fn dispatch(&self, entry: Arc<Entry>) -> impl Future<Output = ()> + Send;
}

/// Why an append was not answered with a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It was not fed to anyone. Whether it is kept is unknown: repeat it with its id.
    #[error("the event could not be stored: {0}")]
    Store(#[from] StoreError),
    /// The node is stopping. If it was taken before, as with `Store`; else nothing was changed.
    #[error("the log is closed")]
    Closed,
}

/// Why a socket was not recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be proved what it missed.
    #[error(transparent)]
    NotRecoverable(#[from] NotRecoverable),
    /// The node is stopping; the client should try again.
    #[error("the log is closed")]
    Closed,
}

/// The log is closed as the node is stopping. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed")]
pub struct Closed;

/// How an append is answered, once.
pub type AppendAnswer = oneshot::Receiver<Result<Appended, AppendError>>;

enum Command {
    Append(Append, oneshot::Sender<Result<Appended, AppendError>>),
    Read(Read),
}

/// What is answered from committed entries alone.
enum Read {
    Replay(
        Box<Record>,
        Option<String>,
        oneshot::Sender<Result<Replay, NotRecoverable>>,
    ),
    Positions(Vec<RoomKey>, oneshot::Sender<Vec<Position>>),
    Size(oneshot::Sender<Size>),
}

/// A way to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for Command {
    /// Names only: commands hold payloads and secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Append(..) => "Append",
            Self::Read(_) => "Read",
        })
    }
}

impl LogHandle {
    /// Appends an event; answers when it is on the disk and has been fed.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let answer = self
            .submit(append)
            .await
            .map_err(|Closed| AppendError::Closed)?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Queues an append. Those queued one after the other are ordered so, and may be under way
    /// together.
    pub async fn submit(&self, append: Append) -> Result<AppendAnswer, Closed> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Append(append, answer)).await?;
        Ok(answered)
    }

    /// What a returning socket missed. It must be in its rooms already, see the module's head.
    pub async fn replay(
        &self,
        record: Record,
        offset: Option<String>,
    ) -> Result<Replay, ReplayError> {
        let (answer, answered) = oneshot::channel();
        let command = Read::Replay(Box::new(record), offset, answer);
        self.send(Command::Read(command))
            .await
            .map_err(|Closed| ReplayError::Closed)?;
        Ok(answered.await.map_err(|_| ReplayError::Closed)??)
    }

    /// Up to where the log of each room is, in their order: the starts of a socket that has just
    /// joined them.
    pub async fn positions(&self, rooms: Vec<RoomKey>) -> Result<Vec<Position>, Closed> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Read(Read::Positions(rooms, answer)))
            .await?;
        answered.await.map_err(|_| Closed)
    }

    /// What the log holds.
    pub async fn size(&self) -> Result<Size, Closed> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Read(Read::Size(answer))).await?;
        answered.await.map_err(|_| Closed)
    }

    async fn send(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).await.map_err(|_| Closed)
    }
}

/// The task's state.
pub struct Committer<J, D, C> {
    /// What it owns.
    log: Log,
    /// Where batches are kept.
    journal: J,
    /// Where committed entries go.
    dispatch: D,
    /// Unix milliseconds.
    clock: C,
    /// What is asked of it.
    commands: mpsc::Receiver<Command>,
    /// How often old entries are looked for.
    trim_every: Duration,
    /// The last write of what can wait failed; said once, not each second.
    is_behind: bool,
}

/// An append that is answered when its batch is.
struct Waiting {
    appended: Appended,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

impl<J: Journal, D: Dispatch, C: Fn() -> u64 + Send + 'static> Committer<J, D, C> {
    /// Takes the log over. Nothing happens until it is run.
    pub fn new(log: Log, journal: J, dispatch: D, clock: C) -> (Self, LogHandle) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let committer = Self {
            log,
            journal,
            dispatch,
            clock,
            commands,
            trim_every: TRIM_EVERY,
            is_behind: false,
        };
        (committer, LogHandle { commands: sender })
    }

    /// Serves until `shutdown`, or until no handle is left. What is queued then is still done.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(self.trim_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // All three are cancel-safe.
            tokio::select! {
                () = shutdown.cancelled(), if !self.commands.is_closed() => self.commands.close(),
                command = self.commands.recv() => match command {
                    Some(first) => self.handle_commands(first).await,
                    None => break,
                },
                _ = tick.tick() => self.handle_tick().await,
            }
        }
        self.finish().await;
    }

    /// One turn: what is queued, with at most one flush.
    async fn handle_commands(&mut self, first: Command) {
        let now_ms = (self.clock)();
        let mut waiting = Vec::new();
        let (mut taken, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Append(append, answer) => {
                    bytes += append.cost();
                    let appended = self.log.append(now_ms, append);
                    waiting.push(Waiting { appended, answer });
                }
                Command::Read(read) => self.handle_read(read),
            }
            taken += 1;
            let is_full = taken >= TURN || bytes >= BATCH_BYTES;
            next = if is_full {
                None
            } else {
                self.commands.try_recv().ok()
            };
        }
        if !waiting.is_empty() {
            self.flush(waiting).await;
        }
    }

    /// Answers from what is committed. Whoever asked may have gone.
    fn handle_read(&self, read: Read) {
        match read {
            Read::Replay(record, offset, answer) => {
                let _ = answer.send(replay(&self.log, &record, offset.as_deref()));
            }
            Read::Positions(rooms, answer) => {
                let heads = rooms
                    .iter()
                    .map(|room| self.log.head(room.slot()))
                    .collect();
                let _ = answer.send(heads);
            }
            Read::Size(answer) => {
                let _ = answer.send(self.log.size());
            }
        }
    }

    async fn flush(&mut self, waiting: Vec<Waiting>) {
        let outcome = self.write().await;
        if let Err(error) = &outcome {
            tracing::error!(%error, "recoverable events could not be stored");
        }
        for Waiting { appended, answer } in waiting {
            // A repeat of what an earlier batch committed has not failed with this one.
            let is_committed = self.log.is_committed(appended.offset);
            let _ = answer.send(match &outcome {
                Err(error) if !is_committed => Err(AppendError::Store(error.clone())),
                _ => Ok(appended),
            });
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.log.take_batch() else {
            return Ok(());
        };
        if let Err(error) = self.journal.commit(batch).await {
            self.log.rollback();
            return Err(error);
        }
        for entry in self.log.commit() {
            self.dispatch.dispatch(entry).await;
        }
        Ok(())
    }

    /// One batch at most, so that a long clearing up does not keep appends waiting.
    async fn handle_tick(&mut self) {
        self.log.trim((self.clock)());
        let outcome = self.write().await;
        if let (Err(error), false) = (&outcome, self.is_behind) {
            tracing::warn!(%error, "trimming of recoverable rooms could not be stored");
        }
        self.is_behind = outcome.is_err();
    }

    async fn finish(mut self) {
        if let Err(error) = write_all(&mut self.log, &self.journal).await {
            tracing::warn!(%error, "trimming of recoverable rooms was not stored at the stop");
        }
    }
}

#[cfg(test)]
mod tests;
