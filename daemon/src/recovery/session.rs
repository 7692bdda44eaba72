//! What a shard keeps for a socket in recoverable rooms, and what the control plane does for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidings_cluster::{
    Listening, Written,
    proto::slots::{Home, Record, Room},
};

use tokio::sync::oneshot;

use super::{
    cursor::Cursor,
    slot::{Offset, Position, SlotNo, slot_of_tag},
};
use crate::{
    app::handler::Admission, event::Event, protocol::frame::Frame, shard::machine::Reason,
};

/// How a socket that may come in starts.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Without recovery: its namespace has none, or the client wants none.
    Plain,
    /// With a new record.
    Fresh {
        /// The name under which the client may come back.
        pid: Arc<str>,
        /// The connection, as the record names it.
        home: Home,
        /// The offset it presented, which belongs to an earlier name.
        stale: Option<String>,
    },
    /// From a record that this connection has taken over.
    Returning(Box<Returning>),
}

/// A client that came back, and the record that this connection has taken over.
#[derive(Debug)]
pub(crate) struct Returning {
    pub(crate) pid: Arc<str>,
    /// The socket's public id and its rooms.
    pub(crate) sid: String,
    pub(crate) rooms: Vec<String>,
    /// The record as it is kept now, and where that is written.
    pub(crate) record: Record,
    pub(crate) taken: Written,
    /// The offset that the client presented.
    pub(crate) offset: Option<String>,
    /// As whom it may come in, should its record prove nothing.
    pub(crate) admission: Admission,
}

/// A recoverable room of a socket: nothing is owed of what is up to `at`, all after is fed.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) at: Position,
    pub(crate) listening: Listening,
}

impl Start {
    /// What a record says of it.
    pub(crate) fn place(&self) -> (Room, (SlotNo, Position)) {
        let room = self.listening.room().clone();
        (room, (self.listening.slot(), self.at))
    }
}

/// Who writes a record, and what it says besides where the rooms start.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) pid: Arc<str>,
    pub(crate) slot: SlotNo,
    pub(crate) home: Home,
    pub(crate) change: u64,
    pub(crate) stale: Option<String>,
    /// Where the home took it over or wrote it first, and where it wrote it last.
    pub(crate) taken: Option<Position>,
    pub(crate) last: Option<Position>,
    /// Its rooms that are fed already, with where they start.
    pub(crate) rooms: BTreeMap<Room, (SlotNo, Position)>,
    pub(crate) data: Vec<u8>,
}

/// A record that a connection holds no more.
#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) pid: Arc<str>,
    /// The record's slot, and the connection that held it.
    pub(crate) home: (SlotNo, Home),
    /// Whether the client may come back.
    pub(crate) keep: bool,
}

/// What the control plane did for a socket.
#[derive(Debug)]
pub(crate) enum Stored {
    /// These rooms are listened to, and the record, if there is one, is kept.
    Kept {
        /// The rooms that had no start.
        starts: Vec<(String, Start)>,
        /// Where the record was written.
        written: Option<Written>,
    },
    /// The client gets what it missed.
    Recovered(Box<Back>),
    /// The rooms are listened to, the record is not kept. A client that was given a `pid` must come
    /// again; a new one can go on without recovery.
    NotKept {
        /// The rooms that had no start.
        starts: Vec<(String, Start)>,
    },
    /// The record is another connection's now, or was lost with a branch that does not go on.
    Lost,
    /// It cannot be proved what the client missed: it comes in as a new one.
    Refused(Box<(Admission, Opened)>),
    /// Neither: the transport closes and the client tries again.
    Failed(Reason),
}

/// What a client that came back gets, and goes on from.
#[derive(Debug)]
pub(crate) struct Back {
    /// What the cursor says before the first of the entries.
    pub(crate) before: Cursor,
    /// Missed events in order.
    pub(crate) entries: Vec<Missed>,
    /// What the cursor says after the last.
    pub(crate) after: Cursor,
    /// By room: live entries up to here are among them, or were seen before.
    pub(crate) seen: BTreeMap<String, Position>,
    /// Its recoverable rooms.
    pub(crate) starts: Vec<(String, Start)>,
}

