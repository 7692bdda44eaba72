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
    command::{Command, Connected, ConnectionKey, SocketKey},
    machine::Reason,
    outbox::Keep,
    registering::Then,
    rooms::{EVERYBODY, SocketIndex},
    state::{HeldBack, Socket, State, Terms},
};
use crate::{
    app::{
        admit,
        handler::{Admission, ConnectRequest, Refusal},
    },
    event::Delivery,
    protocol::socket,
    recovery::session::{Following, Held, Opened},
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
            self.load.asked(Connected::Refused);
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
            .keeps_auth()
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
        let is_returning = matches!(&outcome, Ok((_, Opened::Returning(_))));
        let only_returning = connection.terms == Terms::RecoveryOnly && !is_returning;
        self.load.asked(match &outcome {
            Ok(_) if ended || only_returning => Connected::PutOff,
            Ok(_) => Connected::Accepted,
            Err(Refusal::Final { .. }) => Connected::Refused,
            Err(Refusal::Passing(_)) => Connected::PutOff,
        });
        let Some(connection) = self.connection(key) else {
            return;
        };
        match outcome {
            Ok((admission, opened)) if ended => {
                // Its session ended while it was being let in; the next try says so.
                self.let_go((&admission, &opened));
                self.close(key, Reason::Unavailable);
            }
            Ok(_) if only_returning => self.close(key, Reason::RateLimited),
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
            settling: None,
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
        self.follow_own(index);
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

    /// Answers CONNECT, lets out what was held, and tells the handler; once, though the record may
    /// have been written again while the peers were waited for.
    pub(super) fn welcome(&mut self, key: SocketKey) {
        let is_coming = self.socket(key).is_some_and(|it| it.held.is_some());
        if !is_coming {
            return;
        }
        self.answer_connect(key);
        self.let_in(key);
    }

    pub(super) fn answer_connect(&mut self, key: SocketKey) {
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

    /// A valid recovery does not count against its address.
    pub(super) fn refund_handshake(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if std::mem::replace(&mut connection.terms, Terms::Free) == Terms::Counted {
            let ip = connection.handshake.ip;
            self.node.limits.refund_handshake(ip, crate::node::now_ms());
        }
    }

    pub(super) fn let_in(&mut self, key: SocketKey) {
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
        self.note_connected(key.index);
        let handler = self.node.handler.clone();
        self.consult(key.index, |context| handler.connected(context));
    }
}
