//! PURE: one connection's protocol state, Engine.IO below and Socket.IO above.
//!
//! Packets and the time go in, actions come out; the shard carries them out. Sources:
//! Engine.IO protocol 4 and Socket.IO protocol 5.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::{
    engine::{self, Packet},
    frame::Frame,
    socket::{self, Kind},
};

/// The transport that carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name that the protocol uses.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }
}

/// Why a connection or a socket ended, in Socket.IO's words where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client or the network closed the transport.
    TransportClose,
    /// The transport broke its rules.
    TransportError,
    /// No pong came in time.
    PingTimeout,
    /// A packet could not be read.
    ParseError,
    /// No namespace was joined in time.
    ConnectTimeout,
    /// The client left the namespace.
    ClientDisconnect,
    /// The server put the client out of the namespace.
    ServerDisconnect,
    /// The server closed the connection.
    ForcedClose,
    /// The node drains.
    ShuttingDown,
    /// The client reads more slowly than it is sent to.
    SlowReader,
    /// Too many connections from the address.
    RateLimited,
    /// Something that the node needs did not answer.
    Unavailable,
    /// A newer connection took this one's place.
    Replaced,
}

impl Reason {
    /// All of them, as they are numbered.
    pub(crate) const ALL: [Reason; 13] = [
        Reason::TransportClose,
        Reason::TransportError,
        Reason::PingTimeout,
        Reason::ParseError,
        Reason::ConnectTimeout,
        Reason::ClientDisconnect,
        Reason::ServerDisconnect,
        Reason::ForcedClose,
        Reason::ShuttingDown,
        Reason::SlowReader,
        Reason::RateLimited,
        Reason::Unavailable,
        Reason::Replaced,
    ];

    /// Socket.IO's name of the reason, or ours where it has none.
    pub fn name(self) -> &'static str {
        match self {
            Reason::TransportClose => "transport close",
            Reason::TransportError => "transport error",
            Reason::PingTimeout => "ping timeout",
            Reason::ParseError => "parse error",
            Reason::ConnectTimeout => "connect timeout",
            Reason::ClientDisconnect => "client namespace disconnect",
            Reason::ServerDisconnect => "server namespace disconnect",
            Reason::ForcedClose => "forced close",
            Reason::ShuttingDown => "server shutting down",
            Reason::SlowReader => "slow reader",
            Reason::RateLimited => "rate limited",
            Reason::Unavailable => "unavailable",
            Reason::Replaced => "replaced",
        }
    }

    /// The WebSocket close code and reason that tell the client.
    pub(crate) fn close_code(self) -> (u16, &'static str) {
        match self {
            Reason::ShuttingDown => (1013, "shutting_down"),
            Reason::SlowReader => (1013, "slow_reader"),
            Reason::RateLimited => (1013, "rate_limited"),
            Reason::Unavailable => (1013, "unavailable"),
            Reason::Replaced => (1000, "replaced"),
            Reason::ParseError => (1002, "parse_error"),
            Reason::TransportError => (1002, "transport_error"),
            Reason::PingTimeout => (1001, "ping_timeout"),
            Reason::ConnectTimeout => (1008, "connect_timeout"),
            _ => (1000, ""),
        }
    }

    /// Whether a client that comes back may be given what it missed.
    pub(crate) fn is_recoverable(self) -> bool {
        !matches!(self, Reason::ClientDisconnect | Reason::ServerDisconnect)
    }
}

/// The timers of every connection, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// From a pong to the next ping.
    pub(crate) ping_interval: Duration,
    /// From a ping to the latest pong.
    pub(crate) ping_timeout: Duration,
    /// From the opening of a probe to its upgrade.
    pub(crate) upgrade_timeout: Duration,
    /// From the handshake to the first namespace.
    pub(crate) connect_timeout: Duration,
}

/// Which way a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The connection's transport.
    Transport,
    /// A WebSocket that wants to become the transport.
    Probe,
}

/// What the shard shall do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Queue a packet on the transport.
    Send(Frame),
    /// Write a packet on the probing WebSocket.
    SendProbe(Frame),
    /// Answer a waiting poll now, so that the client can move.
    ReleasePoll,
    /// The probing WebSocket is the transport from here on.
    Upgrade,
    /// Drop the probing WebSocket.
    CloseProbe,
    /// The connection ends.
    Close(Reason),
    /// The client asks for a namespace.
    Connect {
        /// Its name.
        namespace: String,
        /// Its credentials: a JSON object.
        auth: Option<String>,
    },
    /// The client leaves a namespace.
    Leave {
        /// Its name.
        namespace: String,
    },
    /// The client emits.
    Event(Incoming),
    /// The client acknowledges.
    Ack(Incoming),
    /// A message on a raw Engine.IO endpoint.
    Raw(Raw),
}