/// An event that a client missed.
#[derive(Debug)]
pub(crate) struct Missed {
    /// Where it stands in the history.
    pub(crate) offset: Offset,
    /// The event.
    pub(crate) event: Event,
}

/// The record of a socket's client, seen from its home.
#[derive(Debug)]
pub(crate) struct Held {
    /// The name under which the client may come back.
    pub(crate) pid: Arc<str>,
    /// The slot that has the record.
    pub(crate) slot: SlotNo,
    pub(crate) home: Home,
    /// Rises with each write.
    change: u64,
    /// An offset that says nothing about this socket.
    stale: Option<String>,
    taken: Option<Position>,
    written: Option<Position>,
    /// Whether what was written last is on the branch that goes on.
    is_kept: bool,
}

/// What a shard keeps for a socket that is in recoverable rooms, or whose client has a `pid`.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// The client's record; none if it was given no `pid`.
    pub(crate) held: Option<Held>,
    /// Up to where everything has been queued to this socket.
    cursor: Cursor,
    /// Its recoverable rooms that are fed.
    pub(crate) starts: BTreeMap<String, Start>,
    /// Those that it has joined and nobody was asked to feed yet.
    unstarted: BTreeSet<Arc<str>>,
    /// Rooms that it has left, but for the record: until that is kept it is a member.
    leaving: BTreeSet<String>,
    /// Those that the write under way leaves out.
    left_out: BTreeSet<String>,
    /// By room: events up to here came with the replay.
    seen: BTreeMap<String, Position>,
    /// Frames that wait until the record is kept.
    pub(crate) waiting: Vec<Frame>,
    /// Dropped once no write is under way, or the socket is gone: for those who wait for that.
    pub(crate) watched: Vec<oneshot::Sender<()>>,
    writing: bool,
    again: bool,
}

/// The slot of a client's record: that of the user's id; of its own name if it has no user.
pub(crate) fn record_slot(user: Option<&str>, pid: &str) -> SlotNo {
    slot_of_tag(user.unwrap_or(pid))
}

impl Held {
    /// What voids the offset of a client whose record was lost after a write that is not kept. Its
    /// record may be found on another branch as it was before, by which time nobody may be left who
    /// knows better: so what it presents must be worth nothing. Clients keep any string at an
    /// event's end as their offset, the name of one without arguments, too. It is never the same
    /// twice, as one that is known to be stale would be ignored.
    pub(crate) fn voiding(&self) -> Option<String> {
        (!self.is_kept).then(|| format!("void {}", self.pid))
    }

    /// A new record.
    pub(crate) fn fresh(
        (pid, home): (Arc<str>, Home),
        user: Option<&str>,
        stale: Option<String>,
    ) -> Self {
        Self {
            slot: record_slot(user, &pid),
            pid,
            home,
            change: 0,
            stale,
            taken: None,
            written: None,
            is_kept: true,
        }
    }

    /// A record that was taken over.
    pub(crate) fn taken(returning: &Returning, user: Option<&str>) -> Self {
        let Returning {
            pid, record, taken, ..
        } = returning;
        let stale = record.stale.as_deref().map(String::from_utf8_lossy);
        Self {
            slot: record_slot(user, pid),
            pid: pid.clone(),
            home: record.home,
            change: record.change,
            stale: stale.map(Into::into),
            taken: Some(taken.position),
            written: Some(taken.position),
            is_kept: taken.kept,
        }
    }
}

impl Following {
    /// A socket whose client has a record.
    pub(crate) fn of(held: Held) -> Self {
        Self {
            held: Some(held),
            ..Self::default()
        }
    }

    /// Whether events carry a cursor for the client.
    pub(crate) fn has_record(&self) -> bool {
        self.held.is_some()
    }

    /// Notes an event of a room as queued; false if it came with the replay.
    pub(crate) fn advance(&mut self, room: &str, offset: Offset) -> bool {
        if let Some(seen) = self.seen.get(room) {
            if offset.position <= *seen {
                return false;
            }
            self.seen.remove(room);
        }
        self.go_to(offset);
        true
    }

