//! Where shards and emitters ask for recovery: records of sockets, and the log behind them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use tidings_cluster::{
    History, Joining, Recovered, Refused, Submitted, Way, Written,
    proto::slots::{Body, Cursor as Positions, Entry, Home, NodeId, Pid, Presented, Record},
};
use tidings_storage::Store;

use super::{
    cursor::Cursor,
    event::{Logged, Unreadable},
    lost::Lost,
    record::Saved,
    room,
    session::{Back, Draft, Leaver, Missed, Opened, Returning, Start, Stored, record_slot},
    slot::{Offset, SlotNo},
};
use crate::{
    app::handler::{Admission, Refusal},
    event::EmitRequest,
    hub::Part,
    node::{Ids, Node},
    shard::machine::Reason,
};

/// The longest offset of an earlier `pid` that is remembered; ours are shorter.
const MAX_STALE: usize = 256;

/// Recovery as the rest of the node sees it.
pub(crate) struct Desk {
    store: Store,
    history: History,
    /// Who this is in records.
    home: Home,
    connections: AtomicU64,
    /// How long a client may be away.
    window: Duration,
    /// Records of sockets that ended for good and are about to be deleted.
    ended: Mutex<HashSet<Arc<str>>>,
    /// Those whose owner could not be told that they are left: one that is thought to be held would
    /// never end.
    owed: Mutex<Vec<Leaver>>,
    lost: Lost,
}

