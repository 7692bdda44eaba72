//! Towards the clients: frames into outboxes, outboxes into sockets and poll answers.

use std::time::Instant;

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
        tally.packets_out += frames.len() as u64;
        let before = connection.outbox.bytes();
        let mut ended = None;
        for frame in frames {
            match connection.queue(|outbox| outbox.push(frame.clone(), keep, limit)) {
                Ok(Pushed::Replaced) => tally.conflated += 1,
                Ok(Pushed::Dropped) => tally.dropped += 1,
                Ok(_) => {}
                Err(reason) => ended = Some(reason),
            }
        }
        tally.waiting(before, connection.outbox.bytes());
        self.queued(key, ended);
    }

    /// Frames were queued for a connection, or did not fit and end it.
    pub(super) fn queued(&mut self, key: ConnectionKey, ended: Option<Reason>) {
        match ended {
            None => self.mark_dirty(key),
            Some(reason) => {
                self.tally.slow_readers += u64::from(reason == Reason::SlowReader);
                self.close(key, reason);
            }
        }
    }

    /// Queues the frames of a replay.
    pub(super) fn send_replay(&mut self, key: ConnectionKey, frames: Vec<Frame>) {
        let Some(connection) = connection_of(&mut self.connections, key) else {
            return;
        };
        let before = connection.outbox.bytes();
        for frame in frames {
            // Never an error: it is bounded elsewhere.
            let _ = connection.queue(|outbox| outbox.push_replay(frame.clone()));
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
        let again = self.flushing && self.dirty.last() != Some(&key);
        if !connection.dirty || again {
            connection.dirty = true;
            self.dirty.push(key);
            if self.dirty.len() == 1 {
                self.wake.notify_one();
            }
        }
    }

    /// Whether a turn has led to so much that it must not go on before a flush: others wait.
    pub(super) fn has_much_to_flush(&self) -> bool {
        /// Deliveries between two flushes: some milliseconds of work.
        const MANY: u64 = 64 << 10;
        self.tally.deliveries - self.flushed_at >= MANY
    }

    /// What there is to flush now. What becomes dirty until [`State::end_flush`] is not in it.
    pub(super) fn begin_flush(&mut self) -> Vec<ConnectionKey> {
        self.flushing = true;
        self.flushed_at = self.tally.deliveries;
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
        let now = Instant::now();
        for since in self.unwritten.drain(..) {
            self.load.written.took(now.saturating_duration_since(since));
        }
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
        let after = connection.outbox.bytes();
        let written = before.saturating_sub(after) + std::mem::take(&mut connection.written_early);
        self.tally.written_bytes += written as u64;
        self.tally.waiting(before, after);
        if !alive {
            self.close(key, Reason::TransportClose);
        }
    }
}
