//! What comes from clients: bytes and polls become packets, packets become actions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    command::ConnectionKey,
    machine::{Incoming, Raw, Reason, Transport, Via},
    outbox::{Keep, Outbox},
    rooms::SocketIndex,
    state::{State, connection_of},
};
use crate::{
    app::handler::{ClientEvent, SocketContext, SocketView},
    event::AckReport,
    http::engine::{PollAnswer, PostAnswer, Rejection},
    protocol::{DecodeError, engine, frame::Frame, socket},
    transport::{
        reader::{Readers, Received},
        websocket::{Detached, ReadStep, WebSocket, Written},
    },
};

/// Reads of one WebSocket before the shard looks at others.
const READS_AT_ONCE: usize = 2;

/// Bytes of pongs that may wait beyond the outbox's limit.
const CONTROL_SPARE: usize = 64 << 10;

/// Packets in one POST.
const MAX_POSTED_PACKETS: usize = 10_000;

impl State {
    /// A connection opened by WebSocket: gives it its stream. Returns the id to read it by.
    pub(crate) fn attach(&mut self, key: ConnectionKey, detached: Detached) -> Option<u64> {
        let id = u64::from(self.next_generation());
        let connection = self.connection(key)?;
        match WebSocket::attach(id, detached) {
            Ok(websocket) => connection.websocket = Some(Box::new(websocket)),
            Err(_) => {
                self.close(key, Reason::TransportError);
                return None;
            }
        }
        self.mark_dirty(key);
        Some(id)
    }

    /// A WebSocket came for a polling connection. Returns the connection and the id to read it by.
    pub(crate) fn adopt(&mut self, sid: &str, detached: Detached) -> Option<(ConnectionKey, u64)> {
        let node = self.node.clone();
        let id = u64::from(self.next_generation());
        let key = *self.by_sid.get(sid)?;
        let connection = self.connection(key)?;
        if !connection
            .machine
            .open_probe(&node.settings.timing, Instant::now())
        {
            return None;
        }
        match WebSocket::attach(id, detached) {
            Ok(websocket) => {
                connection.probe = Some(Box::new((websocket, Outbox::default())));
                self.rearm(key);
                Some((key, id))
            }
            Err(_) => {
                connection.machine.probe_lost();
                None
            }
        }
    }

    /// One look at a WebSocket: ready when there is nothing more to read from it, ever.
    pub(super) fn poll_websocket(
        &mut self,
        key: ConnectionKey,
        id: u64,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<()> {
        let limit = self.node.settings.outbox;
        for _ in 0..READS_AT_ONCE {
            let mut received = Vec::new();
            let Some((websocket, outbox, via, readers)) = self.websocket(key, id) else {
                return Poll::Ready(());
            };
            let before = outbox.bytes();
            let unblocked = websocket.poll_unblocked(cx);
            let step = match websocket.take_ahead(readers, outbox, &mut received) {
                true => Poll::Ready(ReadStep::Ahead),
                false => websocket.poll_read(cx, buffer),
            };
            if let Poll::Ready(ReadStep::Bytes(len)) = step {
                websocket.receive(&buffer[..len], readers, outbox, &mut received);
            }
            let after = outbox.bytes();
            let waits = unblocked || !outbox.is_empty();
            if via == Via::Transport {
                self.tally.waiting(before, after);
            }
            if after > before && limit > 0 && after > limit + CONTROL_SPARE {
                // It asks without reading the answers.
                self.tally.slow_readers += 1;
                self.stream_ended(key, via, Reason::SlowReader);
                return Poll::Ready(());
            }
            if waits {
                match via {
                    Via::Transport => self.mark_dirty(key),
                    Via::Probe => self.flush_probe(key),
                }
            }
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ReadStep::Bytes(_) | ReadStep::Ahead) => {
                    self.received(key, id, received);
                }
                Poll::Ready(ReadStep::End) => {
                    self.stream_ended(key, via, Reason::TransportClose);
                    return Poll::Ready(());
                }
            }
        }
        // Others on this shard want to be read, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A WebSocket of a connection by its id, and what it is to the connection now: a probe may
    /// have become the transport with the packet before.
    fn websocket(
        &mut self,
        key: ConnectionKey,
        id: u64,
    ) -> Option<(&mut WebSocket, &mut Outbox, Via, &mut Readers)> {
        let connection = connection_of(&mut self.connections, key)?;
        let readers = &mut self.readers;
        match (&mut connection.websocket, &mut connection.probe) {
            (Some(websocket), _) if websocket.id == id => {
                Some((websocket, &mut connection.outbox, Via::Transport, readers))
            }
            (_, Some(probe)) if probe.0.id == id => {
                let (websocket, outbox) = &mut **probe;
                Some((websocket, outbox, Via::Probe, readers))
            }
            _ => None,
        }
    }

    fn stream_ended(&mut self, key: ConnectionKey, via: Via, reason: Reason) {
        match via {
            Via::Transport => self.close(key, reason),
            Via::Probe => self.close_probe(key),
        }
    }

