//! Recoverable rooms and records of this shard's sockets: what is fed and kept, and coming back.
//!
//! The control plane asks the owners ([`crate::recovery::desk`]) and answers with
//! [`Command::Kept`](super::command::Command::Kept); one write of a socket is under way at a time.

use std::sync::Arc;

use tidings_cluster::proto::slots::Home;

use super::{
    command::{Command, ConnectionKey, RecordKey, SocketKey},
    machine::Reason,
    outbox::Keep,
    registering::Then,
    rooms::{EVERYBODY, SocketIndex},
    state::{State, Terms},
};
use crate::{
    app::handler::Admission,
    event::{Body, RoomClass},
    protocol::socket::EventTemplate,
    recovery::{
        record::Saved,
        session::{Back, Held, Leaver, Opened, Returning, Start, Stored, record_slot},
        slot::SlotNo,
    },
};

impl State {
    /// A socket's id is a room of its own, which may be recoverable, too.
    pub(super) fn follow_own(&mut self, index: SocketIndex) {
        let socket = &mut self.sockets[index as usize];
        let class = self.node.handler.class(&socket.namespace_name, &socket.id);
        if class == RoomClass::Recoverable {
            let id = socket.id.clone();
            socket.following.get_or_insert_default().join(&id);
        }
    }

    /// Lets a socket be fed its recoverable rooms and writes the record of its rooms, if it has
    /// one; or notes that this must be done again.
    pub(super) fn keep_record(&mut self, key: SocketKey) {
        let node = self.node.clone();
        let Some(socket) = self.sockets.get_mut(key.index as usize) else {
            return;
        };
        if socket.generation != key.generation {
            return;
        }
        let (connection, name) = (socket.connection, socket.namespace_name.clone());
        let Some(following) = &mut socket.following else {
            return;
        };
        if following.is_idle() || !following.begin_write() {
            return;
        }
        let unstarted = following.take_unstarted();
        let draft = following.held.as_ref().map(|_| {
            let rooms = self
                .rooms
                .of(key.index)
                .filter(|room| ***room != *EVERYBODY);
            let rooms = rooms.filter(|room| !following.is_leaving(room));
            Saved {
                sid: socket.id.to_string(),
                user: socket.user.as_deref().unwrap_or_default().to_owned(),
                session: socket.session.as_deref().unwrap_or_default().to_owned(),
                namespace: name.to_string(),
                rooms: rooms.map(|room| room.to_string()).collect(),
            }
        });
        let draft = draft.and_then(|saved| following.draft(saved.encode()));
        let record = draft
            .as_ref()
            .map(|draft| (draft.pid.clone(), (draft.slot, draft.home)));
        let listen = |room: Arc<str>| {
            let joining = node.recovery.listen(&name, &room);
            (room.to_string(), joining)
        };
        let unstarted = unstarted.into_iter().map(listen).collect();
        let work = async move { node.recovery.keep(draft, unstarted).await };
        self.ask_desk(key, connection, record, work);
    }

    pub(super) fn read_missed(&mut self, key: SocketKey, returning: Box<Returning>) {
        let node = self.node.clone();
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        let Some(following) = &socket.following else {
            return;
        };
        let record = following
            .held
            .as_ref()
            .map(|held| (held.pid.clone(), (held.slot, held.home)));
        let work = async move { node.recovery.read(&node, returning).await };
        self.ask_desk(key, connection, record, work);
    }

    /// Lets the control plane work on a socket's rooms and record and answer with
    /// [`Command::Kept`].
    fn ask_desk(
        &mut self,
        socket: SocketKey,
        connection: ConnectionKey,
        record: Option<RecordKey>,
        work: impl Future<Output = Stored> + Send + 'static,
    ) {
        // Until its CONNECT is answered a client was promised nothing; its record as it was is left
        // to wait for it by whoever ends the socket.
        let is_coming = self
            .socket(socket)
            .is_some_and(|socket| socket.held.is_some());
        let mailbox = self.node.hub.shards[self.index].mailbox.clone();
        let answered = async move {
            let stored = work.await;
            let kept = Command::Kept {
                socket,
                record,
                stored,
            };
            let _ = mailbox.send(kept).await;
        };
        if !self.job(Box::pin(answered), is_coming.then_some(connection)) {
            self.close(connection, Reason::Unavailable);
        }
    }

