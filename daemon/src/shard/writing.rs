//! Towards the clients: frames into outboxes, outboxes into sockets and poll answers.

use super::{
    command::ConnectionKey,
    machine::Reason,
    outbox::{Keep, Pushed},
    state::{State, connection_of},
};
use crate::{
    http::engine::PollAnswer,
    protocol::{engine, frame::Frame},
    transport::websocket::Written,
};

impl State {
    /// Queues frames for a connection; closes it if they do not fit.
    pub(super) fn send(&mut self, key: ConnectionKey, frames: &[Frame], keep: Keep) {
        let limit = self.node.settings.outbox;
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        let tally = &mut self.tally;
        if keep == Keep::Volatile && !connection.is_writable() {
            tally.dropped += 1;
            return;
        }
        // The parts of a binary event stay together, so only a single frame may be replaced.
        let keep = if frames.len() > 1 { Keep::Always } else { keep };
        let before = connection.outbox.bytes();
        let mut overflow = false;
        for frame in frames {
            match connection.outbox.push(frame.clone(), keep, limit) {
                Pushed::Queued => {}
                Pushed::Replaced => tally.conflated += 1,
                Pushed::Dropped => tally.dropped += 1,
                Pushed::Overflow => overflow = true,
            }
        }
        tally.waiting(before, connection.outbox.bytes());
        if overflow {
            tally.slow_readers += 1;
            return self.close(key, Reason::SlowReader);
        }
        self.mark_dirty(key);
    }

    /// Queues the frames of a replay.
    pub(super) fn send_replay(&mut self, key: ConnectionKey, frames: Vec<Frame>) {
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        let before = connection.outbox.bytes();
        for frame in frames {
            connection.outbox.push_replay(frame);
        }
        self.tally.waiting(before, connection.outbox.bytes());
        self.mark_dirty(key);
    }

    /// Notes that a connection has something to write.
    pub(super) fn mark_dirty(&mut self, key: ConnectionKey) {
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        // During a flush a connection may still wait for its turn in it; one that asks has its
        // answer sooner.
        if !connection.dirty || self.flushing {
            connection.dirty = true;
            self.dirty.push(key);
            if self.dirty.len() == 1 {
                self.wake.notify_one();
            }
        }
    }

    /// What there is to flush now. What becomes dirty until [`State::end_flush`] is not in it.
    pub(super) fn begin_flush(&mut self) -> Vec<ConnectionKey> {
        self.flushing = true;
        std::mem::take(&mut self.dirty)
    }

    /// Flushes what clients led to by packets that were read between two slices.
    pub(super) fn flush_asked(&mut self) {
        /// More than clients lead to by themselves: a flush of its own.
        const MANY: usize = 256;
        if self.dirty.len() <= MANY {
            for key in std::mem::take(&mut self.dirty) {
                self.flush(key);
            }
        }
    }

    /// The flush is over.
    pub(super) fn end_flush(&mut self) {
        self.flushing = false;
    }

    /// Writes what the peers of some connections take now.
    ///
    /// Between two flushes the kernel's work has driven most of them out of the processor's caches.
    /// A first look at all, which needs nothing of one another, lets their memory arrive together.
    pub(super) fn flush_slice(&mut self, keys: &[ConnectionKey]) {
        let waiting = keys.iter().filter(|key| self.is_waiting(**key)).count();
        std::hint::black_box(waiting);
        for key in keys {
            self.flush(*key);
        }
    }

    fn is_waiting(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key as u32 as usize);
        connection.is_some_and(|connection| {
            !connection.outbox.is_empty()
                && connection
                    .websocket
                    .as_ref()
                    .is_some_and(|it| !it.is_blocked())
        })
    }

    /// Writes what a connection's peer takes now.
    pub(super) fn flush(&mut self, key: ConnectionKey) {
        let payload = self.node.settings.payload;
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        connection.dirty = false;
        let before = connection.outbox.bytes();
        let alive = match (&mut connection.websocket, connection.poll.take()) {
            (Some(websocket), _) => {
                websocket.is_blocked() || websocket.write(&mut connection.outbox) != Written::Broken
            }
            (None, Some(poll)) if !connection.outbox.is_empty() => {
                let body = engine::encode_payload(&connection.outbox.take_poll(payload));
                poll.send(PollAnswer::Packets(body)).is_ok()
            }
            (None, poll) => {
                connection.poll = poll;
                true
            }
        };
        self.tally.waiting(before, connection.outbox.bytes());
        if !alive {
            self.close(key, Reason::TransportClose);
        }
    }
}