    /// Handles the messages of one read.
    fn received(&mut self, key: ConnectionKey, id: u64, messages: Vec<Received>) {
        for message in messages {
            self.tally.bytes_in += message.len() as u64;
            let Some((websocket, outbox, via, _)) = self.websocket(key, id) else {
                return;
            };
            match message {
                Received::Text(text) => self.packet(key, engine::decode_text(&text), via),
                Received::Binary(bytes) => {
                    self.packet(key, Ok(engine::Packet::Binary(bytes)), via);
                }
                Received::Close => {
                    websocket.closed_by_peer();
                    self.stream_ended(key, via, Reason::TransportClose);
                }
                Received::Broken(code, why) => {
                    websocket.close(outbox, code, why);
                    match via {
                        Via::Transport => self.flush(key),
                        Via::Probe => self.flush_probe(key),
                    }
                    self.stream_ended(key, via, Reason::TransportClose);
                }
            }
        }
    }

    fn packet(
        &mut self,
        key: ConnectionKey,
        packet: Result<engine::Packet<'_>, DecodeError>,
        via: Via,
    ) {
        let timing = self.node.settings.timing;
        self.tally.packets_in += 1;
        let Some(connection) = self.connection(key) else {
            return;
        };
        let mut actions = Vec::new();
        match packet {
            Ok(packet) => {
                connection
                    .machine
                    .packet(packet, via, &timing, Instant::now(), &mut actions);
            }
            Err(_) => connection.machine.malformed(via, &mut actions),
        }
        self.act(key, actions);
        self.rearm(key);
    }

    /// A poll: answered when there is something to say.
    pub(crate) fn poll(&mut self, sid: &str, reply: oneshot::Sender<PollAnswer>) {
        let Some(key) = self.by_sid.get(sid).copied() else {
            let answer = match self.take_last_words(sid) {
                Some(body) => PollAnswer::Packets(body),
                None => PollAnswer::Rejected(Rejection::UnknownSid),
            };
            let _ = reply.send(answer);
            return;
        };
        // The poll may come in before a timer that was due.
        self.tick_connection(key, Instant::now());
        if self.connection(key).is_none() {
            let _ = reply.send(PollAnswer::Rejected(Rejection::UnknownSid));
            return;
        }
        self.poll_connection(key, reply);
    }

