//! From CONNECT to a socket: admission, rooms, record or replay, answer.
//!
//! The control plane decides ([`crate::app::admit`]), or the shard itself where nothing must be
//! waited for; the shard carries out. Rooms are joined before the record is written or the history
//! read, and what arrives meanwhile is held back.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use serde_json::value::RawValue;
use tidings_cluster::proto::slots::Home;

use super::{
    command::{Command, ConnectionKey, RecordKey, SocketKey},
    machine::Reason,
    outbox::Keep,
    registering::Then,
    rooms::{EVERYBODY, SocketIndex},
    state::{HeldBack, Leaver, Socket, State, Terms},
};
use crate::{
    app::{
        admit,
        handler::{Admission, ConnectRequest, Refusal},
    },
    event::{Body, Delivery, RoomClass},
    protocol::socket,
    recovery::{
        record::Saved,
        session::{Back, Following, Held, Opened, Returning, Start, Stored, record_slot},
        slot::SlotNo,
    },
};

/// Namespaces that one connection may join.
const MAX_NAMESPACES: usize = 64;

impl State {
    /// The client asks for a namespace.
    pub(super) fn handle_connect(
        &mut self,
        key: ConnectionKey,
        namespace: String,
        auth: Option<String>,
    ) {
        let node = self.node.clone();
        if node.is_draining() {
            return self.close(key, Reason::ShuttingDown);
        }
        if node.handler.namespace(&namespace).is_none() {
            let refusal = socket::connect_error(&namespace, "Invalid namespace", None);
            return self.send(key, &[refusal], Keep::Always);
        }
        let joined = self.socket_in(key, &namespace).is_some();
        let Some(connection) = self.connection(key) else {
            return;
        };
        let joining = connection.joining.iter().any(|other| **other == *namespace);
        let known = connection.sockets.len() + connection.joining.len();
        if joined || joining || known >= MAX_NAMESPACES {
            return self.close(key, Reason::ParseError);
        }
        let namespace: Arc<str> = namespace.into();
        connection.joining.push(namespace.clone());
        let handshake = connection.handshake.clone();
        // The packet's decoder has checked the syntax.
        let auth = auth.and_then(|auth| RawValue::from_string(auth).ok());
        let request = ConnectRequest {
            namespace: namespace.clone(),
            auth,
            handshake,
        };
        let kept_auth = node
            .handler
            .keeps_handshake()
            .then(|| request.auth.clone())
            .flatten();
        match catch_unwind(AssertUnwindSafe(|| admit::admit_now(&node, &request))) {
            Ok(Some(outcome)) => return self.admitted(key, namespace, kept_auth, outcome),
            Ok(None) => {}
            Err(_) => {
                self.tally.panics += 1;
                return self.close(key, Reason::Unavailable);
            }
        }
        if let Some(connection) = self.connection(key) {
            connection.machine.deciding();
        }
        let mailbox = node.hub.shards[self.index].mailbox.clone();
        let work = async move {
            let outcome = admit::admit(&node, request).await;
            let admitted = Command::Admitted {
                connection: key,
                namespace,
                auth: kept_auth,
                outcome,
            };
            let _ = mailbox.send(admitted).await;
        };
        if !self.job(Box::pin(work), Some(key)) {
            self.close(key, Reason::Unavailable);
        }
    }

