//! What one shard owns: its connections, their sockets, its part of every room. Only the shard's
//! thread touches it; nothing in it is locked.
//!
//! **Invariant:** a connection ends in `State::close` and a socket in `State::end_socket`, both in
//! `ending`; nothing else removes them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use serde_json::value::RawValue;
use slab::Slab;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    command::{ConnectionKey, Load, SocketKey, Tally, Waiting},
    conflate::Conflations,
    machine::{Action, Machine, Reason, Transport},
    outbox::{Keep, Outbox, Pushed},
    registering::Registering,
    rooms::{Joined, Left, NamespaceId, Rooms, SocketIndex},
    run::Run,
    settling::Settling,
    timers::{Due, Timers},
    watched::Watched,
};
use crate::{
    app::handler::{Handshake, SocketView},
    event::{AckCall, Emit, RoomClass},
    http::engine::PollAnswer,
    node::Node,
    protocol::engine,
    recovery::session::{Following, Leaver},
    transport::{
        reader::Readers,
        websocket::{WebSocket, Written},
    },
};

/// Bytes of events held back for a socket until its CONNECT is answered.
pub(super) const HELD_LIMIT: usize = 4 << 20;

/// Longer than any admission takes from the look at the session to the socket.
const ADMISSION: std::time::Duration = std::time::Duration::from_secs(60);

/// On what terms a connection was opened, given its address's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terms {
    /// It counts against its address.
    Counted,
    /// It does not count: it has been a valid recovery.
    Free,
    /// The limit was reached; it may stay only as a valid recovery.
    RecoveryOnly,
}

/// An Engine.IO connection.
pub(crate) struct Connection {
    /// Tells it from earlier users of its slot.
    pub(super) generation: u32,
    pub(super) sid: Arc<str>,
    pub(super) machine: Machine,
    pub(super) outbox: Outbox,
    /// The WebSocket that carries it.
    pub(super) websocket: Option<Box<WebSocket>>,
    /// The WebSocket that wants to carry it.
    pub(super) probe: Option<Box<(WebSocket, Outbox)>>,
    /// The poll that waits for packets.
    pub(super) poll: Option<oneshot::Sender<PollAnswer>>,
    /// Its sockets, one per namespace.
    pub(super) sockets: Vec<(NamespaceId, SocketIndex)>,
    /// Namespaces asked for and not yet decided.
    pub(super) joining: Vec<Arc<str>>,
    /// For which time its timer is armed.
    pub(super) armed: Option<Instant>,
    /// Whether it waits in the list of connections to flush.
    pub(super) dirty: bool,
    pub(super) handshake: Arc<Handshake>,
    /// On what terms its address may have it.
    pub(super) terms: Terms,
    pub(super) opened: Instant,
    /// Bytes written outside of a flush, which counts them.
    pub(super) written_early: usize,
}

impl Connection {
    /// Queues by `push`, unless a close frame was queued, which nothing may follow. One turn may
    /// bring more than fits, to a peer that would take it all: then
    /// what waits is written first. An error says why the connection has to be closed.
    pub(super) fn queue(
        &mut self,
        mut push: impl FnMut(&mut Outbox) -> Pushed,
    ) -> Result<Pushed, Reason> {
        if self.websocket.as_ref().is_some_and(|it| it.is_closing()) {
            return Ok(Pushed::Queued);
        }
        let pushed = push(&mut self.outbox);
        if pushed != Pushed::Overflow {
            return Ok(pushed);
        }
        let websocket = self.websocket.as_mut().filter(|it| !it.is_blocked());
        let websocket = websocket.ok_or(Reason::SlowReader)?;
        let before = self.outbox.bytes();
        let written = websocket.write(&mut self.outbox);
        self.written_early += before.saturating_sub(self.outbox.bytes());
        if written == Written::Broken {
            return Err(Reason::TransportClose);
        }
        match push(&mut self.outbox) {
            Pushed::Overflow => Err(Reason::SlowReader),
            pushed => Ok(pushed),
        }
    }

    /// Whether what is pushed now leaves at the next flush.
    pub(super) fn is_writable(&self) -> bool {
        match &self.websocket {
            Some(websocket) => !websocket.is_blocked(),
            None => self.poll.is_some(),
        }
    }
}