    /// A poll for a connection that exists.
    pub(crate) fn poll_connection(
        &mut self,
        key: ConnectionKey,
        reply: oneshot::Sender<PollAnswer>,
    ) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.machine.transport() != Transport::Polling {
            let _ = reply.send(PollAnswer::Rejected(Rejection::BadRequest));
            return;
        }
        if connection.poll.is_some() {
            // Two polls at once break the protocol; a poll that was given up ends the session.
            let _ = reply.send(PollAnswer::Rejected(Rejection::Overlap));
            return self.close(key, Reason::TransportError);
        }
        let upgrading = connection.machine.is_upgrading();
        connection.poll = Some(reply);
        self.flush(key);
        if upgrading {
            self.release_poll(key);
        }
    }

    /// The client of a waiting poll went away.
    pub(crate) fn poll_gone(&mut self, sid: &str) {
        let Some(key) = self.by_sid.get(sid).copied() else {
            return;
        };
        let gone = self
            .connection(key)
            .and_then(|connection| connection.poll.as_ref())
            .is_some_and(oneshot::Sender::is_closed);
        if gone {
            self.close(key, Reason::TransportClose);
        }
    }

    /// Whether there is a connection of that id.
    pub(crate) fn has(&self, sid: &str) -> bool {
        self.by_sid.contains_key(sid)
    }

    /// Packets sent by POST, handled in order.
    pub(crate) fn post(&mut self, sid: &str, body: &Bytes) -> PostAnswer {
        let Some(key) = self.by_sid.get(sid).copied() else {
            return PostAnswer::Rejected(Rejection::UnknownSid);
        };
        let Some(connection) = self.connection(key) else {
            return PostAnswer::Rejected(Rejection::UnknownSid);
        };
        if connection.machine.transport() != Transport::Polling {
            return PostAnswer::Rejected(Rejection::BadRequest);
        }
        self.tally.bytes_in += body.len() as u64;
        let Ok(text) = std::str::from_utf8(body) else {
            self.close(key, Reason::ParseError);
            return PostAnswer::Rejected(Rejection::Malformed);
        };
        for (nth, packet) in engine::decode_payload(text).enumerate() {
            let malformed = packet.is_err() || nth >= MAX_POSTED_PACKETS;
            let packet = if malformed {
                Err(DecodeError::Empty)
            } else {
                packet
            };
            self.packet(key, packet, Via::Transport);
            if malformed {
                return PostAnswer::Rejected(Rejection::Malformed);
            }
        }
        PostAnswer::Ok
    }

    /// Answers a waiting poll with a no-op, so that the client can move to its WebSocket.
    pub(super) fn release_poll(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if let Some(poll) = connection.poll.take() {
            let body = engine::encode_payload(&[engine::noop()]);
            if poll.send(PollAnswer::Packets(body)).is_err() {
                self.close(key, Reason::TransportClose);
            }
        }
    }

    pub(super) fn send_probe(&mut self, key: ConnectionKey, packet: Frame) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if let Some(probe) = &mut connection.probe {
            probe.1.push(packet, Keep::Always, 0);
            self.flush_probe(key);
        }
    }

    fn flush_probe(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Some(probe) = &mut connection.probe else {
            return;
        };
        let (websocket, outbox) = &mut **probe;
        if !websocket.is_blocked() && websocket.write(outbox) == Written::Broken {
            self.close_probe(key);
        }
    }

    /// The probing WebSocket becomes the transport.
    pub(super) fn upgrade(&mut self, key: ConnectionKey) {
        self.tally.polling = self.tally.polling.saturating_sub(1);
        self.release_poll(key);
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        let Some(probe) = connection.probe.take() else {
            return;
        };
        let (websocket, mut said) = *probe;
        let waiting = std::mem::take(&mut connection.outbox);
        let before = waiting.bytes();
        // Behind a close frame nothing may come: what waits for a poll is lost with the transport.
        if !websocket.is_closing() {
            said.append_all(waiting);
        }
        self.tally.waiting(before, said.bytes());
        connection.outbox = said;
        connection.websocket = Some(Box::new(websocket));
        self.mark_dirty(key);
        self.note_moved(key);
    }

    pub(super) fn close_probe(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.machine.probe_lost();
        if let Some(mut probe) = connection.probe.take() {
            probe.0.wake();
        }
        self.rearm(key);
    }

    /// The client leaves a namespace.
    pub(super) fn handle_leave(&mut self, key: ConnectionKey, namespace: &str) {
        let Some(index) = self.socket_in(key, namespace) else {
            return;
        };
        self.end_socket(index, Reason::ClientDisconnect);
    }

    /// The client emits: the handler decides.
    pub(super) fn handle_event(&mut self, key: ConnectionKey, incoming: Incoming) {
        self.tally.events += 1;
        let Some(index) = self.socket_in(key, &incoming.namespace) else {
            return self.close(key, Reason::ParseError);
        };
        if self.sockets[index as usize].held.is_some() {
            // The client speaks before its CONNECT was answered.
            return self.close(key, Reason::ParseError);
        }
        let Ok(event) = socket::event(&incoming.data) else {
            return self.close(key, Reason::ParseError);
        };
        self.note_received(index, &incoming.data);
        let handler = self.node.handler.clone();
        let attachments = &incoming.attachments;
        self.consult(index, |context| {
            let event = ClientEvent {
                event,
                attachments,
                ack: incoming.id,
            };
            handler.event(context, event);
        });
    }

    /// Lets the handler decide, then carries out what it asked for. If it panics, none of it is,
    /// and the connection is closed.
    pub(super) fn consult(
        &mut self,
        index: SocketIndex,
        decide: impl FnOnce(&mut SocketContext<'_>),
    ) {
        let rooms: Vec<Arc<str>> = self.rooms.of(index).cloned().collect();
        let mut effects = Vec::new();
        let outcome = self.with_view(index, |socket: SocketView<'_>| {
            let mut context = SocketContext {
                socket,
                rooms: &rooms,
                effects: &mut effects,
            };
            catch_unwind(AssertUnwindSafe(|| decide(&mut context)))
        });
        match outcome {
            Some(Ok(())) => {
                let key = self.socket_key(index);
                self.apply(key, effects);
            }
            Some(Err(_)) => {
                self.tally.panics += 1;
                let connection = self.sockets[index as usize].connection;
                self.close(connection, Reason::ForcedClose);
            }
            None => {}
        }
    }

    /// The client acknowledges; an answer nobody waits for is ignored.
    pub(super) fn handle_ack(&mut self, key: ConnectionKey, incoming: Incoming) {
        let Some(index) = self.socket_in(key, &incoming.namespace) else {
            return self.close(key, Reason::ParseError);
        };
        let socket = &mut self.sockets[index as usize];
        let call = incoming.id.and_then(|id| socket.acks.remove(&id));
        if let Some(call) = call {
            let Incoming {
                data, attachments, ..
            } = incoming;
            let answer = AckReport::Answer {
                socket: socket.id.clone(),
                data,
                attachments,
            };
            let _ = call.reports.send(answer);
        }
    }

    /// A message on the raw endpoint.
    pub(super) fn handle_raw(&mut self, key: ConnectionKey, message: Raw) {
        let frame = match self.node.handler.clone().raw(message) {
            Some(Raw::Text(text)) => engine::message(&text),
            Some(Raw::Binary(bytes)) => Frame::binary(&bytes),
            None => return,
        };
        self.send(key, &[frame], Keep::Always);
    }

    /// The socket of a connection in a namespace.
    pub(super) fn socket_in(&mut self, key: ConnectionKey, namespace: &str) -> Option<SocketIndex> {
        let namespace = self.node.hub.namespaces.find(namespace)?;
        let connection = self.connection(key)?;
        let found = connection
            .sockets
            .iter()
            .find(|(other, _)| *other == namespace);
        found.map(|(_, index)| *index)
    }
}
