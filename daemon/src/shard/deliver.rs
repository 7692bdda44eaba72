//! From an emit to its members' outboxes: a delivery costs a reference to the shared frames, a
//! slot in a queue and its share of a system call.

use std::{sync::Arc, time::Instant};

use super::{
    conflate::Arrival,
    outbox::Keep,
    rooms::{NamespaceId, SocketIndex},
    state::{HELD_LIMIT, State},
    timers::Due,
};
use crate::{
    event::{AckReport, Delivery, Emit},
    shard::machine::Reason,
};

impl State {
    /// An emit arrived.
    pub(super) fn emit(&mut self, emit: &Arc<Emit>) {
        let before = self.tally.deliveries;
        self.deliver_as_it_asks(emit);
        self.is_on_its_way(before, std::slice::from_ref(emit));
    }

    /// Emits were dealt with, before which there were so many deliveries: if there are more now, a
    /// flush will write them.
    pub(super) fn is_on_its_way(&mut self, before: u64, emits: &[Arc<Emit>]) {
        if self.tally.deliveries > before {
            let since = emits.iter().map(|emit| emit.body.since());
            self.unwritten.extend(since);
        }
    }

    fn deliver_as_it_asks(&mut self, emit: &Arc<Emit>) {
        match &emit.delivery {
            Delivery::Conflated {
                stamp, interval, ..
            } => {
                let (stamp, interval) = (*stamp, *interval);
                self.conflate(emit, stamp, interval, Instant::now());
            }
            Delivery::Acknowledged(call) => {
                let call = call.clone();
                let sent = self.deliver_asking(emit);
                let _ = call.reports.send(AckReport::Sent(sent));
            }
            Delivery::Live | Delivery::Volatile | Delivery::Recoverable { .. } => {
                self.deliver(emit);
            }
        }
    }

    fn conflate(
        &mut self,
        emit: &Arc<Emit>,
        stamp: u64,
        interval: std::time::Duration,
        now: Instant,
    ) {
        for room in &emit.rooms {
            if self.rooms.members(emit.namespace, room).is_empty() {
                continue;
            }
            let name = (emit.namespace, room);
            match self.conflations.arrive(name, stamp, emit, interval, now) {
                Arrival::Now => self.deliver(emit),
                Arrival::Later { room, at } => {
                    self.timers.rearm(Due::Room(room), None, Some(at));
                }
                Arrival::Replaced | Arrival::Stale => {
                    self.tally.conflated += 1;
                }
            }
        }
    }

    /// A conflated room's interval ended.
    pub(super) fn conflated_due(&mut self, room: u64, now: Instant) {
        if let Some((_, _, emit)) = self.conflations.due(room, now) {
            self.deliver(&emit);
        }
    }

    /// Gives a new member of a conflated room the value that the others have. A value that is
    /// still on its way to this shard arrives at the room first, so that nobody sees an older
    /// one after it.
    pub(super) fn catch_up(&mut self, index: SocketIndex, namespace: NamespaceId, room: &Arc<str>) {
        let Some(latest) = self.node.hub.latest.find(namespace, room) else {
            return;
        };
        let latest = latest.emit;
        let Delivery::Conflated {
            stamp, interval, ..
        } = &latest.delivery
        else {
            return;
        };
        let name = (namespace, room);
        match self
            .conflations
            .arrive(name, *stamp, &latest, *interval, Instant::now())
        {
            Arrival::Now => return self.deliver(&latest),
            Arrival::Later { room, at } => self.timers.rearm(Due::Room(room), None, Some(at)),
            Arrival::Replaced | Arrival::Stale => {}
        }
        if let Some(emit) = self.conflations.delivered(namespace, room).cloned() {
            self.note_sent(&[index], std::slice::from_ref(&emit));
            self.deliver_to(index, &emit);
        }
    }

    fn deliver(&mut self, emit: &Arc<Emit>) {
        let targets = self.collect(emit);
        self.note_sent(&targets, std::slice::from_ref(emit));
        for index in &targets {
            self.deliver_to(*index, emit);
        }
        self.targets = targets;
    }

