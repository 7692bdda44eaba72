//! What is to be stored, in order: one store and one write through at a time, and what comes
//! meanwhile becomes the next.
//!
//! Stores and writes through do not wait for each other: the core's rules were checked with both
//! at random times. A roster is written before any promise that was asked for after it, since the
//! node's answers tell its size.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::keep::{Keep, KeepError};
use crate::BoxFuture;
use crate::proto::slots::rows::{Changes, Table, encode_roster};
use crate::proto::slots::{Eid, NodeId, Reign, SlotNo, Token, Write};

/// How soon a failed write is tried again, at first and at most.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Changes without anybody who waits go to the disk at the next tick, or when there are so many.
const MANY: usize = 4096;

/// Bytes of changes that may wait. Beyond them nothing that leads to more is taken.
const FULL: usize = 64 << 20;

/// What a change costs in memory besides its bytes.
const ROW: usize = 128;

/// A disk that does not take what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Instant,
    /// What it says.
    pub why: String,
}

/// Whether the disk takes what it is given: rows, and what is written through.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<[Option<Failing>; 2]>);

impl Health {
    /// The older of what fails.
    pub(super) fn failing(&self) -> Option<Failing> {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = failing.iter().flatten();
        all.min_by_key(|it| it.since).cloned()
    }

    fn set(&self, what: usize, error: Option<&KeepError>) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = failing[what].take();
        failing[what] = error.map(|error| Failing {
            since: old.map_or_else(Instant::now, |old| old.since),
            why: error.to_string(),
        });
    }
}

type Roster = (BTreeSet<NodeId>, BTreeSet<NodeId>);

/// The disk as the driver sees it.
pub(super) struct Disk {
    keep: Arc<dyn Keep>,
    health: Arc<Health>,
    changes: Changes,
    bytes: usize,
    stored: Vec<Token>,
    storing: Option<BoxFuture<'static, Vec<Token>>>,
    table: Table,
    roster: Option<Roster>,
    is_table_new: bool,
    synced: Vec<Token>,
    syncing: Option<BoxFuture<'static, Vec<Token>>>,
}

impl Disk {
    pub(super) fn new(keep: Arc<dyn Keep>, health: Arc<Health>, table: Table) -> Self {
        Self {
            keep,
            health,
            changes: Changes::default(),
            bytes: 0,
            stored: Vec::new(),
            storing: None,
            table,
            roster: None,
            is_table_new: false,
            synced: Vec::new(),
            syncing: None,
        }
    }

    /// Takes changes of a slot's log.
    pub(super) fn store(&mut self, slot: SlotNo, writes: &[Write], token: Option<Token>) {
        self.bytes += writes
            .iter()
            .map(|write| ROW + weight(write))
            .sum::<usize>();
        self.changes.add(slot, writes);
        self.stored.extend(token);
    }

    /// Takes a slot's promise and record.
    pub(super) fn sync(&mut self, slot: SlotNo, promise: Eid, record: Option<Reign>, token: Token) {
        self.table.set(slot, promise, record);
        self.is_table_new = true;
        self.synced.push(token);
    }

    /// Takes the roster.
    pub(super) fn roster(&mut self, roster: BTreeSet<NodeId>, forgotten: BTreeSet<NodeId>) {
        self.roster = Some((roster, forgotten));
    }

    /// Whether more waits than may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > FULL
    }

    /// Whether all that was taken is on the disk.
    pub(super) fn is_idle(&self) -> bool {
        let has_rows = !self.changes.is_empty() || !self.stored.is_empty();
        let has_table = self.is_table_new || self.roster.is_some();
        self.storing.is_none() && self.syncing.is_none() && !has_rows && !has_table
    }

    /// Begins what can be begun. With `all`, also what nobody waits for.
    pub(super) fn start(&mut self, all: bool) {
        let waited_for = !self.stored.is_empty() || self.changes.entries.len() >= MANY;
        if self.storing.is_none() && (waited_for || (all && !self.changes.is_empty())) {
            self.storing = Some(self.store_all());
        }
        if self.syncing.is_none() && (self.is_table_new || self.roster.is_some()) {
            self.syncing = Some(self.sync_all());
        }
    }

    fn store_all(&mut self) -> BoxFuture<'static, Vec<Token>> {
        let changes = Arc::new(std::mem::take(&mut self.changes));
        let tokens = std::mem::take(&mut self.stored);
        self.bytes = 0;
        let (keep, health) = (self.keep.clone(), self.health.clone());
        Box::pin(async move {
            // Without changes only a flush is waited for, and every store before has had its own.
            if !changes.is_empty() {
                until_done(&health, 0, || keep.store(changes.clone())).await;
            }
            tokens
        })
    }

    fn sync_all(&mut self) -> BoxFuture<'static, Vec<Token>> {
        let roster = self.roster.take();
        let roster: Option<Arc<[u8]>> =
            roster.map(|(roster, forgotten)| encode_roster(&roster, &forgotten).into());
        let table = std::mem::take(&mut self.is_table_new).then(|| self.table.encode().into());
        let table: Option<Arc<[u8]>> = table;
        let tokens = std::mem::take(&mut self.synced);
        let (keep, health) = (self.keep.clone(), self.health.clone());
        Box::pin(async move {
            if let Some(roster) = roster {
                until_done(&health, 1, || keep.roster(roster.clone())).await;
            }
            if let Some(table) = table {
                until_done(&health, 1, || keep.sync(table.clone())).await;
            }
            tokens
        })
    }

    /// Waits until something that was begun is done; returns what waited for it. Cancel-safe: what
    /// was begun is kept here.
    pub(super) async fn done(&mut self) -> Vec<Token> {
        poll_fn(|context| {
            for task in [&mut self.storing, &mut self.syncing] {
                if let Some(future) = task
                    && let Poll::Ready(tokens) = future.as_mut().poll(context)
                {
                    *task = None;
                    return Poll::Ready(tokens);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Tries for ever: nothing that depends on it has been sent, and rows are safe to repeat.
async fn until_done<'a>(
    health: &Health,
    what: usize,
    attempt: impl Fn() -> BoxFuture<'a, Result<(), KeepError>>,
) {
    let mut wait = RETRY;
    loop {
        match attempt().await {
            Ok(()) => {
                if wait > RETRY {
                    tracing::info!("the log of recoverable rooms is stored again");
                    health.set(what, None);
                }
                return;
            }
            Err(error) => {
                if wait == RETRY {
                    tracing::error!(%error, "the log of recoverable rooms cannot be stored; trying on");
                }
                health.set(what, Some(&error));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MOST);
            }
        }
    }
}

fn weight(write: &Write) -> usize {
    use crate::proto::slots::Body;
    match write {
        Write::Put(entry) => match &entry.body {
            Body::Event { room, id, payload } => {
                room.len() + id.len() + payload.as_ref().map_or(0, bytes::Bytes::len)
            }
            Body::Record { record, .. } => record.as_ref().map_or(0, |record| record.data.len()),
        },
        Write::Record(_, Some(kept)) => kept.record.data.len(),
        _ => 0,
    }
}