/// An EVENT or ACK packet, whole with its attachments.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Where it goes.
    pub(crate) namespace: String,
    /// The acknowledgement it asks for, or answers.
    pub(crate) id: Option<u64>,
    /// The raw JSON array.
    pub(crate) data: String,
    /// The binary attachments in order.
    pub(crate) attachments: Vec<Bytes>,
}

/// A message without Socket.IO around it.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

#[derive(Debug)]
enum Heartbeat {
    PingAt(Instant),
    PongBy(Instant),
}

#[derive(Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// A WebSocket is open and has not said `2probe`.
    Open(Instant),
    /// `3probe` was sent; `5` is awaited.
    Answered(Instant),
}

/// A binary packet whose attachments are still coming.
#[derive(Debug)]
struct Pending {
    is_ack: bool,
    incoming: Incoming,
    expected: usize,
}

/// CONNECT packets on one connection; a client has a few namespaces and joins each once or twice.
const MAX_CONNECTS: u32 = 256;

/// One connection.
#[derive(Debug)]
pub(crate) struct Machine {
    transport: Transport,
    probe: Probe,
    heartbeat: Heartbeat,
    connect_by: Option<Instant>,
    pending: Option<Box<Pending>>,
    raw: bool,
    closed: bool,
    /// CONNECT packets so far: each costs the control plane a look-up.
    connects: u32,
}

impl Machine {
    /// A connection just opened.
    pub(crate) fn new(transport: Transport, raw: bool, timing: &Timing, now: Instant) -> Self {
        Self {
            transport,
            probe: Probe::None,
            heartbeat: Heartbeat::PingAt(now + timing.ping_interval),
            connect_by: (!raw).then(|| now + timing.connect_timeout),
            pending: None,
            raw,
            closed: false,
            connects: 0,
        }
    }

    /// The transport in use.
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a poll should be released at once because the client is changing over.
    pub(crate) fn is_upgrading(&self) -> bool {
        matches!(self.probe, Probe::Answered(_))
    }

    /// The connection ended for a reason of the shard's.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// The client has asked for a namespace: from here on the time is the node's.
    pub(crate) fn deciding(&mut self) {
        self.connect_by = None;
    }

    /// A namespace was joined: the client is somebody.
    pub(crate) fn joined(&mut self) {
        self.connect_by = None;
    }

    /// The client was refused and has joined nothing: it has a moment to read why.
    pub(crate) fn refused(&mut self, timing: &Timing, now: Instant) {
        const MOMENT: Duration = Duration::from_secs(2);
        let by = now + MOMENT.min(timing.connect_timeout);
        self.connect_by = Some(self.connect_by.map_or(by, |old| old.min(by)));
    }

    /// A WebSocket with this connection's id arrived; false if there is no place for it.
    pub(crate) fn open_probe(&mut self, timing: &Timing, now: Instant) -> bool {
        let free =
            self.transport == Transport::Polling && self.probe == Probe::None && !self.closed;
        if free {
            self.probe = Probe::Open(now + timing.upgrade_timeout);
        }
        free
    }

    /// The probing WebSocket is gone.
    pub(crate) fn probe_lost(&mut self) {
        self.probe = Probe::None;
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let mut at = match self.heartbeat {
            Heartbeat::PingAt(at) | Heartbeat::PongBy(at) => at,
        };
        if let Some(connect_by) = self.connect_by {
            at = at.min(connect_by);
        }
        if let Probe::Open(until) | Probe::Answered(until) = self.probe {
            at = at.min(until);
        }
        Some(at)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, timing: &Timing, now: Instant, out: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        if let Probe::Open(until) | Probe::Answered(until) = self.probe
            && until <= now
        {
            self.probe = Probe::None;
            out.push(Action::CloseProbe);
        }
        match self.heartbeat {
            Heartbeat::PingAt(at) if at <= now => {
                // From when it was due: a timer that fires late must not give the client more time.
                self.heartbeat = Heartbeat::PongBy(at + timing.ping_timeout);
                out.push(Action::Send(engine::ping()));
            }
            Heartbeat::PongBy(at) if at <= now => return self.end(Reason::PingTimeout, out),
            Heartbeat::PingAt(_) | Heartbeat::PongBy(_) => {}
        }
        if self.connect_by.is_some_and(|at| at <= now) {
            self.end(Reason::ConnectTimeout, out);
        }
    }