    /// The control plane has written a record or read the history.
    pub(super) fn kept(&mut self, key: SocketKey, record: Option<RecordKey>, stored: Stored) {
        let Some(socket) = self.socket(key) else {
            if let Some((pid, home)) = record {
                self.leave_record(pid, home, Reason::TransportClose);
            }
            return;
        };
        let connection = socket.connection;
        let is_coming = socket.held.is_some();
        let Some(following) = &mut socket.following else {
            return;
        };
        let (again, left) = following.end_write();
        match stored {
            Stored::Kept { starts, written } => {
                if let Some(written) = written {
                    following.written(written);
                }
                self.start_rooms(key, starts);
            }
            Stored::NotKept { starts } if is_coming => {
                // No promise was made yet: the client goes on without one.
                if let Some(held) = following.held.take() {
                    self.by_home.remove(&held.home.connection);
                }
                self.start_rooms(key, starts);
            }
            Stored::NotKept { .. } => return self.close(connection, Reason::Unavailable),
            Stored::Recovered(back) => return self.welcome_back(key, *back, again),
            Stored::Refused(anew) => return self.start_anew(key, *anew),
            Stored::Lost => return self.record_lost(key),
            Stored::Failed(reason) => return self.close(connection, reason),
        }
        for room in left {
            if let Some(following) = self.socket(key).and_then(|it| it.following.as_mut()) {
                following.starts.remove(&room);
            }
            self.leave(key.index, &room);
        }
        if is_coming {
            self.when_registered(key, Then::Welcome);
        }
        self.go_on_after_write(key, again);
    }

    /// A socket's record is not its own any more: the client is elsewhere, or is told to come again.
    fn record_lost(&mut self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let (connection, index) = (socket.connection, key.index);
        if self.void(index) {
            self.close(connection, Reason::Unavailable);
        } else {
            self.close(connection, Reason::Replaced);
        }
    }

    /// What follows in a room of a connection cannot be proved to be all. If a record was not kept,
    /// it may be lost with what was cut off, and it is not waited for what comes of that.
    pub(super) fn close_cut(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        for (_, index) in connection.sockets.clone() {
            // Before its CONNECT is answered it was promised nothing, and would hear of this later.
            let socket = self.sockets.get(index as usize);
            if socket.is_some_and(|socket| socket.held.is_none()) {
                self.void(index);
            }
        }
        self.close(key, Reason::Unavailable);
    }

    /// Voids the offset of a socket whose record was last written where nothing is kept. False if
    /// it was kept, or there is none.
    fn void(&mut self, index: SocketIndex) -> bool {
        let Some(socket) = self.sockets.get(index as usize) else {
            return false;
        };
        let held = socket.following.as_ref().and_then(|it| it.held.as_ref());
        let Some(voiding) = held.and_then(Held::voiding) else {
            return false;
        };
        let void = EventTemplate::new(&socket.namespace_name, &voiding, &[], &[]);
        let connection = socket.connection;
        self.send(connection, &void.frames(None), Keep::Always);
        true
    }

    /// What waited for a write goes out, or the next write begins.
    fn go_on_after_write(&mut self, key: SocketKey, again: bool) {
        if again {
            return self.keep_record(key);
        }
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        if let Some(following) = &mut socket.following {
            // Whoever waits is told by the drop.
            following.watched.clear();
            let waiting = std::mem::take(&mut following.waiting);
            self.send(connection, &waiting, Keep::Always);
            self.begin_work(key);
        }
    }