/// A client in one namespace.
pub(crate) struct Socket {
    /// Tells it from earlier users of its index.
    pub(super) generation: u32,
    pub(super) id: Arc<str>,
    pub(super) namespace: NamespaceId,
    pub(super) namespace_name: Arc<str>,
    pub(super) connection: ConnectionKey,
    pub(super) user: Option<Arc<str>>,
    pub(super) session: Option<Arc<str>>,
    pub(super) expires_ms: Option<u64>,
    pub(super) recovered: bool,
    /// Present if it is in recoverable rooms, or if the client was given a `pid`.
    pub(super) following: Option<Box<Following>>,
    /// The latest of its joins that the peers are told of; 0 if there are no peers.
    pub(super) announced: u64,
    /// Emits that arrive before CONNECT is answered.
    pub(super) held: Option<HeldBack>,
    /// Work whose effects are to come before what its rooms are sent, and what is held back for it.
    pub(super) settling: Option<Box<Settling>>,
    /// Emits that wait for this client's acknowledgement, by packet id.
    pub(super) acks: HashMap<u64, Arc<AckCall>>,
    /// Its CONNECT payload, if the handler keeps it.
    pub(super) auth: Option<Box<RawValue>>,
}

impl Socket {
    /// Whether the client was given a `pid`: then events carry what it is to return.
    pub(super) fn has_record(&self) -> bool {
        let following = self.following.as_ref();
        following.is_some_and(|following| following.has_record())
    }
}

/// Emits held back for a socket.
#[derive(Default)]
pub(super) struct HeldBack {
    pub(super) emits: Vec<Arc<Emit>>,
    pub(super) bytes: usize,
}

/// The last payloads of a polling connection that the server closed, one for each further poll.
pub(super) struct LastWords {
    pub(super) bodies: VecDeque<Bytes>,
    pub(super) until: Instant,
}

/// Everything a shard owns.
pub(crate) struct State {
    pub(crate) node: Arc<Node>,
    /// This shard's number.
    pub(crate) index: usize,
    pub(crate) load: Arc<Load>,
    /// Figures since the start; published to `load` at the end of each turn.
    pub(super) tally: Tally,
    pub(super) connections: Slab<Connection>,
    pub(super) by_sid: HashMap<Arc<str>, ConnectionKey>,
    pub(super) sockets: Slab<Socket>,
    pub(super) by_id: HashMap<Arc<str>, SocketIndex>,
    /// Sockets whose client has a record, by the record's name for the connection.
    pub(super) by_home: HashMap<u64, SocketIndex>,
    pub(super) rooms: Rooms,
    pub(super) conflations: Conflations<Arc<Emit>>,
    pub(super) timers: Timers,
    /// Connections with something to write.
    pub(super) dirty: Vec<ConnectionKey>,
    /// Since when emits of this turn are on their way, of those that the next flush writes.
    pub(super) unwritten: Vec<Instant>,
    /// Whether a flush is under way, between two of its slices.
    pub(super) flushing: bool,
    /// Deliveries when the last flush began.
    pub(super) flushed_at: u64,
    /// Marks of sockets that an emit has reached already; equal to `mark` means reached.
    pub(super) marks: Vec<u32>,
    pub(super) mark: u32,
    /// The sockets of the emit being delivered; kept for its capacity.
    pub(super) targets: Vec<SocketIndex>,
    /// Sockets whose rooms the peers do not know of yet, in the order of their joins.
    pub(super) registering: VecDeque<Registering>,
    /// Work that the control plane has no room for yet.
    pub(super) backlog: VecDeque<Waiting>,
    /// What WebSockets are read with.
    pub(super) readers: Readers,
    /// Emits of this turn that may be joined with the next one.
    pub(super) run: Run,
    generation: u32,
    pub(super) last_words: HashMap<Arc<str>, LastWords>,
    /// Sessions that ended a short while ago: a client that was being let in meanwhile must not
    /// come in under one.
    pub(super) ended: HashMap<String, Instant>,
    /// Present while somebody looks by the admin UI.
    pub(super) watched: Option<Box<Watched>>,
    /// Records of sockets that are gone, for the control plane.
    pub(super) leavers: Vec<Leaver>,
    /// WebSockets that are closed and still have something to say.
    pub(super) goodbyes: TaskTracker,
    /// Notified when something became dirty outside a turn.
    pub(super) wake: Arc<tokio::sync::Notify>,
}

impl State {
    pub(super) fn new(
        node: Arc<Node>,
        index: usize,
        load: Arc<Load>,
        wake: Arc<tokio::sync::Notify>,
    ) -> Self {
        Self {
            readers: Readers::new(node.settings.payload),
            node,
            index,
            load,
            tally: Tally::default(),
            connections: Slab::new(),
            by_sid: HashMap::new(),
            sockets: Slab::new(),
            by_id: HashMap::new(),
            by_home: HashMap::new(),
            rooms: Rooms::default(),
            conflations: Conflations::new(Instant::now()),
            timers: Timers::default(),
            dirty: Vec::new(),
            unwritten: Vec::new(),
            flushing: false,
            flushed_at: 0,
            marks: Vec::new(),
            mark: 0,
            targets: Vec::new(),
            registering: VecDeque::new(),
            backlog: VecDeque::new(),
            run: Run::default(),
            generation: 0,
            last_words: HashMap::new(),
            ended: HashMap::new(),
            watched: None,
            leavers: Vec::new(),
            goodbyes: TaskTracker::new(),
            wake,
        }
    }

