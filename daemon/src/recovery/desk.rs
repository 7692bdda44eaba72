//! Where shards and emitters ask for recovery: the store's records and the log's handle together.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidings_storage::{Store, StoreError};

use super::{
    committer::{AppendAnswer, Dispatch, LogHandle, ReplayError},
    log::{Append, Entry, RoomKey},
    record::Record,
    session::{Missed, Opened, Stored},
    slot::Offset,
};
use crate::{
    app::handler::Admission,
    event::{EmitRequest, Event},
    hub::{EmitError, Hub, Part},
    node::{Node, now_ms},
    shard::machine::Reason,
};

/// How often a record's take-over is tried when its old home writes at the same time.
const TAKE_TRIES: usize = 3;

/// Recoveries of one user within a minute that do not count against the address.
const FREE_RECOVERIES: u32 = 30;

/// The longest offset of an earlier `pid` that is remembered; ours are shorter.
const MAX_STALE: usize = 256;

/// Addresses, and losses of each, that are remembered.
const MAX_EXPECTED: usize = 100_000;
const MAX_EXPECTED_EACH: usize = 1000;

/// Records refreshed in one call to the store.
const TOUCHED_AT_ONCE: usize = 1000;

/// Recovery as the rest of the node sees it.
pub(crate) struct Desk {
    store: Store,
    log: LogHandle,
    /// How long a client may be away.
    window: Duration,
    /// The records of sockets that are here, and the version that each had last: so that a late
    /// word of an old socket's end does not touch its successor's.
    live: Mutex<HashMap<String, u64>>,
    /// Records of sockets that ended for good and are about to be deleted.
    ended: Mutex<HashSet<String>>,
    /// Recoveries by user in the current minute, and which minute it is.
    free: Mutex<(u64, HashMap<Arc<str>, u32>)>,
    /// Until when lost connections of an address may come back beyond its limit.
    expected: Mutex<HashMap<IpAddr, VecDeque<u64>>>,
}

