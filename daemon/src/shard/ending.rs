//! How connections and sockets end, and what they are told last.
//!
//! **Invariant:** a connection ends in [`State::close`] and a socket in [`State::end_socket`];
//! nothing else removes them.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::{
    command::{ConnectionKey, SocketKey},
    machine::{Reason, Transport},
    outbox::{Keep, Outbox},
    rooms::SocketIndex,
    state::{Connection, LastWords, State},
    timers::Due,
};
use crate::{
    event::AckReport,
    http::engine::{PollAnswer, Rejection},
    protocol::engine,
    transport::websocket::WebSocket,
};

/// Polling clients that were closed get their last packets if they poll once more within this.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(10);

/// How old a connection must be for its loss to let a recovery pass beyond its address's limit: a
/// client that connects and drops in a loop earns nothing.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(3);

impl State {
    /// Ends a connection: its sockets, its transport, its traces.
    pub(crate) fn close(&mut self, key: ConnectionKey, reason: Reason) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.machine.close();
        let sockets = std::mem::take(&mut connection.sockets);
        for (_, index) in sockets {
            self.end_socket(index, reason);
        }
        let slot = key as u32 as usize;
        let mut connection = self.connections.remove(slot);
        if connection.machine.transport() == Transport::Polling {
            self.tally.polling = self.tally.polling.saturating_sub(1);
        }
        self.timers
            .rearm(Due::Connection(key), connection.armed, None);
        self.by_sid.remove(&connection.sid);
        self.load.connections.fetch_sub(1, Relaxed);
        self.load.closed(reason);
        self.tally.waiting(connection.outbox.bytes(), 0);
        if let Some(probe) = connection.probe.take() {
            say_goodbye(&self.goodbyes, probe.0, probe.1, None);
        }
        match connection.websocket.take() {
            Some(websocket) => {
                say_goodbye(&self.goodbyes, *websocket, connection.outbox, Some(reason))
            }
            None => self.end_polling(connection, reason),
        }
    }

    fn end_polling(&mut self, mut connection: Connection, reason: Reason) {
        let payload = self.node.settings.payload;
        let mut bodies = VecDeque::new();
        // Packets and the end come in answers of their own: a client handles packets later than
        // the end of the transport, and would not know why it was closed.
        while leaves_last_words(reason) && !connection.outbox.is_empty() {
            bodies.push_back(engine::encode_payload(
                &connection.outbox.take_poll(payload),
            ));
        }
        match reason {
            // python-socketio takes a close packet for a wish to stay away; an error makes every
            // client come back.
            Reason::ShuttingDown => {}
            Reason::TransportClose => bodies.push_back(engine::encode_payload(&[engine::noop()])),
            _ => bodies.push_back(engine::encode_payload(&[engine::close()])),
        }
        if let Some(poll) = connection.poll.take() {
            let _ = poll.send(match bodies.pop_front() {
                Some(first) => PollAnswer::Packets(first),
                None => PollAnswer::Rejected(Rejection::ShuttingDown),
            });
        }
        if leaves_last_words(reason) && !bodies.is_empty() {
            let until = Instant::now() + LAST_WORDS;
            self.last_words
                .insert(connection.sid, LastWords { bodies, until });
        }
    }

    /// What a closed polling connection still has to be told, one answer at a time.
    pub(crate) fn take_last_words(&mut self, sid: &str) -> Option<Bytes> {
        let words = self.last_words.get_mut(sid)?;
        let body = words.bodies.pop_front();
        if words.bodies.is_empty() {
            self.last_words.remove(sid);
        }
        body
    }

    /// Ends a socket: out of its rooms, told to the handler, kept for recovery or not.
    pub(super) fn end_socket(&mut self, index: SocketIndex, reason: Reason) {
        let Some(socket) = self.sockets.get(index as usize) else {
            return;
        };
        if socket.held.is_none() {
            let handler = self.node.handler.clone();
            let told = self.with_view(index, |view| {
                catch_unwind(AssertUnwindSafe(|| handler.disconnected(&view, reason)))
            });
            if told.is_some_and(|told| told.is_err()) {
                self.tally.panics += 1;
            }
            self.note_gone(index, reason);
        }
        for (namespace, room) in self.rooms.leave_all(index) {
            self.room_emptied(namespace, &room);
        }
        let socket = self.sockets.remove(index as usize);
        self.load.sockets.fetch_sub(1, Relaxed);
        if self.by_id.get(&socket.id) == Some(&index) {
            self.by_id.remove(&socket.id);
        }
        for call in socket.acks.into_values() {
            let _ = call.reports.send(AckReport::Gone {
                socket: socket.id.clone(),
            });
        }
        if let Some(held) = socket.following.and_then(|following| following.held) {
            self.by_home.remove(&held.home.connection);
            self.leave_record(held.pid, (held.slot, held.home), reason);
            if reason.is_recoverable()
                && let Some(connection) = self.connection(socket.connection)
                && connection.opened.elapsed() >= SETTLED
            {
                let ip = connection.handshake.ip;
                let recovery = &self.node.recovery;
                recovery.lost().expect_back(ip, recovery.window());
            }
        }
        if let Some(connection) = self.connection(socket.connection) {
            connection.sockets.retain(|(_, other)| *other != index);
        }
    }

    /// Puts a client out of its namespace, or closes its connection as well.
    pub(crate) fn disconnect(&mut self, key: SocketKey, close: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let (connection, name) = (socket.connection, socket.namespace_name.clone());
        self.send(
            connection,
            &[crate::protocol::socket::disconnect(&name)],
            Keep::Always,
        );
        if self.socket(key).is_some() {
            self.end_socket(key.index, Reason::ServerDisconnect);
        }
        if close {
            self.close(connection, Reason::ForcedClose);
        }
    }
}

/// Whether a polling client that is away just now shall still learn why it was closed.
fn leaves_last_words(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ForcedClose | Reason::ShuttingDown | Reason::Unavailable | Reason::Replaced
    )
}

/// Lets a WebSocket go in its own time, bounded; one that carried a connection is told why.
fn say_goodbye(
    goodbyes: &TaskTracker,
    mut websocket: WebSocket,
    mut outbox: Outbox,
    reason: Option<Reason>,
) {
    /// How long a peer may take to read its last words.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
    websocket.wake();
    if let Some(reason) = reason {
        // A slow reader would not read it, and one that was replaced gets it elsewhere.
        if matches!(reason, Reason::SlowReader | Reason::Replaced) {
            outbox.keep_started();
        }
        let (code, text) = reason.close_code();
        websocket.close(&mut outbox, code, text);
    }
    goodbyes.spawn_local(async move {
        let _ = tokio::time::timeout(PATIENCE, websocket.finish(outbox)).await;
    });
}