    /// Delivers an emit that asks for acknowledgements; returns who got it.
    fn deliver_asking(&mut self, emit: &Arc<Emit>) -> Vec<Arc<str>> {
        let targets = self.collect(emit);
        self.note_sent(&targets, std::slice::from_ref(emit));
        let mut sent = Vec::with_capacity(targets.len());
        for index in &targets {
            self.deliver_to(*index, emit);
            if let Some(socket) = self.sockets.get(*index as usize) {
                sent.push(socket.id.clone());
            }
        }
        self.targets = targets;
        sent
    }

    /// The sockets that an emit is for, each once.
    pub(super) fn collect(&mut self, emit: &Emit) -> Vec<SocketIndex> {
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        if let ([room], []) = (&emit.rooms[..], &emit.except[..]) {
            let members = self.rooms.members(emit.namespace, room);
            targets.extend_from_slice(members);
            if members.is_empty() {
                targets.extend(self.socket_named(emit.namespace, room));
            }
            return targets;
        }
        self.mark = self.mark.wrapping_add(1);
        for room in &emit.except {
            self.mark_members(emit.namespace, room, &mut Vec::new());
        }
        for room in &emit.rooms {
            self.mark_members(emit.namespace, room, &mut targets);
        }
        targets
    }

    /// Marks a room's members; those not marked before are added to `new`.
    fn mark_members(&mut self, namespace: NamespaceId, room: &str, new: &mut Vec<SocketIndex>) {
        let named = self.socket_named(namespace, room);
        self.marks
            .resize(self.marks.len().max(self.sockets.capacity()), 0);
        for index in self
            .rooms
            .members(namespace, room)
            .iter()
            .copied()
            .chain(named)
        {
            let mark = &mut self.marks[index as usize];
            if *mark != self.mark {
                *mark = self.mark;
                new.push(index);
            }
        }
    }

    /// A socket's id is a room of its own.
    pub(super) fn socket_named(&self, namespace: NamespaceId, id: &str) -> Option<SocketIndex> {
        let index = *self.by_id.get(id)?;
        (self.sockets[index as usize].namespace == namespace).then_some(index)
    }

    /// Delivers an emit to one socket.
    pub(super) fn deliver_to(&mut self, index: SocketIndex, emit: &Arc<Emit>) {
        let Some(socket) = self.sockets.get_mut(index as usize) else {
            return;
        };
        let connection = socket.connection;
        if let Some(held) = &mut socket.held {
            held.bytes += emit
                .body
                .plain()
                .iter()
                .map(|frame| frame.ws_len())
                .sum::<usize>();
            held.emits.push(emit.clone());
            if held.bytes > HELD_LIMIT {
                self.close(connection, Reason::Unavailable);
            }
            return;
        }
        if let Some(settling) = &mut socket.settling
            && settling.holds(emit)
        {
            if settling.hold(emit.clone()) > HELD_LIMIT {
                self.close(connection, Reason::Unavailable);
            }
            return;
        }
        let keep = match &emit.delivery {
            Delivery::Live | Delivery::Acknowledged(_) | Delivery::Recoverable { .. } => {
                Keep::Always
            }
            Delivery::Volatile => Keep::Volatile,
            Delivery::Conflated { key, .. } => Keep::Newest(*key),
        };
        if let Delivery::Acknowledged(call) = &emit.delivery {
            socket.acks.insert(call.id, call.clone());
        }
        self.tally.deliveries += 1;
        let following = socket.following.as_mut();
        match (&emit.delivery, following.filter(|it| it.has_record())) {
            (Delivery::Recoverable { offset }, Some(following)) => {
                // A history's entry is of one room.
                if !following.advance(&emit.rooms[0], *offset) {
                    return;
                }
                match emit.body.marked() {
                    Some(frames) if following.cursor().is(*offset) => {
                        self.send(connection, frames, keep);
                    }
                    _ => {
                        let frames = emit.body.with_cursor(following.cursor());
                        self.send(connection, &frames, keep);
                    }
                }
            }
            (_, Some(_)) => self.send(connection, emit.body.guarded(), keep),
            (_, None) => self.send(connection, emit.body.plain(), keep),
        }
    }
}
