//! A disk in memory, and a node on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::history::{Done, History, HistoryConfig, Keep, KeepError, Refused, Told, slot_by_name};
use crate::proto::slots::rows::{Changes, decode_roster, load};
use crate::proto::slots::{Body, Entry, Limits, NodeId, SlotNo};
use crate::{BoxFuture, Cluster};

/// What a disk holds.
#[derive(Debug, Default)]
struct Rows {
    entries: BTreeMap<(SlotNo, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    table: Option<Arc<[u8]>>,
    roster: Option<Arc<[u8]>>,
}

/// A disk that can be slow and can fail.
#[derive(Debug, Default)]
pub(super) struct Memory {
    rows: Mutex<Rows>,
    pub(super) fails: AtomicBool,
    pub(super) delay_us: AtomicU64,
    pub(super) stores: AtomicU64,
}

impl Memory {
    async fn write(&self, write: impl FnOnce(&mut Rows) + Send) -> Result<(), KeepError> {
        let delay = self.delay_us.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        if self.fails.load(Relaxed) {
            return Err(KeepError("the disk is full".into()));
        }
        write(&mut self.rows.lock().unwrap());
        Ok(())
    }
}

impl Keep for Memory {
    fn store(&self, changes: Arc<Changes>) -> BoxFuture<'_, Result<(), KeepError>> {
        self.stores.fetch_add(1, Relaxed);
        Box::pin(self.write(move |rows| {
            for (key, row) in &changes.entries {
                match row {
                    Some(row) => drop(rows.entries.insert(*key, row.clone())),
                    None => drop(rows.entries.remove(key)),
                }
            }
            for (key, value) in &changes.state {
                match value {
                    Some(value) => drop(rows.state.insert(key.clone(), value.clone())),
                    None => drop(rows.state.remove(key)),
                }
            }
        }))
    }

    fn sync(&self, table: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(self.write(move |rows| rows.table = Some(table)))
    }

    fn roster(&self, roster: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(self.write(move |rows| rows.roster = Some(roster)))
    }
}

/// What lasts of a node, and its present process.
pub(super) struct Host {
    pub(super) id: NodeId,
    boot: u64,
    pub(super) size: u64,
    pub(super) disk: Arc<Memory>,
}

impl Host {
    pub(super) fn new(id: u64, size: u64) -> Self {
        Self {
            id: NodeId(id),
            boot: 0,
            size,
            disk: Arc::default(),
        }
    }

    /// Starts from what the disk has.
    pub(super) fn start(&mut self, cluster: Option<Cluster>) -> Node {
        self.boot += 1;
        let rows = self.disk.rows.lock().unwrap();
        let entries = rows.entries.iter();
        let entries = entries.map(|((slot, seq), row)| (*slot, *seq, row.clone()));
        let stored = load(entries, rows.state.clone(), rows.table.as_deref()).unwrap();
        let roster = rows.roster.as_deref();
        let (roster, forgotten) =
            roster.map_or_else(Default::default, |roster| decode_roster(roster).unwrap());
        drop(rows);
        let config = HistoryConfig {
            node: self.id,
            boot: self.boot,
            size: self.size,
            window: Duration::from_secs(60),
            limits: Limits {
                keep_ms: 60_000,
                known_ms: 60_000,
                per_room: 10_000,
                marks: 1000,
            },
            stored,
            roster,
            forgotten,
            unclean: false,
            seed: self.id.0 * 1000 + self.boot,
            slot_of: slot_by_name(),
        };
        let (history, told) = History::start(config, self.disk.clone(), cluster);
        Node {
            history,
            told,
            boot: self.boot,
        }
    }
}

/// A process.
pub(super) struct Node {
    pub(super) history: History,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) boot: u64,
}

impl Node {
    /// Emits, again with the same id while nobody is there.
    pub(super) async fn emit(&self, room: &str, id: &str) -> Done {
        for _ in 0..5 {
            match self.try_emit(room, id).await {
                Ok(done) => return done,
                Err(Refused::Unavailable) => {}
                Err(other) => panic!("{other}"),
            }
        }
        panic!("no owner")
    }

    pub(super) async fn try_emit(&self, room: &str, id: &str) -> Result<Done, Refused> {
        let (room, id) = (bytes(room), bytes(id));
        let submitted = self.history.submit(room, id.clone(), id).await;
        submitted.await.map_err(|_| Refused::Closed)?
    }

    /// The payloads of the next so many entries.
    pub(super) async fn heard(&mut self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let told = tokio::time::timeout(Duration::from_secs(10), self.told.recv());
            match told.await.expect("in time").expect("the driver runs") {
                Told::Deliver { entries, .. } => heard.extend(entries.iter().map(|it| text(it))),
                Told::Cut { room, .. } => panic!("{room:?} is cut"),
                _ => {}
            }
        }
        heard
    }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An entry's payload.
pub(super) fn text(entry: &Entry) -> String {
    match &entry.body {
        Body::Event { payload, .. } => {
            String::from_utf8_lossy(payload.as_ref().map_or(b"", |it| &it[..])).into_owned()
        }
        Body::Record { .. } => String::new(),
    }
}
