//! Answers that promise what will be emitted to a room wait until every peer knows of its member:
//! an emit may be accepted anywhere. Bounded: a peer that is about to die shall not keep clients
//! waiting.

use std::time::Instant;

use super::{command::SocketKey, outbox::Keep, rooms::SocketIndex, state::State};
use crate::{protocol::frame::Frame, recovery::session::Returning, relay::PATIENCE};

/// A socket that waits for the peers.
pub(super) struct Registering {
    announced: u64,
    until: Instant,
    socket: SocketKey,
    then: Then,
}

/// What follows.
pub(super) enum Then {
    /// An acknowledgement goes out.
    Ack(Vec<Frame>),
    /// CONNECT is answered.
    Welcome,
    /// Work of this number begins.
    Begin(u64),
    /// What the socket missed is read.
    Read(Box<Returning>),
}

impl State {
    /// Notes that a socket has joined a room.
    pub(super) fn announced(&mut self, index: SocketIndex, announced: u64) {
        let socket = &mut self.sockets[index as usize];
        socket.announced = socket.announced.max(announced);
    }

    /// Goes on once every peer knows of all rooms that the socket is in: at once, if the node is
    /// alone.
    pub(super) fn when_registered(&mut self, key: SocketKey, then: Then) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let announced = socket.announced;
        if self.node.relay.is_known(announced) {
            return self.go_on(key, then);
        }
        self.registering.push_back(Registering {
            announced,
            until: Instant::now() + PATIENCE,
            socket: key,
            then,
        });
    }

    /// Lets those go on whom every peer knows of, and those who have waited long enough. Returns
    /// when the next has.
    pub(super) fn registered(&mut self, now: Instant) -> Option<Instant> {
        while let Some(first) = self.registering.front() {
            let known = self.node.relay.is_known(first.announced);
            if !known && first.until > now {
                return Some(first.until);
            }
            if !known {
                self.node.relay.count_unknown();
            }
            if let Some(Registering { socket, then, .. }) = self.registering.pop_front() {
                self.go_on(socket, then);
            }
        }
        None
    }

    fn go_on(&mut self, key: SocketKey, then: Then) {
        match then {
            Then::Ack(frames) => self.send_ack(key, frames),
            Then::Welcome => self.welcome(key),
            Then::Begin(number) => self.registered_work(key, number),
            Then::Read(returning) => self.read_missed(key, returning),
        }
    }

    /// An acknowledgement also waits until the socket is fed and its record is kept.
    fn send_ack(&mut self, key: SocketKey, frames: Vec<Frame>) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        match &mut socket.following {
            Some(following) if following.is_writing() => following.waiting.extend(frames),
            _ => self.send(connection, &frames, Keep::Always),
        }
    }
}