    /// Notes an event as queued.
    pub(crate) fn go_to(&mut self, offset: Offset) {
        self.cursor.set(offset.slot, offset.position);
        self.say_written();
    }

    /// What the client is to keep.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Begins with what a client has that came back.
    pub(crate) fn begin(&mut self, before: Cursor) {
        self.cursor = before;
        self.say_written();
    }

    /// The replay is queued.
    pub(crate) fn caught_up(&mut self, after: Cursor, seen: BTreeMap<String, Position>) {
        self.begin(after);
        self.seen = seen;
    }

    fn say_written(&mut self) {
        if let Some(held) = &self.held {
            self.cursor.write(held.slot, held.written);
        }
    }

    /// The client joins a recoverable room.
    pub(crate) fn join(&mut self, room: &Arc<str>) {
        self.unstarted.insert(room.clone());
    }

    /// The rooms that are to be fed from now on.
    pub(crate) fn take_unstarted(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.unstarted)
    }

    /// Rooms are fed.
    pub(crate) fn start(&mut self, starts: impl Iterator<Item = (String, Start)>) {
        for (room, start) in starts {
            self.unstarted.remove(&*room);
            self.starts.insert(room, start);
        }
    }

    /// The client leaves a room. True if it stays a member until that is kept.
    pub(crate) fn leave(&mut self, room: &str) -> bool {
        if self.unstarted.remove(room) || self.held.is_none() {
            self.starts.remove(room);
            return false;
        }
        self.leaving.insert(room.to_owned());
        true
    }

    /// The client joins a room. True if it had left it, but for the record.
    pub(crate) fn rejoin(&mut self, room: &str) -> bool {
        self.leaving.remove(room)
    }

    /// Whether it has left a room, but for the record.
    pub(crate) fn is_leaving(&self, room: &str) -> bool {
        self.leaving.contains(room)
    }

    /// Whether it has rooms in a slot.
    pub(crate) fn is_in(&self, slot: SlotNo) -> bool {
        let mut starts = self.starts.values();
        starts.any(|start| start.listening.slot() == slot)
    }

    /// Whether there is nothing to feed and nothing to write.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_none() && self.unstarted.is_empty()
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing
    }

    /// The rooms have changed: true if a write may start now, else it follows the current one.
    pub(crate) fn begin_write(&mut self) -> bool {
        if self.writing {
            self.again = true;
            return false;
        }
        self.writing = true;
        if let Some(held) = &mut self.held {
            held.change += 1;
        }
        self.left_out.clone_from(&self.leaving);
        true
    }

    /// The reading of what was missed is under way; nothing is written meanwhile.
    pub(crate) fn begin_reading(&mut self) {
        self.writing = true;
    }

    /// What is written: `data` and the rooms that have a start.
    pub(crate) fn draft(&self, data: Vec<u8>) -> Option<Draft> {
        let held = self.held.as_ref()?;
        let starts = self.starts.iter();
        let starts = starts.filter(|(room, _)| !self.leaving.contains(*room));
        Some(Draft {
            pid: held.pid.clone(),
            slot: held.slot,
            home: held.home,
            change: held.change,
            stale: held.stale.clone(),
            taken: held.taken,
            last: held.written,
            rooms: starts.map(|(_, start)| start.place()).collect(),
            data,
        })
    }

    /// A write is done: true if another must follow. The rooms that it left out and that the client
    /// has not joined again are to be left now.
    pub(crate) fn end_write(&mut self) -> (bool, Vec<String>) {
        self.writing = false;
        let left_out = std::mem::take(&mut self.left_out).into_iter();
        let left = left_out.filter(|room| self.leaving.remove(room)).collect();
        (std::mem::take(&mut self.again), left)
    }

    /// The record was written.
    pub(crate) fn written(&mut self, written: Written) {
        if let Some(held) = &mut self.held {
            held.taken.get_or_insert(written.position);
            held.written = Some(written.position);
            held.is_kept = written.kept;
        }
        self.say_written();
    }
}
