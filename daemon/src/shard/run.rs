//! Live emits to one room that reach a shard within one turn, joined: their frames are put behind
//! one another once, and each member gets one reference to all of them.
//!
//! So a flood costs a member one entry in its outbox for many events, and the kernel one send. The
//! joined bytes are the shard's own, so that two shards do not fight over one reference count.
//!
//! Only emits that stand next to one another in the mailbox are joined, which keeps every
//! client's order as it was; and only within a turn, so that joins, leaves and answers see
//! nothing of it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{
    rooms::SocketIndex,
    state::{State, connection_of},
};
use crate::{
    event::{Body, Delivery, Emit},
    protocol::frame::Frame,
};

/// Bytes in one joined buffer. Longer runs are delivered in parts: a slow reader is noticed
/// between two of them, and the kernel takes no more at once anyway.
const MAX_JOINED: usize = 64 << 10;

/// Emits that wait, within one turn, for others to the same room.
#[derive(Default)]
pub(super) struct Run {
    emits: Vec<Arc<Emit>>,
    bytes: usize,
}

/// The frames of a run, joined.
struct JoinedFrames {
    /// For clients without a `pid`.
    plain: Bytes,
    /// For clients with one; the same bytes where no event ends in a string.
    guarded: Bytes,
}

impl Run {
    /// Adds an emit; false if it has to be delivered after what waits.
    pub(super) fn add(&mut self, emit: &Arc<Emit>) -> bool {
        let bytes = length(emit.body.guarded());
        let fits = match self.emits.first() {
            None => is_joinable(emit),
            Some(first) => {
                is_joinable(emit)
                    && first.namespace == emit.namespace
                    && first.rooms == emit.rooms
                    && self.bytes + bytes <= MAX_JOINED
            }
        };
        if fits {
            self.emits.push(emit.clone());
            self.bytes += bytes;
        }
        fits
    }
}

impl State {
    /// Takes an emit in; it is delivered at the latest by the next [`State::end_run`].
    pub(super) fn take_emit(&mut self, emit: &Arc<Emit>) {
        if self.run.add(emit) {
            return;
        }
        self.end_run();
        if !self.run.add(emit) {
            self.emit(emit);
        }
    }

    /// Delivers what waits in the run. Called before anything else is done to the shard.
    pub(super) fn end_run(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        match &run.emits[..] {
            [] => {}
            [emit] => self.emit(emit),
            emits => {
                let before = self.tally.deliveries;
                let targets = self.collect(&emits[0]);
                let joined = JoinedFrames::of(emits);
                self.note_sent(&targets, emits);
                for index in &targets {
                    self.deliver_run(*index, emits, &joined);
                }
                self.targets = targets;
                self.is_on_its_way(before, emits);
            }
        }
        run.emits.clear();
        run.bytes = 0;
        // For its capacity.
        self.run = run;
    }

    fn deliver_run(&mut self, index: SocketIndex, emits: &[Arc<Emit>], joined: &JoinedFrames) {
        let Some(socket) = self.sockets.get(index as usize) else {
            return;
        };
        let key = socket.connection;
        let bytes = match socket.has_record() {
            true => &joined.guarded,
            false => &joined.plain,
        };
        let is_held = socket.held.is_some() || socket.settling.is_some();
        let connection = connection_of(&mut self.connections, key);
        let Some(connection) = connection.filter(|it| !is_held && it.websocket.is_some()) else {
            // Answers to polls are made of single packets, and so is what is held back.
            return emits.iter().for_each(|emit| self.deliver_to(index, emit));
        };
        let (before, limit) = (connection.outbox.bytes(), self.node.settings.outbox);
        let queued = connection.queue(|outbox| outbox.push_joined(bytes.clone(), limit));
        self.tally.waiting(before, connection.outbox.bytes());
        self.tally.deliveries += emits.len() as u64;
        self.tally.packets_out += emits.len() as u64;
        self.queued(key, queued.err());
    }
}

impl JoinedFrames {
    fn of(emits: &[Arc<Emit>]) -> Self {
        let plain = join(emits, Body::plain);
        let differs = emits.iter().any(|emit| emit.body.is_guarded());
        let guarded = if differs {
            join(emits, Body::guarded)
        } else {
            plain.clone()
        };
        Self { plain, guarded }
    }
}

fn join(emits: &[Arc<Emit>], frames: impl Fn(&Body) -> &[Frame]) -> Bytes {
    let frames = || emits.iter().flat_map(|emit| frames(&emit.body));
    let mut bytes = BytesMut::with_capacity(frames().map(Frame::ws_len).sum());
    frames().for_each(|frame| bytes.extend_from_slice(frame.ws()));
    bytes.freeze()
}

fn length(frames: &[Frame]) -> usize {
    frames.iter().map(Frame::ws_len).sum()
}

/// Whether an emit is the same for all members of one room and must reach each.
fn is_joinable(emit: &Emit) -> bool {
    matches!(emit.delivery, Delivery::Live) && emit.rooms.len() == 1 && emit.except.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::event::Event;

    fn emit(room: &str, arg: &str, delivery: Delivery) -> Arc<Emit> {
        let event = Event {
            name: "quote".into(),
            args: vec![RawValue::from_string(arg.into()).unwrap()],
            attachments: Vec::new(),
        };
        Arc::new(Emit {
            namespace: 0,
            rooms: vec![room.into()],
            except: Vec::new(),
            body: Body::new("/", &event, None),
            delivery,
        })
    }

    fn live(room: &str, arg: &str) -> Arc<Emit> {
        emit(room, arg, Delivery::Live)
    }

    #[test]
    fn joins_neighbours_of_one_room_only() {
        let mut run = Run::default();
        assert!(run.add(&live("a", "1")));
        assert!(run.add(&live("a", "2")));
        assert!(!run.add(&live("b", "3")));
        assert!(!run.add(&emit("a", "3", Delivery::Volatile)));
        let mut except = live("a", "3");
        Arc::get_mut(&mut except).unwrap().except = vec!["b".into()];
        assert!(!run.add(&except));
        let mut elsewhere = live("a", "3");
        Arc::get_mut(&mut elsewhere).unwrap().namespace = 1;
        assert!(!run.add(&elsewhere));
        assert_eq!(run.emits.len(), 2);
    }

    #[test]
    fn a_run_is_bounded_in_bytes() {
        let mut run = Run::default();
        let long = format!("\"{}\"", "x".repeat(MAX_JOINED * 2 / 3));
        assert!(run.add(&live("a", &long)), "one alone may be longer");
        assert!(!run.add(&live("a", &long)));
    }

    #[test]
    fn frames_stand_in_order_and_strings_are_guarded_for_clients_with_a_pid() {
        let emits = [live("a", "1"), live("a", "\"s\"")];
        let joined = JoinedFrames::of(&emits);
        let frames = |texts: [&str; 2]| {
            texts
                .map(Frame::text)
                .iter()
                .fold(Vec::new(), |mut all, frame| {
                    all.extend_from_slice(frame.ws());
                    all
                })
        };
        let plain = frames(["42[\"quote\",1]", "42[\"quote\",\"s\"]"]);
        let guarded = frames(["42[\"quote\",1]", "42[\"quote\",\"s\",null]"]);
        // An Engine.IO message has its type in front.
        assert_eq!(joined.plain, plain);
        assert_eq!(joined.guarded, guarded);
    }
}
