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

use super::{
    command::{Command, ConnectionKey, SocketKey},
    machine::Reason,
    outbox::Keep,
    registering::Then,
    rooms::{EVERYBODY, SocketIndex},
    state::{Held, Leaver, Socket, State, Terms},
};
use crate::{
    app::{
        admit,
        handler::{Admission, ConnectRequest, Refusal},
    },
    event::{Body, Delivery, RoomClass},
    protocol::socket,
    recovery::{
        record::Record,
        session::{Following, Missed, Opened, Stored},
        slot::Offset,
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
            if let Ok((_, opened)) = &outcome {
                self.let_go(opened);
            }
            return;
        };
        connection.joining.retain(|other| *other != namespace);
        match outcome {
            Ok((_, opened)) if ended => {
                // Its session ended while it was being let in; the next try says so.
                self.let_go(&opened);
                self.close(key, Reason::Unavailable);
            }
            Ok((_, opened))
                if connection.terms == Terms::RecoveryOnly
                    && !matches!(opened, Opened::Returning { .. }) =>
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
    fn let_go(&mut self, opened: &Opened) {
        if let Opened::Returning { record, .. } = opened {
            self.leave_record(&record.pid, record.version, Reason::TransportClose);
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
            self.let_go(&opened);
            return self.close(connection, Reason::Unavailable);
        };
        let (id, following, rooms) = match &opened {
            Opened::Plain => (self.node.ids.socket(), None, admission.rooms),
            Opened::Fresh { pid, stale } => {
                let following = Following::fresh(pid.clone(), stale.clone());
                (self.node.ids.socket(), Some(following), admission.rooms)
            }
            Opened::Returning { record, .. } => {
                let following = Following::returning(record);
                let rooms = record
                    .rooms
                    .iter()
                    .map(|room| Arc::from(room.as_str()))
                    .collect();
                (Arc::from(record.sid.as_str()), Some(following), rooms)
            }
        };
        let generation = self.next_generation();
        let pid = following.as_ref().map(|following| following.pid.clone());
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
            following: following.map(Box::new),
            announced: 0,
            held: Some(Held::default()),
            acks: HashMap::new(),
            auth,
        }) as SocketIndex;
        self.load.sockets.fetch_add(1, Relaxed);
        self.by_id.insert(id, index);
        if let Some(pid) = pid {
            self.by_pid.insert(pid, index);
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
            Opened::Plain => self.when_registered(key, Then::Welcome),
            Opened::Fresh { .. } => self.keep_record(key),
            Opened::Returning { record, offset } => {
                self.when_registered(key, Then::Read(record, offset));
            }
        }
    }

    /// Writes the record of a socket's rooms, or notes that it must be written again.
    pub(super) fn keep_record(&mut self, key: SocketKey) {
        let node = self.node.clone();
        let rooms: Vec<String> = self
            .rooms
            .of(key.index)
            .filter(|room| ***room != *EVERYBODY)
            .map(|room| room.to_string())
            .collect();
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        let Some(following) = &mut socket.following else {
            return;
        };
        if !following.begin_write() {
            return;
        }
        let name = &socket.namespace_name;
        let owed = |room: &str| node.handler.class(name, room) == RoomClass::Recoverable;
        let unstarted: Vec<String> = std::iter::once(EVERYBODY)
            .chain(rooms.iter().map(String::as_str))
            .chain(std::iter::once(&*socket.id))
            .filter(|room| owed(room) && !following.starts.contains_key(*room))
            .map(str::to_owned)
            .collect();
        let record = Record {
            pid: following.pid.to_string(),
            sid: socket.id.to_string(),
            user: socket.user.as_deref().unwrap_or_default().to_owned(),
            session: socket.session.as_deref().unwrap_or_default().to_owned(),
            namespace: name.to_string(),
            rooms,
            start: following.starts.clone(),
            home: node.home,
            version: following.version,
            stale: following.stale.clone(),
            data: serde_json::Value::Null,
        };
        let name = (following.pid.clone(), following.version);
        let work = async move { node.recovery.keep(record, unstarted).await };
        self.ask_desk(key, connection, name, work);
    }

    pub(super) fn read_missed(
        &mut self,
        key: SocketKey,
        record: Box<Record>,
        offset: Option<String>,
    ) {
        let node = self.node.clone();
        let connection = self.sockets[key.index as usize].connection;
        let name = (Arc::from(record.pid.as_str()), record.version);
        let work = async move { node.recovery.read(record, offset).await };
        self.ask_desk(key, connection, name, work);
    }

    /// Lets the control plane work on a socket's record and answer with [`Command::Kept`].
    fn ask_desk(
        &mut self,
        socket: SocketKey,
        connection: ConnectionKey,
        record: (Arc<str>, u64),
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
    pub(super) fn kept(&mut self, key: SocketKey, record: (Arc<str>, u64), stored: Stored) {
        let Some(socket) = self.socket(key) else {
            return self.leave_record(&record.0, record.1, Reason::TransportClose);
        };
        let connection = socket.connection;
        let Some(following) = &mut socket.following else {
            return;
        };
        let again = following.end_write();
        match stored {
            Stored::Kept { starts } => {
                let rooms = &self.rooms;
                let socket = &self.sockets[key.index as usize];
                let (namespace, id) = (socket.namespace, socket.id.clone());
                let still: Vec<_> = starts
                    .into_iter()
                    .filter(|(room, _)| **room == *id || rooms.contains(namespace, room, key.index))
                    .collect();
                let socket = &mut self.sockets[key.index as usize];
                if let Some(following) = &mut socket.following {
                    following.starts.extend(still);
                }
                if socket.held.is_some() {
                    self.when_registered(key, Then::Welcome);
                }
            }
            Stored::Recovered {
                cursor,
                entries,
                read,
            } => {
                following.cursor = cursor;
                self.welcome_back(key, entries, &read);
            }
            Stored::NotKept if socket.held.is_some() => {
                // No promise was made yet: the client goes on without one.
                if let Some(following) = socket.following.take() {
                    self.by_pid.remove(&following.pid);
                }
                return self.when_registered(key, Then::Welcome);
            }
            Stored::NotKept => return self.close(connection, Reason::Unavailable),
            Stored::Failed(reason) => return self.close(connection, reason),
        }
        if again {
            return self.keep_record(key);
        }
        let Some(socket) = self.socket(key) else {
            return;
        };
        if let Some(following) = &mut socket.following {
            let waiting = std::mem::take(&mut following.waiting);
            self.send(connection, &waiting, Keep::Always);
        }
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
        let pid = socket
            .following
            .as_ref()
            .map(|following| following.pid.clone());
        let answer = socket::connect(&socket.namespace_name, &socket.id, pid.as_deref());
        let connection = socket.connection;
        self.send(connection, &[answer], Keep::Always);
    }

    /// Answers CONNECT with the same ids, then what was missed, then what was held.
    fn welcome_back(&mut self, key: SocketKey, entries: Vec<Missed>, read: &[Offset]) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        socket.recovered = true;
        let user = socket.user.clone().unwrap_or_default();
        let connection = socket.connection;
        self.answer_connect(key);
        for missed in entries {
            let Some(socket) = self.socket(key) else {
                return;
            };
            let Some(following) = &mut socket.following else {
                return;
            };
            following.advance(missed.offset);
            let body = Body::new(&socket.namespace_name, &missed.event, None);
            let frames = body.with_cursor(&following.cursor);
            self.send_replay(connection, frames);
        }
        let Some(socket) = self.socket(key) else {
            return;
        };
        if let Some(following) = &mut socket.following {
            for offset in read {
                following.advance(*offset);
            }
        }
        if self.node.recovery.is_free(&user) {
            self.refund_handshake(connection);
        } else if self
            .connection(connection)
            .is_some_and(|c| c.terms == Terms::RecoveryOnly)
        {
            return self.close(connection, Reason::RateLimited);
        }
        self.let_in(key);
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
    pub(super) fn leave_record(&mut self, pid: &str, version: u64, reason: Reason) {
        if reason != Reason::Replaced {
            let (pid, keep) = (pid.to_owned(), reason.is_recoverable());
            if !keep {
                self.node.recovery.end(&pid);
            }
            self.leavers.push(Leaver { pid, version, keep });
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
            for Leaver { pid, version, keep } in leavers {
                node.recovery.left(pid, version, keep).await;
            }
        }));
    }
}