    /// Opens a connection; its handshake packet waits in the outbox, behind `preface`.
    pub(crate) fn open(
        &mut self,
        transport: Transport,
        raw: bool,
        handshake: Arc<Handshake>,
        terms: Terms,
        preface: Option<Bytes>,
    ) -> ConnectionKey {
        let now = Instant::now();
        let node = self.node.clone();
        let sid = node.ids.connection(self.index);
        let upgrades: &[&str] = match transport {
            Transport::Polling if node.settings.transports.websocket => &["websocket"],
            Transport::Polling | Transport::WebSocket => &[],
        };
        let hello = engine::Handshake {
            sid: &sid,
            upgrades,
            ping_interval: node.settings.timing.ping_interval,
            ping_timeout: node.settings.timing.ping_timeout,
            max_payload: node.settings.payload,
        };
        let mut outbox = Outbox::default();
        if let Some(preface) = preface {
            outbox.push_control(preface);
        }
        outbox.push(hello.packet(), Keep::Always, 0);
        self.tally.waiting(0, outbox.bytes());
        self.tally.polling += usize::from(transport == Transport::Polling);
        self.generation = self.generation.wrapping_add(1);
        let slot = self.connections.insert(Connection {
            generation: self.generation,
            sid: sid.clone(),
            machine: Machine::new(transport, raw, &node.settings.timing, now),
            outbox,
            websocket: None,
            probe: None,
            poll: None,
            sockets: Vec::new(),
            joining: Vec::new(),
            armed: None,
            dirty: false,
            handshake,
            terms,
            opened: now,
            written_early: 0,
        });
        let key = connection_key(slot, self.generation);
        self.by_sid.insert(sid, key);
        self.load.connections.fetch_add(1, Relaxed);
        self.rearm(key);
        key
    }