    /// The control plane has decided over a CONNECT.
    pub(super) fn admitted(
        &mut self,
        key: ConnectionKey,
        namespace: Arc<str>,
        auth: Option<Box<RawValue>>,
        outcome: Result<(Admission, Opened), Refusal>,
    ) {
        let timing = self.node.settings.timing;
        let ended = matches!(&outcome, Ok((admission, _)) if self.has_ended(admission));
        let Some(connection) = self.connection(key) else {
            if let Ok((admission, opened)) = &outcome {
                self.let_go((admission, opened));
            }
            return;
        };
        connection.joining.retain(|other| *other != namespace);
        match outcome {
            Ok((admission, opened)) if ended => {
                // Its session ended while it was being let in; the next try says so.
                self.let_go((&admission, &opened));
                self.close(key, Reason::Unavailable);
            }
            Ok((_, opened))
                if connection.terms == Terms::RecoveryOnly
                    && !matches!(opened, Opened::Returning(_)) =>
            {
                self.close(key, Reason::RateLimited);
            }
            Ok((admission, opened)) => {
                connection.machine.joined();
                self.rearm(key);
                self.enter(key, namespace, auth, admission, opened);
            }
            Err(Refusal::Final { message, data }) => {
                let alone = connection.sockets.is_empty() && connection.joining.is_empty();
                if alone {
                    connection
                        .machine
                        .refused(&timing, std::time::Instant::now());
                    self.rearm(key);
                }
                let data = data.as_deref().map(RawValue::get);
                let refusal = socket::connect_error(&namespace, &message, data);
                self.send(key, &[refusal], Keep::Always);
            }
            Err(Refusal::Passing(reason)) => self.close(key, reason),
        }
    }

    fn has_ended(&self, admission: &Admission) -> bool {
        let session = admission.session.as_deref();
        session.is_some_and(|session| self.ended.contains_key(session))
    }

    /// A record that was taken over for nothing goes back to waiting.
    fn let_go(&mut self, (admission, opened): (&Admission, &Opened)) {
        if let Opened::Returning(returning) = opened {
            let (pid, home) = (returning.pid.clone(), returning.record.home);
            let slot = record_slot(admission.user.as_deref(), &pid);
            self.leave_record(pid, (slot, home), Reason::TransportClose);
        }
    }

    fn enter(
        &mut self,
        connection: ConnectionKey,
        name: Arc<str>,
        auth: Option<Box<RawValue>>,
        admission: Admission,
        opened: Opened,
    ) {
        let Some(namespace) = self.node.hub.namespaces.intern(&name) else {
            self.let_go((&admission, &opened));
            return self.close(connection, Reason::Unavailable);
        };
        let user = admission.user.as_deref();
        let (id, held, rooms) = match &opened {
            Opened::Plain => (self.node.ids.socket(), None, admission.rooms),
            Opened::Fresh { pid, home, stale } => {
                let held = Held::fresh((pid.clone(), *home), user, stale.clone());
                (self.node.ids.socket(), Some(held), admission.rooms)
            }
            Opened::Returning(returning) => {
                let held = Held::taken(returning, user);
                let rooms = returning.rooms.iter();
                let rooms = rooms.map(|room| Arc::from(room.as_str())).collect();
                (Arc::from(returning.sid.as_str()), Some(held), rooms)
            }
        };
        let generation = self.next_generation();
        let home = held.as_ref().map(|held| held.home.connection);
        let index = self.sockets.insert(Socket {
            generation,
            id: id.clone(),
            namespace,
            namespace_name: name,
            connection,
            user: admission.user,
            session: admission.session,
            expires_ms: admission.expires_ms,
            recovered: false,
            following: held.map(|held| Box::new(Following::of(held))),
            announced: 0,
            held: Some(HeldBack::default()),
            acks: HashMap::new(),
            auth,
        }) as SocketIndex;
        self.load.sockets.fetch_add(1, Relaxed);
        self.by_id.insert(id, index);
        if let Some(home) = home {
            self.by_home.insert(home, index);
        }
        if let Some(connection) = self.connection(connection) {
            connection.sockets.push((namespace, index));
        }
        self.join(index, &Arc::from(EVERYBODY));
        for room in &rooms {
            self.join(index, room);
        }
        let key = self.socket_key(index);
        match opened {
            Opened::Returning(returning) => {
                // From here on: a record that was written before what was missed is read would let
                // the rooms begin anew.
                if let Some(following) = &mut self.sockets[index as usize].following {
                    following.begin_reading();
                }
                self.when_registered(key, Then::Read(returning));
            }
            Opened::Fresh { .. } => self.keep_record(key),
            Opened::Plain => {
                self.keep_record(key);
                let following = self.sockets[index as usize].following.as_ref();
                if following.is_none_or(|following| !following.is_writing()) {
                    self.when_registered(key, Then::Welcome);
                }
            }
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
        let is_kept = |room: &str| node.handler.class(&name, room) == RoomClass::Recoverable;
        let own = std::iter::once(&*socket.id);
        let rooms = self.rooms.of(key.index).map(|room| &**room);
        let mut unstarted: Vec<String> = rooms
            .chain(own)
            .filter(|room| is_kept(room))
            .map(str::to_owned)
            .collect();
        if socket.following.is_none() && unstarted.is_empty() {
            return;
        }
        let following = socket.following.get_or_insert_default();
        if !following.begin_write() {
            return;
        }
        let is_new =
            |room: &String| !following.starts.contains_key(room) && !following.is_leaving(room);
        unstarted.retain(is_new);
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
        let listen = |room: String| {
            let joining = node.recovery.listen(&name, &room);
            (room, joining)
        };
        let unstarted = unstarted.into_iter().map(listen).collect();
        let work = async move { node.recovery.keep(&name, draft, unstarted).await };
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
        }
    }

