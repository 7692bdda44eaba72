//! What reaches a shard from elsewhere, and the bounded ways there and back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tidings_cluster::proto::slots::Home;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{machine::Reason, state::State};
use crate::{
    app::handler::{Admission, BoxFuture, Effect, Refusal},
    event::Emit,
    histogram::Histogram,
    http::engine::{PollAnswer, PostAnswer},
    recovery::{
        session::{Opened, Stored},
        slot::SlotNo,
    },
    transport::websocket::Detached,
};

/// Commands waiting for a shard. When it is full the sender waits: an API call, a link; the
/// acceptor tries again.
pub(crate) const MAILBOX_CAPACITY: usize = 1024;

/// Jobs waiting for the control plane. When it is full they wait on their shards.
pub(crate) const JOB_CAPACITY: usize = 4096;

/// Names a connection in its shard: the slot and how often it was reused.
pub(crate) type ConnectionKey = u64;

/// Names a socket in its shard across reuse of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Names a record, and the connection that holds it.
pub(crate) type RecordKey = (Arc<str>, (SlotNo, Home));

/// One thing for a shard to do.
pub(crate) enum Command {
    /// A TCP connection to serve.
    Accept(std::net::TcpStream, SocketAddr),
    /// A WebSocket whose connection lives here.
    Adopt {
        sid: Arc<str>,
        websocket: Box<Detached>,
    },
    /// A poll for a connection that lives here.
    Poll {
        sid: Arc<str>,
        reply: oneshot::Sender<PollAnswer>,
    },
    /// The client of a waiting poll went away.
    PollGone { sid: Arc<str> },
    /// Packets for a connection that lives here.
    Post {
        sid: Arc<str>,
        body: Bytes,
        reply: oneshot::Sender<PostAnswer>,
    },
    /// An emit with members here.
    Emit(Arc<Emit>),
    /// The handler decided over a CONNECT.
    Admitted {
        connection: ConnectionKey,
        namespace: Arc<str>,
        auth: Option<Box<serde_json::value::RawValue>>,
        outcome: Result<(Admission, Opened), Refusal>,
    },
    /// A socket's recovery record was kept, or not.
    Kept {
        socket: SocketKey,
        /// The record, to let it go if the socket is gone meanwhile.
        record: Option<RecordKey>,
        stored: Stored,
    },
    /// Work that a handler left to the control plane is done.
    Effects {
        socket: SocketKey,
        effects: Vec<Effect>,
        /// The work's number, if something is held back for it.
        settled: Option<u64>,
    },
    /// A question, or an act of an operator.
    Run(Box<dyn FnOnce(&mut State) + Send>),
    /// Tell the clients to move, spread over the given time, then say when all are gone.
    Drain {
        spread: std::time::Duration,
        done: oneshot::Sender<()>,
    },
}

/// One shard as the rest of the node sees it.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    pub(crate) mailbox: mpsc::Sender<Command>,
    /// Notified when the shard has something to look at that is no command.
    pub(crate) wake: Arc<Notify>,
    pub(crate) load: Arc<Load>,
}

/// A shard's own figures. Written by the shard only, but for `streams`.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Files that are open for clients beside those of connections: accepted TCP connections, and
    /// what carries clients between nodes.
    pub(crate) streams: AtomicUsize,
    /// Engine.IO connections.
    pub(crate) connections: AtomicUsize,
    /// Sockets: connections times namespaces.
    pub(crate) sockets: AtomicUsize,
    /// Bytes that wait in outboxes.
    pub(crate) outbox_bytes: AtomicUsize,
    /// Bytes that wait in outboxes, those of one connection counting up to `EACH`.
    pub(crate) lag: AtomicUsize,
    /// Event frames queued to clients.
    pub(crate) deliveries: AtomicU64,
    /// Bytes written to clients, before TLS and HTTP.
    pub(crate) written_bytes: AtomicU64,
    /// Events received from clients.
    pub(crate) events: AtomicU64,
    /// Volatile frames dropped.
    pub(crate) dropped: AtomicU64,
    /// Conflated values replaced by newer ones before they were sent.
    pub(crate) conflated: AtomicU64,
    /// Connections closed as slow readers.
    pub(crate) slow_readers: AtomicU64,
    /// Handlers that panicked.
    pub(crate) panics: AtomicU64,
    /// From when the node began to send an event until it was written to those of its clients here
    /// that could be written to. What waits for its interval is not in it.
    pub(crate) written: Histogram,
    /// Connections that poll.
    pub(crate) polling: AtomicUsize,
    /// Engine.IO packets from clients.
    pub(crate) packets_in: AtomicU64,
    /// Frames queued to clients.
    pub(crate) packets_out: AtomicU64,
    /// Bytes of messages from clients.
    pub(crate) bytes_in: AtomicU64,
    /// Events that whoever looks by the admin UI was not shown.
    pub(crate) unshown: AtomicU64,
    /// Connections that ended, by [`Reason::ALL`].
    closes: [AtomicU64; Reason::ALL.len()],
    /// What became of clients that asked for a namespace, by [`Connected::ALL`].
    connects: [AtomicU64; Connected::ALL.len()],
}