    /// The connection of a key, if it is still that one.
    pub(super) fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        connection_of(&mut self.connections, key)
    }

    /// The socket of a key, if it is still that one.
    pub(super) fn socket(&mut self, key: SocketKey) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(key.index as usize)?;
        (socket.generation == key.generation).then_some(socket)
    }

    /// The key of a socket that exists.
    pub(super) fn socket_key(&self, index: SocketIndex) -> SocketKey {
        SocketKey {
            index,
            generation: self.sockets[index as usize].generation,
        }
    }

    /// A number for a new socket.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// All connections, in a random order: those who came together shall not leave together.
    pub(super) fn connection_keys(&self) -> Vec<ConnectionKey> {
        let mut keys: Vec<(&Arc<str>, ConnectionKey)> =
            self.by_sid.iter().map(|(sid, key)| (sid, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether a client is changing over to WebSocket: it polls no more, and waits for nothing else.
    pub(super) fn is_upgrading(&mut self, key: ConnectionKey) -> bool {
        self.connection(key)
            .is_some_and(|connection| connection.machine.is_upgrading())
    }

    /// Whether any client is.
    pub(super) fn has_upgrades(&self) -> bool {
        let mut connections = self.connections.iter();
        connections.any(|(_, connection)| connection.machine.is_upgrading())
    }

    /// Sets a connection's timer to its machine's next deadline.
    pub(super) fn rearm(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let (from, to) = (connection.armed, connection.machine.deadline());
        connection.armed = to;
        self.timers.rearm(Due::Connection(key), from, to);
    }

    /// Does what is due; returns when the next is.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Connection(key) => {
                    if let Some(connection) = self.connection(key) {
                        connection.armed = None;
                    }
                    self.tick_connection(key, now);
                }
                Due::Room(room) => self.conflated_due(room, now),
            }
        }
        self.timers.next()
    }

    pub(super) fn tick_connection(&mut self, key: ConnectionKey, now: Instant) {
        let timing = self.node.settings.timing;
        let Some(connection) = self.connection(key) else {
            return;
        };
        let mut actions = Vec::new();
        connection.machine.tick(&timing, now, &mut actions);
        self.act(key, actions);
        self.rearm(key);
    }

    /// Chores of once a second: expired sessions, polls that nobody fetched.
    pub(super) fn sweep(&mut self, now: Instant, now_ms: u64) {
        self.last_words.retain(|_, words| words.until > now);
        self.ended.retain(|_, at| now < *at + ADMISSION);
        for (_, socket) in &mut self.sockets {
            socket.acks.retain(|_, call| !call.reports.is_closed());
        }
        let expired: Vec<SocketKey> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.expires_ms.is_some_and(|at| at <= now_ms))
            .map(|(index, socket)| SocketKey {
                index: index as SocketIndex,
                generation: socket.generation,
            })
            .collect();
        for key in expired {
            self.disconnect(key, false);
        }
    }

    /// Puts a socket into a room.
    pub(super) fn join(&mut self, index: SocketIndex, room: &Arc<str>) -> bool {
        let socket = &self.sockets[index as usize];
        let (namespace, name) = (socket.namespace, &socket.namespace_name);
        let node = &self.node;
        let joined = self.rooms.join(namespace, room, index);
        if joined == Joined::Already {
            return false;
        }
        let class = node.handler.class(name, room);
        if joined == Joined::First {
            let announce = || {
                let announced = node.relay.joined(name, room);
                if announced > 0 && matches!(class, RoomClass::Conflated(_)) {
                    node.relay.catch_up(name, room);
                }
                announced
            };
            node.hub.registry.add(namespace, room, self.index, announce);
        }
        if class == RoomClass::Recoverable {
            let following = &mut self.sockets[index as usize].following;
            following.get_or_insert_default().join(room);
        }
        let node = &self.node;
        if node.relay.cluster().is_some() {
            // The room's first member may be about to be announced itself.
            let announced = node.hub.registry.announced(namespace, room);
            self.announced(index, announced);
        }
        if self.sockets[index as usize].held.is_none() {
            self.note_joined(index, room);
            self.catch_up(index, namespace, room);
        }
        true
    }

    /// Takes a socket out of a room.
    pub(super) fn leave(&mut self, index: SocketIndex, room: &str) -> bool {
        let namespace = self.sockets[index as usize].namespace;
        match self.rooms.leave(namespace, room, index) {
            Left::Not => return false,
            Left::Member => {}
            Left::Last => self.room_emptied(namespace, room),
        }
        self.note_left(index, room);
        true
    }

    pub(super) fn room_emptied(&mut self, namespace: NamespaceId, room: &str) {
        let node = &self.node;
        let withdraw = || {
            if let Some(name) = node.hub.namespaces.name(namespace) {
                node.relay.left(&name, room);
            }
        };
        node.hub
            .registry
            .remove(namespace, room, self.index, withdraw);
        if let Some((number, at)) = self.conflations.forget(namespace, room) {
            self.timers.rearm(Due::Room(number), Some(at), None);
        }
    }

    /// Calls `look` with what can be known of a socket.
    pub(super) fn with_view<T>(
        &self,
        index: SocketIndex,
        look: impl FnOnce(SocketView<'_>) -> T,
    ) -> Option<T> {
        let socket = self.sockets.get(index as usize)?;
        let connection = self.connections.get(socket.connection as u32 as usize)?;
        Some(look(SocketView {
            id: &socket.id,
            namespace: &socket.namespace_name,
            user: socket.user.as_ref(),
            session: socket.session.as_ref(),
            recovered: socket.recovered,
            auth: socket.auth.as_deref(),
            handshake: &connection.handshake,
            connection: &connection.sid,
            transport: connection.machine.transport(),
        }))
    }

    /// Carries out what a connection's machine decided.
    pub(super) fn act(&mut self, key: ConnectionKey, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(frame) => self.send(key, &[frame], Keep::Always),
                Action::SendProbe(frame) => self.send_probe(key, frame),
                Action::ReleasePoll => self.release_poll(key),
                Action::Upgrade => self.upgrade(key),
                Action::CloseProbe => self.close_probe(key),
                Action::Close(reason) => self.close(key, reason),
                Action::Connect { namespace, auth } => self.handle_connect(key, namespace, auth),
                Action::Leave { namespace } => self.handle_leave(key, &namespace),
                Action::Event(incoming) => self.handle_event(key, incoming),
                Action::Ack(incoming) => self.handle_ack(key, incoming),
                Action::Raw(message) => self.handle_raw(key, message),
            }
        }
    }
}

/// The connection of a key, if it is still that one; leaves the rest of the state free.
pub(super) fn connection_of(
    connections: &mut Slab<Connection>,
    key: ConnectionKey,
) -> Option<&mut Connection> {
    let (slot, generation) = (key as u32 as usize, (key >> 32) as u32);
    connections
        .get_mut(slot)
        .filter(|connection| connection.generation == generation)
}

/// The key of a connection in a slot.
fn connection_key(slot: usize, generation: u32) -> ConnectionKey {
    u64::from(generation) << 32 | slot as u64
}
