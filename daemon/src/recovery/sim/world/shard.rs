//! What the shard does: live entries and frames on their way to clients.

use std::sync::Arc;

use super::{Socket, World};
use crate::recovery::log::Entry;
use crate::recovery::sim::client::Frame;

impl World {
    pub(super) fn turn_shard(&mut self) {
        for _ in 0..self.random.below(6) {
            self.turn_shard_once();
        }
    }

    pub(super) fn turn_shard_once(&mut self) -> bool {
        let Some(entry) = self.mailbox.pop_front() else {
            return false;
        };
        for (home, mut socket) in std::mem::take(&mut self.sockets) {
            if socket.recovery.is_some() {
                socket.held.push(Arc::clone(&entry));
            } else {
                self.live(&mut socket, &entry);
            }
            self.sockets.insert(home, socket);
        }
        true
    }

    pub(super) fn live(&mut self, socket: &mut Socket, entry: &Entry) {
        let skip = socket.skip.get(&entry.room.slot());
        let is_seen = skip.is_some_and(|skip| entry.position.seq <= *skip);
        let is_excepted = entry.except.contains(&self.clients[socket.client].sid);
        if socket.joins.contains_key(entry.room.room()) && !is_seen && !is_excepted {
            self.event(socket, entry);
        }
    }

    pub(super) fn event(&mut self, socket: &mut Socket, entry: &Entry) {
        let position = entry.position;
        socket
            .cursor
            .advance(entry.room.slot(), position.eid, position.seq);
        let frame = Frame::Event {
            room: entry.room.room().to_owned(),
            join: socket.joins[entry.room.room()],
            seq: position.seq,
            id: entry.id.to_string(),
            offset: socket.cursor.encode(),
        };
        self.deliver(socket, frame);
    }

    pub(super) fn send(&mut self, home: u64, frame: Frame) {
        if let Some(socket) = self.sockets.remove(&home) {
            self.deliver(&socket, frame);
            self.sockets.insert(home, socket);
        }
    }

    pub(super) fn deliver(&mut self, socket: &Socket, frame: Frame) {
        if !socket.is_cut {
            self.clients[socket.client].pipe.push_back(frame);
        }
    }
}