impl Desk {
    /// A desk over an open store and log.
    pub(crate) fn new(store: Store, log: LogHandle, window: Duration) -> Self {
        Self {
            store,
            log,
            window,
            live: Mutex::default(),
            ended: Mutex::default(),
            free: Mutex::default(),
            expected: Mutex::default(),
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The log's handle.
    pub(crate) fn log(&self) -> &LogHandle {
        &self.log
    }

    /// Whether recovery is offered at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.window.is_zero()
    }

    /// Puts an event into the history of one room. Those submitted one after the other are ordered
    /// so; the answer comes when it is kept and fed.
    pub(crate) async fn submit(
        &self,
        request: &EmitRequest,
        part: Part,
        id: &str,
    ) -> Result<AppendAnswer, EmitError> {
        // One emit to several rooms is one entry in each.
        let id = match request.rooms.len() {
            0 | 1 => id.to_owned(),
            _ => format!("{id} {}", part.room),
        };
        let room = RoomKey::new(&request.namespace, &part.room);
        let except = part.except.iter().map(|room| room.to_string()).collect();
        let append = Append::new(room, id.into(), except, request.event.to_bytes())
            .map_err(|error| EmitError::TooLong(error.to_string()))?;
        self.log
            .submit(append)
            .await
            .map_err(|_| EmitError::Draining)
    }

    /// How a socket starts: from the record of the `pid` it presents if that can be proved, else
    /// with a new one.
    pub(crate) async fn open(
        &self,
        node: &Node,
        namespace: &str,
        admission: &Admission,
        pid: Option<String>,
        offset: Option<String>,
    ) -> Opened {
        if let Some(pid) = &pid
            && !self.ended().contains(pid)
            && let Some(record) = self
                .take(node, namespace, admission, pid, offset.as_deref())
                .await
        {
            return Opened::Returning {
                record: Box::new(record),
                offset,
            };
        }
        self.fresh(node, offset)
    }

    /// A new record for a client that presents no known one.
    pub(crate) fn fresh(&self, node: &Node, offset: Option<String>) -> Opened {
        let stale = offset.filter(|offset| offset.len() <= MAX_STALE);
        let pid = node.ids.pid();
        Opened::Fresh { pid, stale }
    }

    /// Takes a record over for a new connection.
    async fn take(
        &self,
        node: &Node,
        namespace: &str,
        admission: &Admission,
        pid: &str,
        offset: Option<&str>,
    ) -> Option<Record> {
        for _ in 0..TAKE_TRIES {
            let mut record = self.record(pid).await?;
            let user = admission.user.as_deref().unwrap_or_default();
            if record.namespace != namespace || record.user != user {
                return None;
            }
            let replay = self
                .log
                .replay(record.clone(), offset.map(str::to_owned))
                .await
                .ok()?;
            record.start = replay.start;
            node.hub.release(pid).await;
            record.version += 1;
            record.home = node.home;
            record.session = admission.session.as_deref().unwrap_or_default().to_owned();
            match self.put(&record).await {
                Ok(()) => return Some(record),
                Err(StoreError::Stale { .. }) => {}
                Err(_) => return None,
            }
        }
        None
    }

    async fn record(&self, pid: &str) -> Option<Record> {
        let stored = self.store.record(pid).await.ok()??;
        if stored.expires_ms <= now_ms() {
            return None;
        }
        let mut record = Record::decode(&stored.value).ok()?;
        record.version = stored.version;
        Some(record)
    }

    /// Writes the record of a socket that has joined its rooms; `unstarted` are the recoverable
    /// ones that nothing is owed of yet.
    pub(crate) async fn keep(&self, mut record: Record, unstarted: Vec<String>) -> Stored {
        let keys = unstarted
            .iter()
            .map(|room| RoomKey::new(&record.namespace, room))
            .collect();
        let Ok(positions) = self.log.positions(keys).await else {
            return Stored::Failed(Reason::ShuttingDown);
        };
        let starts: Vec<_> = unstarted.into_iter().zip(positions).collect();
        record.start.extend(starts.iter().cloned());
        match self.put(&record).await {
            Ok(()) => Stored::Kept { starts },
            Err(StoreError::Stale { .. }) => Stored::Failed(Reason::Replaced),
            Err(error) => {
                tracing::warn!(%error, "a recovery record could not be kept");
                Stored::NotKept
            }
        }
    }

    /// Reads what the socket of a record missed.
    pub(crate) async fn read(&self, record: Box<Record>, offset: Option<String>) -> Stored {
        let replay = match self.log.replay(*record, offset).await {
            Ok(replay) => replay,
            // It was provable when the record was taken; the client's next try will be told.
            Err(ReplayError::NotRecoverable(_)) => return Stored::Failed(Reason::Unavailable),
            Err(ReplayError::Closed) => return Stored::Failed(Reason::ShuttingDown),
        };
        let missed = replay.entries.iter().map(|entry| {
            let event = Event::from_bytes(&entry.payload)?;
            Ok(Missed {
                offset: entry.offset(),
                event,
            })
        });
        let read = replay.position.iter().map(|(slot, position)| Offset {
            slot: *slot,
            position: *position,
        });
        match missed.collect::<Result<Vec<_>, crate::event::DamagedEvent>>() {
            Ok(entries) => Stored::Recovered {
                cursor: replay.cursor,
                entries,
                read: read.collect(),
            },
            Err(error) => {
                tracing::error!(%error, "the history holds an event that cannot be read");
                Stored::Failed(Reason::Unavailable)
            }
        }
    }

    /// A socket with a record has ended for good. Said at once: its client may be told of the end,
    /// and come back, before [`Desk::left`] has deleted the record.
    pub(crate) fn end(&self, pid: &str) {
        self.ended().insert(pid.to_owned());
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket with a record is gone: the record stays for the window, or goes.
    pub(crate) async fn left(&self, pid: String, version: u64, keep: bool) {
        self.change(&pid, version, keep).await;
        if !keep {
            self.ended().remove(&pid);
        }
    }

    async fn change(&self, pid: &str, version: u64, keep: bool) {
        {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            match live.get(pid) {
                Some(last) if *last <= version => live.remove(pid),
                _ => return,
            };
        }
        let done = if keep {
            let until = now_ms() + self.window.as_millis() as u64;
            self.store
                .touch_records(vec![(pid.to_owned(), until)])
                .await
        } else {
            self.store.delete_record(pid).await.map(drop)
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a recovery record could not be changed");
        }
    }

    /// Whether one more recovery of a user does not count against its address: those of an office
    /// after a restart do not, those of a client that loops do.
    pub(crate) fn is_free(&self, user: &Arc<str>) -> bool {
        let minute = now_ms() / 60_000;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.0 != minute {
            *free = (minute, HashMap::new());
        }
        let count = free.1.entry(user.clone()).or_default();
        *count += 1;
        *count <= FREE_RECOVERIES
    }

    /// A client of this address lost a connection that it can recover.
    pub(crate) fn expect_back(&self, ip: IpAddr) {
        let until = now_ms() + self.window.as_millis() as u64;
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.len() < MAX_EXPECTED || expected.contains_key(&ip) {
            let times = expected.entry(ip).or_default();
            times.push_back(until);
            if times.len() > MAX_EXPECTED_EACH {
                times.pop_front();
            }
        }
    }

    /// Whether a client of this address may be coming back; each loss is good for one try.
    pub(crate) fn redeem(&self, ip: IpAddr) -> bool {
        let now = now_ms();
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = expected.get_mut(&ip) else {
            return false;
        };
        while times.front().is_some_and(|until| *until <= now) {
            times.pop_front();
        }
        let redeemed = times.pop_back().is_some();
        if times.is_empty() {
            expected.remove(&ip);
        }
        redeemed
    }

    fn forget_expected(&self) {
        let now = now_ms();
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|_, times| times.back().is_some_and(|until| *until > now));
    }

    /// How often [`Desk::refresh`] must be called.
    pub(crate) fn refresh_every(&self) -> Duration {
        (self.window / 2).max(Duration::from_millis(100))
    }

    /// Prolongs the records of all sockets that are here.
    pub(crate) async fn refresh(&self) {
        self.forget_expected();
        let pids: Vec<String> = {
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.keys().cloned().collect()
        };
        let until = now_ms() + self.lease().as_millis() as u64;
        for some in pids.chunks(TOUCHED_AT_ONCE) {
            let touched = some.iter().map(|pid| (pid.clone(), until)).collect();
            if let Err(error) = self.store.touch_records(touched).await {
                tracing::warn!(%error, "recovery records could not be prolonged");
            }
        }
    }

    /// How long a record outlives its last write while its socket is here: if this node dies, the
    /// client has the window from then on, whenever the last refresh was.
    fn lease(&self) -> Duration {
        self.window + 2 * self.refresh_every()
    }

    async fn put(&self, record: &Record) -> Result<(), StoreError> {
        let until = now_ms() + self.lease().as_millis() as u64;
        let pid = record.pid.clone();
        self.store
            .put_record(pid.clone(), record.version, record.encode(), until)
            .await?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let last = live.entry(pid).or_default();
        *last = record.version.max(*last);
        Ok(())
    }
}

/// Feeds committed entries to the shards.
pub(crate) struct Feed(pub(crate) Arc<Hub>);

impl Dispatch for Feed {
    async fn dispatch(&self, entry: Arc<Entry>) {
        let name = entry.room.namespace();
        let (Some(namespace), Ok(event)) = (
            self.0.namespaces.intern(name),
            Event::from_bytes(&entry.payload),
        ) else {
            return;
        };
        let part = Part {
            namespace,
            room: entry.room.room().into(),
            except: entry
                .except
                .iter()
                .map(|room| room.as_str().into())
                .collect(),
        };
        self.0.feed(part, &event, name, entry.offset()).await;
    }
}