impl Desk {
    /// A desk over an open store and log; `node` and `boot` are how others know this one.
    pub(crate) fn new(
        store: Store,
        history: History,
        (node, boot): (NodeId, u64),
        window: Duration,
    ) -> Self {
        Self {
            store,
            history,
            home: Home {
                node,
                boot,
                connection: 0,
            },
            connections: AtomicU64::new(0),
            window,
            ended: Mutex::default(),
            owed: Mutex::default(),
            lost: Lost::default(),
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// This node's id in the log.
    pub(crate) fn node(&self) -> NodeId {
        self.home.node
    }

    /// The log.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Clients that may come back.
    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Whether recovery is offered at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.window.is_zero()
    }

    /// How long a client may be away.
    pub(crate) fn window(&self) -> Duration {
        self.window
    }

    /// Puts an event into the history of one room. Those submitted one after the other are ordered
    /// so; the answer comes when it is kept.
    pub(crate) async fn submit(&self, request: &EmitRequest, part: &Part, id: &str) -> Submitted {
        // One emit to several rooms is one entry in each.
        let id = match request.rooms.len() {
            0 | 1 => Bytes::copy_from_slice(id.as_bytes()),
            _ => format!("{id} {}", part.room).into(),
        };
        let except = part.except.iter().map(|room| &**room);
        let payload = Logged::encode(except, &request.event);
        let room = room::key(&request.namespace, &part.room);
        self.history.submit(room, id, payload).await
    }

    /// How a socket starts: from the record of the `pid` it presents, else with a new one.
    pub(crate) async fn open(
        &self,
        node: &Node,
        namespace: &str,
        admission: &Admission,
        (pid, offset): (Option<String>, Option<String>),
    ) -> Result<Opened, Refusal> {
        if let Some(pid) = pid.filter(|pid| Ids::is_pid(pid))
            && !self.ended().contains(&*pid)
            && let Some(returning) = self
                .take(namespace, admission, pid.into(), offset.clone())
                .await?
        {
            return Ok(Opened::Returning(Box::new(returning)));
        }
        Ok(self.fresh(node, offset))
    }

    /// A new record for a client that presents no known one.
    pub(crate) fn fresh(&self, node: &Node, offset: Option<String>) -> Opened {
        let stale = offset.filter(|offset| offset.len() <= MAX_STALE);
        let (pid, home) = (node.ids.pid(), self.new_home());
        Opened::Fresh { pid, home, stale }
    }

    fn new_home(&self) -> Home {
        Home {
            connection: self.connections.fetch_add(1, Relaxed) + 1,
            ..self.home
        }
    }

    /// Takes a record over for a new connection; none if it is not for this client.
    async fn take(
        &self,
        namespace: &str,
        admission: &Admission,
        pid: Arc<str>,
        offset: Option<String>,
    ) -> Result<Option<Returning>, Refusal> {
        let user = admission.user.as_deref();
        let (slot, home) = (record_slot(user, &pid), self.new_home());
        let written = offset.as_deref().and_then(|text| {
            let cursor = Cursor::decode(text).ok()?;
            Some((text.to_owned().into(), cursor.written(slot)?))
        });
        let taken = self.history.take(slot, name(&pid), home, written).await;
        let taken = match taken {
            Ok(taken) => taken,
            // It will not be answered soon; without recovery the client gets in.
            Err(Refused::Unavailable) if self.history.is_failing().is_some() => return Ok(None),
            Err(Refused::Unavailable) => return Err(Refusal::Passing(Reason::Unavailable)),
            Err(Refused::Closed) => return Err(Refusal::Passing(Reason::ShuttingDown)),
            Err(_) => return Ok(None),
        };
        let saved = Saved::decode(&taken.record.data).ok();
        let is_theirs =
            |saved: &Saved| saved.namespace == namespace && saved.user == user.unwrap_or_default();
        let Some(saved) = saved.filter(is_theirs) else {
            // Its own client may still come.
            let home = (slot, home);
            self.left(Leaver {
                pid,
                home,
                keep: true,
            })
            .await;
            return Ok(None);
        };
        Ok(Some(Returning {
            pid,
            sid: saved.sid,
            rooms: saved.rooms,
            record: taken.record,
            taken: Written {
                position: taken.position,
                kept: taken.kept,
            },
            offset,
            admission: admission.clone(),
        }))
    }

    /// Lets a room be fed to this node. Asked for at once: what is submitted here from now on is not
    /// missed, if this node owns the room.
    pub(crate) fn listen(&self, namespace: &str, name: &str) -> Joining {
        self.history.listen(room::key(namespace, name))
    }

    /// Waits until rooms are fed that a socket has joined and that have no start yet, and writes its
    /// record, if it has one.
    pub(crate) async fn keep(
        &self,
        draft: Option<Draft>,
        unstarted: Vec<(String, Joining)>,
    ) -> Stored {
        let joined = unstarted.into_iter().map(async |(name, joining)| {
            let listening = joining.answered().await?;
            let at = listening.at();
            Ok((name, Start { at, listening }))
        });
        let joined = join_all(joined).await.into_iter();
        let starts: Vec<(String, Start)> = match joined.collect() {
            Ok(starts) => starts,
            Err(Refused::Closed) => return Stored::Failed(Reason::ShuttingDown),
            Err(_) => return Stored::Failed(Reason::Unavailable),
        };
        let Some(draft) = draft else {
            let written = None;
            return Stored::Kept { starts, written };
        };
        let (slot, pid) = (draft.slot, name(&draft.pid));
        let before = (draft.taken, draft.last);
        let record = record(draft, &starts);
        match self.history.put(slot, pid, record, before).await {
            Ok(written) => Stored::Kept {
                starts,
                written: Some(written),
            },
            Err(Refused::Lost) => Stored::Lost,
            Err(Refused::Closed) => Stored::Failed(Reason::ShuttingDown),
            Err(error) => {
                tracing::warn!(%error, "a recovery record could not be kept");
                Stored::NotKept { starts }
            }
        }
    }

    /// Reads what the socket of a record missed. It is a member of all its rooms, and holds what
    /// arrives.
    pub(crate) async fn read(&self, node: &Node, returning: Box<Returning>) -> Stored {
        let Returning { record, offset, .. } = &*returning;
        let text = offset
            .as_ref()
            .map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let cursor = offset.as_deref().map(Cursor::decode);
        let positions: Positions = match &cursor {
            Some(Ok(cursor)) => cursor.iter().collect(),
            _ => Positions::new(),
        };
        let presented = match (&text, &cursor) {
            (Some(text), Some(Ok(_))) => Presented::Offset(text, &positions),
            (Some(text), Some(Err(_))) => Presented::Unreadable(text),
            _ => Presented::Nothing,
        };
        match self.history.recover(record, presented).await {
            Way::Recovered(recovered) => match back(&returning, *recovered) {
                Ok(back) => Stored::Recovered(Box::new(back)),
                Err(error) => {
                    tracing::error!(%error, "a client cannot be recovered");
                    self.refused(node, returning).await
                }
            },
            Way::Refused => self.refused(node, returning).await,
            Way::Failed => Stored::Failed(Reason::Unavailable),
        }
    }

    /// It cannot be proved what a client missed: its record goes, and it starts anew.
    async fn refused(&self, node: &Node, returning: Box<Returning>) -> Stored {
        let Returning {
            pid,
            record,
            offset,
            admission,
            ..
        } = *returning;
        let slot = record_slot(admission.user.as_deref(), &pid);
        self.left(Leaver {
            pid,
            home: (slot, record.home),
            keep: false,
        })
        .await;
        let opened = self.fresh(node, offset);
        Stored::Refused(Box::new((admission, opened)))
    }

    /// A socket with a record has ended for good. Said at once: its client may be told of the end,
    /// and come back, before [`Desk::left`] has deleted the record.
    pub(crate) fn end(&self, pid: &Arc<str>) {
        self.ended().insert(pid.clone());
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is left: it stays for the window, or goes.
    pub(crate) async fn left(&self, leaver: Leaver) {
        let Leaver {
            ref pid,
            home: (slot, home),
            keep,
        } = leaver;
        let done = match keep {
            true => self.history.leave(slot, name(pid), home).await,
            false => self.history.delete(slot, name(pid), home).await,
        };
        if let Err(Refused::Unavailable) = done {
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            return owed.push(leaver);
        }
        // Otherwise it is done, or another connection has it, or it was never written.
        if !keep {
            self.ended().remove(pid);
        }
    }

    /// Says again what could not be said; called every few seconds.
    pub(crate) async fn settle(&self) {
        let owed = {
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *owed)
        };
        self.all_left(owed).await;
    }

    /// Several records are left. Told together, so that they share what must be written to the disk.
    pub(crate) async fn all_left(&self, leavers: Vec<Leaver>) {
        join_all(leavers.into_iter().map(|leaver| self.left(leaver))).await;
    }
}

fn name(pid: &str) -> Pid {
    Bytes::copy_from_slice(pid.as_bytes())
}

/// The record that a draft makes with these starts besides its own.
fn record(draft: Draft, starts: &[(String, Start)]) -> Record {
    let mut rooms = draft.rooms;
    rooms.extend(starts.iter().map(|(_, start)| start.place()));
    Record {
        home: draft.home,
        change: draft.change,
        rooms,
        stale: draft.stale.map(Bytes::from),
        gone_ms: None,
        data: draft.data.into(),
    }
}

/// What a socket is given that comes back.
fn back(returning: &Returning, recovered: Recovered) -> Result<Back, Unreadable> {
    let mut entries = Vec::with_capacity(recovered.entries.len());
    for entry in &recovered.entries {
        if let Some(missed) = missed(entry, returning)? {
            entries.push((entry.at_ms, missed));
        }
    }
    let starts = recovered.guards.into_iter().filter_map(|listening| {
        let at = recovered.rooms.get(listening.room())?.1;
        let name = room::parse(listening.room())?.1.to_owned();
        Some((name, Start { at, listening }))
    });
    let seen = recovered.seen.iter();
    let seen = seen.filter_map(|(key, at)| Some((room::parse(key)?.1.to_owned(), *at)));
    Ok(Back {
        before: recovered.before.into_iter().collect(),
        entries: by_time(entries),
        after: recovered.after.into_iter().collect(),
        seen: seen.collect(),
        starts: starts.collect(),
    })
}

/// What of an entry the socket is given; nothing if it was left out.
fn missed(entry: &Entry, returning: &Returning) -> Result<Option<Missed>, Unreadable> {
    let Body::Event {
        room,
        payload: Some(payload),
        ..
    } = &entry.body
    else {
        return Ok(None);
    };
    let Some((slot, _)) = returning.record.rooms.get(room) else {
        return Ok(None);
    };
    let Logged { except, event } = Logged::decode(payload)?;
    let is_out = except
        .iter()
        .any(|out| *out == returning.sid || returning.rooms.contains(out));
    Ok((!is_out).then(|| Missed {
        offset: Offset {
            slot: *slot,
            position: entry.position,
        },
        event,
    }))
}

/// Merges events that are sorted by slot. One with an earlier time than one before it in its slot,
/// by another owner's clock, keeps its place behind that.
fn by_time(missed: Vec<(u64, Missed)>) -> Vec<Missed> {
    let mut latest = BTreeMap::<SlotNo, u64>::new();
    let mut timed: Vec<_> = missed
        .into_iter()
        .map(|(at_ms, missed)| {
            let latest = latest.entry(missed.offset.slot).or_default();
            *latest = at_ms.max(*latest);
            (*latest, missed)
        })
        .collect();
    timed.sort_by_key(|(at_ms, _)| *at_ms);
    timed.into_iter().map(|(_, missed)| missed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Event,
        recovery::slot::{Eid, Position},
    };

    fn at(slot: SlotNo, seq: u64, at_ms: u64) -> (u64, Missed) {
        let event = Event {
            name: format!("{slot} {seq}"),
            args: Vec::new(),
            attachments: Vec::new(),
        };
        let eid = Eid::default();
        let position = Position { eid, seq };
        let offset = Offset { slot, position };
        (at_ms, Missed { offset, event })
    }

    #[test]
    fn events_of_several_slots_come_in_the_order_of_their_times() {
        let missed = vec![
            at(1, 1, 10),
            at(1, 2, 5),
            at(1, 3, 30),
            at(2, 1, 8),
            at(2, 2, 20),
        ];
        let names: Vec<_> = by_time(missed)
            .into_iter()
            .map(|missed| missed.event.name)
            .collect();
        assert_eq!(names, ["2 1", "1 1", "1 2", "2 2", "1 3"]);
    }
}
