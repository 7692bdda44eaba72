//! What decides over a client: the trait [`Handler`] and what it sees and may do.
//!
//! [`Handler::connect`] runs on the control plane and may take its time. The others run on a
//! shard's thread between two packets: they decide at once and leave what takes longer to
//! [`Effect::Later`]. What they ask for is carried out after they return; if they panic,
//! none of it is, and their connection is closed.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    event::{EmitRequest, Event, RoomClass},
    protocol,
    shard::machine::{Raw, Reason, Transport},
};

/// A future that may move between the control plane's threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a namespace offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceRules {
    /// Whether it has recoverable rooms, so that its clients get a `pid`.
    pub recoverable: bool,
}

/// Decides what clients may do.
pub trait Handler: Send + Sync + 'static {
    /// The rules of a namespace; `None` if there is no such namespace.
    fn namespace(&self, name: &str) -> Option<NamespaceRules>;

    /// What a room promises.
    fn class(&self, namespace: &str, room: &str) -> RoomClass;

    /// Whether a client may join a namespace, and as whom.
    fn connect(&self, request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>>;

    /// The same at once, on the shard's thread, if nothing has to be waited for; else `None`, and
    /// [`Handler::connect`] is asked.
    fn connect_now(&self, _request: &ConnectRequest) -> Option<Result<Admission, Refusal>> {
        None
    }

    /// A client has joined; its CONNECT answer goes out before whatever is asked for here.
    fn connected(&self, _socket: &mut SocketContext<'_>) {}

    /// A client emits an event.
    fn event(&self, socket: &mut SocketContext<'_>, event: ClientEvent<'_>);

    /// A client is gone. Called for each that [`Handler::connected`] was called for.
    fn disconnected(&self, _socket: &SocketView<'_>, _reason: Reason) {}

    /// A handler on another node sent an event to all handlers: the answer, if any, is JSON.
    fn server_event(&self, _event: &str, _args: &[Box<RawValue>]) -> Option<Box<RawValue>> {
        None
    }

    /// A message on the raw Engine.IO endpoint: the answer, if any.
    fn raw(&self, _message: Raw) -> Option<Raw> {
        None
    }

    /// Whether query and headers are kept for [`SocketView::handshake`].
    fn keeps_handshake(&self) -> bool {
        false
    }

    /// Whether CONNECT payloads are kept for [`SocketView::auth`].
    fn keeps_auth(&self) -> bool {
        self.keeps_handshake()
    }
}

/// What a client showed when it opened its connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handshake {
    /// Its address, as far as trusted proxies tell.
    pub ip: IpAddr,
    /// Whether it used TLS, as far as trusted proxies tell.
    #[serde(default)]
    pub secure: bool,
    /// Its `Cookie` headers.
    pub cookie: Option<String>,
    /// Whether it takes recovery; `?recovery=0` declines.
    pub recovery: bool,
    /// Path and query of its first request; kept only if the handler asks for it.
    pub url: Option<String>,
    /// Its headers; kept only if the handler asks for it.
    pub headers: Option<Vec<(String, String)>>,
}

/// A client asks for a namespace.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The CONNECT payload: a JSON object.
    pub auth: Option<Box<RawValue>>,
    /// What it showed at its handshake.
    pub handshake: Arc<Handshake>,
}

/// A client may come in.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Who it is; `None` for nobody in particular.
    pub user: Option<Arc<str>>,
    /// The session that it lives under; its end closes the socket.
    pub session: Option<Arc<str>>,
    /// When that session expires, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Rooms it is in from the start.
    pub rooms: Vec<Arc<str>>,
}

/// A client may not come in.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// For good: CONNECT_ERROR. The client stays away until it is told otherwise.
    Final {
        /// For people.
        message: String,
        /// `data` of the packet: JSON.
        data: Option<Box<RawValue>>,
    },
    /// For now: the transport closes and the client tries again.
    Passing(Reason),
}

/// A client's event, taken apart.
#[derive(Debug)]
pub struct ClientEvent<'a> {
    /// The raw parts.
    pub event: protocol::socket::Event<'a>,
    /// Its attachments.
    pub attachments: &'a [Bytes],
    /// The acknowledgement it asks for.
    pub ack: Option<u64>,
}

/// What can be known of a socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketView<'a> {
    /// Its id.
    pub id: &'a Arc<str>,
    /// Its namespace's name.
    pub namespace: &'a Arc<str>,
    /// Its user.
    pub user: Option<&'a Arc<str>>,
    /// Its session.
    pub session: Option<&'a Arc<str>>,
    /// Whether it came back and was given what it had missed.
    pub recovered: bool,
    /// Its CONNECT payload, if the handler keeps those.
    pub auth: Option<&'a RawValue>,
    /// Its handshake.
    pub handshake: &'a Arc<Handshake>,
    /// The id of its connection.
    pub connection: &'a Arc<str>,
    /// The transport of its connection.
    pub transport: Transport,
}

/// What is decided on a shard's thread.
pub type Decision = Box<dyn FnOnce(&mut SocketContext<'_>) + Send>;

/// What a handler asks the shard to do.
pub enum Effect {
    /// Send an event to this socket.
    Emit(Event),
    /// Answer an event; held back until what it tells of is kept.
    Ack {
        /// The packet's id.
        id: u64,
        /// The answer.
        args: Vec<Box<RawValue>>,
        /// Its attachments.
        attachments: Vec<Bytes>,
    },
    /// Put the socket into a room.
    Join(Arc<str>),
    /// Take the socket out of a room.
    Leave(Arc<str>),
    /// Put the client out of the namespace, or close its connection as well.
    Disconnect {
        /// Whether the connection closes.
        close: bool,
    },
    /// Emit to rooms, through the node's switchboard.
    Broadcast(EmitRequest),
    /// Work for the control plane; its effects are carried out when it is done.
    Later(BoxFuture<Vec<Effect>>),
    /// Decide anew on the shard, as with an event: what was learned meanwhile may ask for anything.
    Decide(Decision),
    /// As `Later`, begun once the joins before it are what an acknowledgement would promise. What
    /// comes through `rooms` from now on is held back until its effects have been carried out: the
    /// client sees all of it after them.
    Settled {
        /// The rooms that it is about.
        rooms: Vec<Arc<str>>,
        /// What is to be done.
        work: BoxFuture<Vec<Effect>>,
    },
}

/// What a handler sees of a socket, and the way to ask for something.
pub struct SocketContext<'a> {
    /// The socket.
    pub socket: SocketView<'a>,
    /// The rooms that it is in.
    pub rooms: &'a [Arc<str>],
    /// What was asked for so far.
    pub effects: &'a mut Vec<Effect>,
}

impl SocketContext<'_> {
    /// Sends an event to this socket.
    pub fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }

    /// Answers an event with one argument.
    pub fn ack(&mut self, id: u64, answer: Box<RawValue>) {
        self.effects.push(Effect::Ack {
            id,
            args: vec![answer],
            attachments: Vec::new(),
        });
    }

    /// Asks for anything else.
    pub fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