    /// Takes in one Engine.IO packet.
    pub(crate) fn packet(
        &mut self,
        packet: Packet<'_>,
        via: Via,
        timing: &Timing,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if self.closed {
            return;
        }
        if via == Via::Probe {
            return self.probe_packet(&packet, out);
        }
        match packet {
            Packet::Message(text) => self.message(text, out),
            Packet::Binary(bytes) => self.binary(bytes, out),
            Packet::Pong(_) => self.heartbeat = Heartbeat::PingAt(now + timing.ping_interval),
            Packet::Close => self.end(Reason::TransportClose, out),
            // Only servers ping in Engine.IO 4.
            Packet::Ping(_) => self.end(Reason::TransportError, out),
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
    }

    /// A packet could not be read.
    pub(crate) fn malformed(&mut self, via: Via, out: &mut Vec<Action>) {
        match via {
            Via::Probe => {
                self.probe = Probe::None;
                out.push(Action::CloseProbe);
            }
            Via::Transport => self.end(Reason::ParseError, out),
        }
    }

    fn probe_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<Action>) {
        match (packet, &self.probe) {
            (Packet::Ping("probe"), Probe::Open(until)) => {
                self.probe = Probe::Answered(*until);
                out.push(Action::SendProbe(engine::pong("probe")));
                out.push(Action::ReleasePoll);
            }
            (Packet::Upgrade, Probe::Answered(_)) => {
                self.probe = Probe::None;
                self.transport = Transport::WebSocket;
                out.push(Action::Upgrade);
            }
            _ => {
                self.probe = Probe::None;
                out.push(Action::CloseProbe);
            }
        }
    }

    fn message(&mut self, text: &str, out: &mut Vec<Action>) {
        if self.raw {
            return out.push(Action::Raw(Raw::Text(text.to_owned())));
        }
        if self.pending.is_some() {
            return self.end(Reason::ParseError, out);
        }
        let Ok(packet) = socket::decode(text) else {
            return self.end(Reason::ParseError, out);
        };
        let namespace = packet.namespace.to_owned();
        let data = packet.data.map(str::to_owned);
        match packet.kind {
            Kind::Connect => {
                self.connects += 1;
                if self.connects > MAX_CONNECTS {
                    return self.end(Reason::ParseError, out);
                }
                out.push(Action::Connect {
                    namespace,
                    auth: data,
                });
            }
            Kind::Disconnect => out.push(Action::Leave { namespace }),
            // Only servers refuse.
            Kind::ConnectError => self.end(Reason::ParseError, out),
            Kind::Event | Kind::Ack | Kind::BinaryEvent | Kind::BinaryAck => {
                let incoming = Incoming {
                    namespace,
                    id: packet.id,
                    data: data.unwrap_or_default(),
                    attachments: Vec::new(),
                };
                let is_ack = matches!(packet.kind, Kind::Ack | Kind::BinaryAck);
                let expected = packet.attachments;
                self.incoming(
                    Pending {
                        is_ack,
                        incoming,
                        expected,
                    },
                    out,
                );
            }
        }
    }

    fn binary(&mut self, bytes: Bytes, out: &mut Vec<Action>) {
        if self.raw {
            return out.push(Action::Raw(Raw::Binary(bytes)));
        }
        let Some(mut pending) = self.pending.take() else {
            return self.end(Reason::ParseError, out);
        };
        pending.incoming.attachments.push(bytes);
        self.incoming(*pending, out);
    }

    fn incoming(&mut self, packet: Pending, out: &mut Vec<Action>) {
        let Pending {
            is_ack,
            incoming,
            expected,
        } = packet;
        if incoming.attachments.len() < expected {
            self.pending = Some(Box::new(Pending {
                is_ack,
                incoming,
                expected,
            }));
            return;
        }
        if expected > 0 && socket::check_placeholders(&incoming.data, expected).is_err() {
            return self.end(Reason::ParseError, out);
        }
        out.push(if is_ack {
            Action::Ack(incoming)
        } else {
            Action::Event(incoming)
        });
    }

    fn end(&mut self, reason: Reason, out: &mut Vec<Action>) {
        self.closed = true;
        out.push(Action::Close(reason));
    }
}