    /// Recoverable rooms of a socket are fed from here on, if it is still in them.
    fn start_rooms(&mut self, key: SocketKey, starts: Vec<(String, Start)>) {
        // Cut before the socket was known to be fed; later cuts are told.
        let is_cut = starts.iter().any(|(_, start)| start.listening.is_cut());
        let rooms = &self.rooms;
        let socket = &mut self.sockets[key.index as usize];
        let (connection, namespace, id) = (socket.connection, socket.namespace, socket.id.clone());
        let is_in = |room: &String| **room == *id || rooms.contains(namespace, room, key.index);
        if let Some(following) = &mut socket.following {
            following.start(starts.into_iter().filter(|(room, _)| is_in(room)));
        }
        if is_cut {
            self.close_cut(connection);
        }
    }

    /// Nothing proves what a client has missed: it comes in as a new one.
    fn start_anew(&mut self, key: SocketKey, (admission, opened): (Admission, Opened)) {
        let socket = &mut self.sockets[key.index as usize];
        let (connection, name) = (socket.connection, socket.namespace_name.clone());
        let auth = socket.auth.take();
        self.end_socket(key.index, Reason::Replaced);
        self.admitted(connection, name, auth, Ok((admission, opened)));
    }

    /// Answers CONNECT with the same ids, then what was missed, then what was held.
    fn welcome_back(&mut self, key: SocketKey, back: Back, again: bool) {
        let Back {
            before,
            entries,
            after,
            seen,
            starts,
        } = back;
        let Some(socket) = self.socket(key) else {
            return;
        };
        socket.recovered = true;
        let user = socket.user.clone().unwrap_or_default();
        let connection = socket.connection;
        if let Some(following) = &mut socket.following {
            following.begin(before);
        }
        self.answer_connect(key);
        for missed in entries {
            let Some(socket) = self.socket(key) else {
                return;
            };
            let Some(following) = &mut socket.following else {
                return;
            };
            following.go_to(missed.offset);
            let body = Body::new(&socket.namespace_name, &missed.event, None);
            let frames = body.with_cursor(following.cursor());
            self.send_replay(connection, frames);
        }
        let Some(socket) = self.socket(key) else {
            return;
        };
        if let Some(following) = &mut socket.following {
            following.caught_up(after, seen);
        }
        if self.node.recovery.lost().is_free(&user) {
            self.refund_handshake(connection);
        } else if self
            .connection(connection)
            .is_some_and(|c| c.terms == Terms::RecoveryOnly)
        {
            return self.close(connection, Reason::RateLimited);
        }
        self.start_rooms(key, starts);
        if self.socket(key).is_some() {
            self.let_in(key);
            self.go_on_after_write(key, again);
        }
    }

    /// A record that was taken over for nothing goes back to waiting.
    pub(super) fn let_go(&mut self, (admission, opened): (&Admission, &Opened)) {
        if let Opened::Returning(returning) = opened {
            let (pid, home) = (returning.pid.clone(), returning.record.home);
            let slot = record_slot(admission.user.as_deref(), &pid);
            self.leave_record(pid, (slot, home), Reason::TransportClose);
        }
    }

    /// A socket with a record is gone: how long the record is kept depends on why.
    pub(super) fn leave_record(&mut self, pid: Arc<str>, home: (SlotNo, Home), reason: Reason) {
        if reason != Reason::Replaced {
            let keep = reason.is_recoverable();
            if !keep {
                self.node.recovery.end(&pid);
            }
            self.leavers.push(Leaver { pid, home, keep });
        }
    }

    /// Hands the records of those who left to the control plane; what it cannot take now follows
    /// with the next turn.
    pub(super) fn report_leavers(&mut self) {
        if self.leavers.is_empty() {
            return;
        }
        let Ok(permit) = self.node.jobs.try_reserve() else {
            return;
        };
        let node = self.node.clone();
        let leavers = std::mem::take(&mut self.leavers);
        permit.send(Box::pin(async move {
            node.recovery.all_left(leavers).await;
        }));
    }
}