    /// Recoverable rooms of a socket are fed from here on, if it is still in them.
    fn start_rooms(&mut self, key: SocketKey, starts: Vec<(String, Start)>) {
        let rooms = &self.rooms;
        let socket = &mut self.sockets[key.index as usize];
        let (namespace, id) = (socket.namespace, socket.id.clone());
        let is_in = |room: &String| **room == *id || rooms.contains(namespace, room, key.index);
        let Some(following) = &mut socket.following else {
            return;
        };
        let still = starts.into_iter().filter(|(room, _)| is_in(room));
        following.starts.extend(still);
        self.close_if_cut(key);
    }

    /// A room may have been cut before the socket was known to be fed it.
    fn close_if_cut(&mut self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let following = socket.following.as_ref();
        let is_cut = following.is_some_and(|following| following.is_cut());
        if is_cut {
            let connection = socket.connection;
            self.close(connection, Reason::Unavailable);
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

    /// Answers CONNECT, lets out what was held, and tells the handler.
    pub(super) fn welcome(&mut self, key: SocketKey) {
        self.answer_connect(key);
        self.let_in(key);
    }

    fn answer_connect(&mut self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let following = socket.following.as_ref();
        let held = following.and_then(|following| following.held.as_ref());
        let pid = held.map(|held| held.pid.clone());
        let answer = socket::connect(&socket.namespace_name, &socket.id, pid.as_deref());
        let connection = socket.connection;
        self.send(connection, &[answer], Keep::Always);
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

    /// A valid recovery does not count against its address.
    fn refund_handshake(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if std::mem::replace(&mut connection.terms, Terms::Free) == Terms::Counted {
            let ip = connection.handshake.ip;
            self.node.limits.refund_handshake(ip, crate::node::now_ms());
        }
    }

    fn let_in(&mut self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let held = socket.held.take().unwrap_or_default();
        for emit in held.emits {
            // A conflated room's value follows by catching up.
            if matches!(emit.delivery, Delivery::Conflated { .. }) {
                continue;
            }
            self.deliver_to(key.index, &emit);
            if self.socket(key).is_none() {
                return;
            }
        }
        let namespace = self.sockets[key.index as usize].namespace;
        let rooms: Vec<Arc<str>> = self.rooms.of(key.index).cloned().collect();
        for room in rooms {
            self.catch_up(key.index, namespace, &room);
            if self.socket(key).is_none() {
                return;
            }
        }
        let handler = self.node.handler.clone();
        self.consult(key.index, |context| handler.connected(context));
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
            let left = leavers
                .into_iter()
                .map(|Leaver { pid, home, keep }| node.recovery.left(pid, home, keep));
            // Together: so they share what must be written to the disk.
            futures_util::future::join_all(left).await;
        }));
    }
}