/// What became of a client that asked for a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    /// It is in.
    Accepted,
    /// It was refused for good.
    Refused,
    /// It is to try again: a limit, or something that did not answer.
    PutOff,
}

impl Connected {
    /// All of them, as they are numbered.
    pub(crate) const ALL: [Connected; 3] = [Self::Accepted, Self::Refused, Self::PutOff];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::PutOff => "put_off",
        }
    }
}

/// A shard's figures as it counts them: plain numbers, as a delivery must not pay for an atomic.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) outbox_bytes: usize,
    /// The same, each connection counting up to `Load::EACH`.
    pub(super) lag: usize,
    pub(super) deliveries: u64,
    pub(super) written_bytes: u64,
    pub(super) events: u64,
    pub(super) dropped: u64,
    pub(super) conflated: u64,
    pub(super) slow_readers: u64,
    pub(super) panics: u64,
    pub(super) polling: usize,
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    pub(super) bytes_in: u64,
    pub(super) unshown: u64,
}

impl Tally {
    /// An outbox that held `before` bytes holds `after`.
    pub(super) fn waiting(&mut self, before: usize, after: usize) {
        self.outbox_bytes = (self.outbox_bytes + after).saturating_sub(before);
        let lag = |bytes: usize| bytes.min(Load::EACH);
        self.lag = (self.lag + lag(after)).saturating_sub(lag(before));
    }
}

impl Load {
    /// A connection ended.
    pub(super) fn closed(&self, reason: Reason) {
        self.closes[reason as usize].fetch_add(1, Relaxed);
    }

    /// Connections that ended so.
    pub(crate) fn closes(&self, reason: Reason) -> u64 {
        self.closes[reason as usize].load(Relaxed)
    }

    /// A client asked for a namespace.
    pub(super) fn asked(&self, outcome: Connected) {
        self.connects[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Clients of which this became.
    pub(crate) fn connects(&self, outcome: Connected) -> u64 {
        self.connects[outcome as usize].load(Relaxed)
    }

    /// Lets the rest of the node see the figures.
    pub(super) fn publish(&self, tally: &Tally) {
        self.outbox_bytes.store(tally.outbox_bytes, Relaxed);
        self.lag.store(tally.lag, Relaxed);
        self.deliveries.store(tally.deliveries, Relaxed);
        self.written_bytes.store(tally.written_bytes, Relaxed);
        self.events.store(tally.events, Relaxed);
        self.dropped.store(tally.dropped, Relaxed);
        self.conflated.store(tally.conflated, Relaxed);
        self.slow_readers.store(tally.slow_readers, Relaxed);
        self.panics.store(tally.panics, Relaxed);
        self.polling.store(tally.polling, Relaxed);
        self.packets_in.store(tally.packets_in, Relaxed);
        self.packets_out.store(tally.packets_out, Relaxed);
        self.bytes_in.store(tally.bytes_in, Relaxed);
        self.unshown.store(tally.unshown, Relaxed);
    }

    /// Bytes that a connection may have waiting before it counts as fully behind.
    const EACH: usize = 64 << 10;

    /// Whether most clients of the shard are behind. What waits for a connection counts only up to
    /// a bound, so that a few slow readers do not hold up emits to the others.
    pub(crate) fn is_behind(&self) -> bool {
        /// Bytes that may wait in any case: a hundred connections fully behind.
        const FLOOR: usize = 100 * Load::EACH;
        let bound = self.connections.load(Relaxed) * Self::EACH / 2;
        self.lag.load(Relaxed) > bound.max(FLOOR)
    }
}

/// One of [`Load::streams`], for as long as it lives.
pub(crate) struct OpenStream(Arc<Load>);

impl OpenStream {
    /// Counts one more.
    pub(crate) fn new(load: Arc<Load>) -> Self {
        load.streams.fetch_add(1, Relaxed);
        Self(load)
    }

    /// One that the acceptor has counted.
    pub(crate) fn counted(load: Arc<Load>) -> Self {
        Self(load)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// Work that a shard leaves to the control plane.
pub(crate) type Job = BoxFuture<()>;

/// Work that the control plane has no room for yet.
pub(super) struct Waiting {
    pub(super) work: Job,
    /// The connection without which it is for nothing.
    pub(super) only_for: Option<ConnectionKey>,
}
