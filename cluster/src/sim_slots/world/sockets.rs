//! What a node's sockets get, and how they end.

use std::sync::Arc;

use super::gateway::{Member, Phase, Socket, Wanted};
use super::{Checked, World};
use crate::proto::slots::{Body, Entry, Home, Position, Request, Room, Rule, SlotNo};
use crate::sim_slots::client::{Frame, Offset};

impl World {
    pub(super) fn slot_in(&mut self, host: usize, conn: u64, entry: &Entry) -> SlotNo {
        let Body::Event { room, .. } = &entry.body else {
            return 0;
        };
        let member = self.socket(host, conn).and_then(|it| it.members.get(room));
        member.map_or(0, |member| member.slot)
    }

    /// Entries for all local sockets.
    pub(super) fn deliver(&mut self, host: usize, slot: SlotNo, entries: &[Arc<Entry>]) -> Checked {
        for entry in entries {
            let truth = &self.truths[usize::from(slot)];
            if !truth.is_committed(entry.position) {
                return Err(format!("4: {entry:?} is fed and not committed"));
            }
            let process = self.hosts[host].process.as_ref();
            let conns = process.map(|it| it.sockets.keys().copied().collect::<Vec<_>>());
            for conn in conns.unwrap_or_default() {
                let Some(socket) = self.socket(host, conn) else {
                    continue;
                };
                if matches!(socket.phase, Phase::Live) {
                    self.event(host, conn, slot, entry);
                } else if socket.members.keys().any(|room| entry.is_of(room)) {
                    // Not what came before it joined: the feed may have been another since.
                    socket.held.push((slot, Arc::clone(entry)));
                }
            }
        }
        Ok(())
    }

    /// An entry on its way to one client, if it is for it and new.
    pub(super) fn event(&mut self, host: usize, conn: u64, slot: SlotNo, entry: &Entry) {
        let Body::Event { room, .. } = &entry.body else {
            return;
        };
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        let Some(member) = socket.members.get_mut(room) else {
            return;
        };
        let Some(start) = member.start.filter(|_| entry.position > member.seen) else {
            return;
        };
        member.seen = entry.position;
        // Not the later of both: what it says of a slot may be of another branch.
        socket.cursor.insert(slot, entry.position);
        let written = socket.last.unwrap_or_default();
        let frame = Frame::Event {
            room: room.clone(),
            slot,
            start,
            position: entry.position,
            offset: Offset::of(&socket.cursor, written),
        };
        let client = socket.client;
        self.frame(host, conn, client, frame);
    }

    pub(super) fn frame(&mut self, host: usize, conn: u64, client: usize, frame: Frame) {
        let boot = self.hosts[host].boot;
        self.trace(|| format!("host{host} to client{client} on {conn}: {frame:?}"));
        if self.clients[client].home == Some((host, boot, conn)) {
            self.clients[client].pipe.push_back(frame);
        }
    }

    /// What follows in a room cannot be proved.
    pub(super) fn cut_room(&mut self, host: usize, room: &Room) {
        let process = self.hosts[host].process.as_ref();
        let sockets = process.map(|it| it.sockets.iter());
        let of_room = sockets.into_iter().flatten();
        let of_room = of_room.filter(|(_, it)| it.members.contains_key(room));
        let conns: Vec<u64> = of_room.map(|(conn, _)| *conn).collect();
        self.seen.cut_sockets += conns.len() as u64;
        conns
            .into_iter()
            .for_each(|conn| self.cut_socket(host, conn));
    }

    pub(super) fn evicted(&mut self, host: usize, home: Home) {
        if home.boot == self.hosts[host].boot {
            self.close(host, home.connection);
        }
    }

    /// Homes put their records again.
    pub(super) fn epoch(&mut self, host: usize, slot: SlotNo) {
        if !self.rules.keep(Rule::PutAgain) {
            return;
        }
        let process = self.hosts[host].process.as_ref();
        let sockets = process.map(|it| it.sockets.iter()).into_iter().flatten();
        // What is being written may go to an owner of before: it is written again then.
        let of_slot = sockets.filter(|(_, it)| it.slot == slot);
        let live = of_slot.filter(|(_, it)| it.is_writing || matches!(it.phase, Phase::Live));
        let conns: Vec<u64> = live.map(|(conn, _)| *conn).collect();
        conns.into_iter().for_each(|conn| self.write(host, conn));
    }

    /// Homes put records again that have rooms of this slot.
    pub(super) fn renew(&mut self, host: usize, slot: SlotNo) {
        let process = self.hosts[host].process.as_ref();
        let sockets = process.map(|it| it.sockets.iter()).into_iter().flatten();
        let live = sockets.filter(|(_, it)| matches!(it.phase, Phase::Live));
        let of_slot = |of: &Socket| of.record.rooms.values().any(|(of, _)| *of == slot);
        let conns = live.filter(|(_, it)| of_slot(it)).map(|(conn, _)| *conn);
        let conns: Vec<u64> = conns.collect();
        conns.into_iter().for_each(|conn| self.write(host, conn));
    }

    /// The one place where a socket ends. The client notices at once if it is still there.
    pub(super) fn close(&mut self, host: usize, conn: u64) {
        self.leave_all(host, conn);
        let (home, boot) = (self.home(host, conn), self.hosts[host].boot);
        let process = self.hosts[host].process.as_mut();
        let Some(socket) = process.and_then(|it| it.sockets.remove(&conn)) else {
            return;
        };
        let (slot, pid) = (socket.slot, socket.pid);
        self.ask(host, slot, Request::Leave { pid, home }, Wanted::Nothing);
        let client = &mut self.clients[socket.client];
        if client.home == Some((host, boot, conn)) {
            client.lose();
        }
    }

    /// A client joins a room or leaves it.
    pub(super) fn change_rooms(&mut self, client: usize, room: &Room, slot: SlotNo) -> Checked {
        let Some((host, boot, conn)) = self.clients[client].home else {
            return Ok(());
        };
        if self.hosts[host]
            .process
            .as_ref()
            .is_none_or(|it| it.boot != boot)
        {
            return Ok(());
        }
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        if !matches!(socket.phase, Phase::Live) {
            return Ok(());
        }
        let early = !self.rules.keep(Rule::LeaveWhenWritten);
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        match socket.members.get_mut(room) {
            // Under way.
            Some(
                Member { start: None, .. }
                | Member {
                    is_leaving: true, ..
                },
            ) => return Ok(()),
            Some(member) => {
                member.is_leaving = true;
                if early {
                    socket.members.remove(room);
                }
                socket.record.change += 1;
                socket.record.rooms.remove(room);
                socket.acks.push((socket.record.change, room.clone(), None));
                if early {
                    self.leave_room(host, slot, room);
                }
                self.write(host, conn);
            }
            None => {
                let member = Member {
                    slot,
                    start: None,
                    seen: Position::default(),
                    is_leaving: false,
                };
                socket.members.insert(room.clone(), member);
                self.join_room(host, conn, slot, room);
            }
        }
        self.clients[client].asked += 1;
        self.act_on(host)
    }
}
