//! What is told to whoever looks by the admin UI. While nobody does, each of these is one look at a
//! field of the shard's own; while somebody does, a note in a bounded queue, and nothing waits.
//!
//! There are bounds on how much is told. Beyond them events are left out and counted; of sockets
//! and rooms that are left out, whoever looks is shown all anew.

use std::{sync::Arc, time::Instant};

use super::{
    command::{ConnectionKey, SocketKey},
    machine::Reason,
    rooms::{EVERYBODY, NamespaceId, SocketIndex},
    state::State,
};
use crate::{
    admin_ui::{Bucket, Note, ROOM, SHOWN, Seen, Watch, What, shown_data, shown_event},
    event::{Emit, Event},
    node::now_ms,
};

/// Events of clients and to clients that a shard tells in a second.
const EVENTS: u32 = 100;

/// Changes of sockets and rooms that a shard tells in a second, and at once.
const CHANGES: (u32, u32) = (250, 1000);

/// Somebody looks.
pub(super) struct Watched {
    watch: Arc<Watch>,
    /// The admin UI's own namespace, of which no events are told: each would lead to another.
    own: Option<NamespaceId>,
    events: Bucket,
    changes: Bucket,
}

impl State {
    /// Somebody looks: some of the sockets that there are. What happens to them from here on is told.
    pub(crate) fn begin_watch(&mut self, watch: &Arc<Watch>) -> Vec<Seen> {
        if self.watched.is_none() {
            let now = Instant::now();
            self.watched = Some(Box::new(Watched {
                watch: watch.clone(),
                own: self.node.hub.namespaces.intern(&watch.namespace),
                events: Bucket::new(EVENTS, EVENTS, now),
                changes: Bucket::new(CHANGES.0, CHANGES.1, now),
            }));
        }
        let visible = self.sockets.iter().filter(|(_, it)| it.held.is_none());
        let indexes: Vec<SocketIndex> = visible
            .take(SHOWN)
            .map(|(index, _)| index as SocketIndex)
            .collect();
        let seen = indexes.into_iter();
        seen.filter_map(|index| self.seen(index)).collect()
    }

    /// Nobody looks any more.
    pub(crate) fn end_watch(&mut self) {
        self.watched = None;
    }

    /// Those who look here are shown anew what there is.
    pub(crate) fn look_again(&mut self, watch: &Watch) {
        let Some(own) = self.node.hub.namespaces.find(&watch.namespace) else {
            return;
        };
        for index in self.rooms.members(own, ROOM).to_vec() {
            if self.sockets.contains(index as usize) {
                let key = self.socket_key(index);
                self.apply(key, vec![watch.look()]);
            }
        }
    }

    /// How many sockets of this shard are in each namespace.
    pub(crate) fn namespace_sizes(&self) -> Vec<(Arc<str>, usize)> {
        let namespaces = &self.node.hub.namespaces;
        let named = (0..).map_while(|number| Some((number, namespaces.name(number)?)));
        let sized = named.map(|(number, name)| (name, self.rooms.members(number, EVERYBODY).len()));
        sized.filter(|(_, sockets)| *sockets > 0).collect()
    }

    /// A socket is in.
    pub(super) fn note_connected(&mut self, index: SocketIndex) {
        if self.watched.is_some()
            && let Some(seen) = self.seen(index)
        {
            self.change(What::Connected(Box::new(seen)));
        }
    }

    /// A socket is about to leave its rooms and go.
    pub(super) fn note_gone(&mut self, index: SocketIndex, reason: Reason) {
        if self.watched.is_some() {
            let (namespace, id) = self.named(index);
            let rooms = self.named_rooms(index);
            self.change(What::Gone {
                namespace,
                id,
                rooms,
                reason,
            });
        }
    }

    /// A socket has joined a room.
    pub(super) fn note_joined(&mut self, index: SocketIndex, room: &Arc<str>) {
        if self.watched.is_some() {
            let (namespace, id) = self.named(index);
            let room = room.clone();
            self.change(What::Joined {
                namespace,
                id,
                room,
            });
        }
    }

    /// A socket has left a room.
    pub(super) fn note_left(&mut self, index: SocketIndex, room: &str) {
        if self.watched.is_some() {
            let (namespace, id) = self.named(index);
            let room = room.into();
            self.change(What::Left {
                namespace,
                id,
                room,
            });
        }
    }

    /// A connection has changed over to another transport.
    pub(super) fn note_moved(&mut self, key: ConnectionKey) {
        if self.watched.is_none() {
            return;
        }
        let Some(connection) = self.connection(key) else {
            return;
        };
        let transport = connection.machine.transport();
        for (_, index) in connection.sockets.clone() {
            let (namespace, id) = self.named(index);
            self.change(What::Moved {
                namespace,
                id,
                transport,
            });
        }
    }

    /// A client sent an event.
    pub(super) fn note_received(&mut self, index: SocketIndex, data: &str) {
        let namespace = self.sockets[index as usize].namespace;
        if self.may_tell(namespace, 1) > 0 {
            let (namespace, id) = self.named(index);
            let data = shown_data(data);
            self.event(What::Received {
                namespace,
                id,
                data,
            });
        }
    }

    /// A handler sends a socket an event of its own.
    pub(super) fn note_answered(&mut self, key: SocketKey, event: &Event) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let namespace = socket.namespace;
        if self.may_tell(namespace, 1) > 0 {
            let (namespace, id) = self.named(key.index);
            let data = shown_event(event);
            self.event(What::Answered {
                namespace,
                id,
                data,
            });
        }
    }

    /// Sockets of one namespace are sent emits.
    pub(super) fn note_sent(&mut self, targets: &[SocketIndex], emits: &[Arc<Emit>]) {
        if self.watched.is_none() || targets.is_empty() {
            return;
        }
        for emit in emits {
            let told = self.may_tell(emit.namespace, targets.len());
            let told = targets[..told].iter();
            let sockets = told.filter_map(|index| self.sockets.get(*index as usize));
            let ids: Vec<Arc<str>> = sockets.map(|socket| socket.id.clone()).collect();
            let namespace = self.node.hub.namespaces.name(emit.namespace);
            if let Some(namespace) = namespace.filter(|_| !ids.is_empty()) {
                let emit = emit.clone();
                self.event(What::Sent {
                    namespace,
                    ids,
                    emit,
                });
            }
        }
    }

    /// How many of so many events of a namespace may be told; the others are counted.
    fn may_tell(&mut self, namespace: NamespaceId, wanted: usize) -> usize {
        let Some(watched) = &mut self.watched else {
            return 0;
        };
        if watched.own == Some(namespace) {
            return 0;
        }
        let told = match watched.watch.is_idle() {
            true => watched.events.take(wanted, Instant::now()),
            false => 0,
        };
        self.tally.unshown += (wanted - told) as u64;
        told
    }

    fn event(&mut self, what: What) {
        if let Some(watched) = &self.watched
            && !watched.watch.tell(now(what))
        {
            self.tally.unshown += 1;
        }
    }

    fn change(&mut self, what: What) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        let may = watched.changes.take(1, Instant::now()) > 0;
        if !may || !watched.watch.tell(now(what)) {
            watched.watch.lose();
        }
    }

    fn seen(&self, index: SocketIndex) -> Option<Seen> {
        let socket = self.sockets.get(index as usize)?;
        let connection = self.connections.get(socket.connection as u32 as usize)?;
        let age = connection.opened.elapsed().as_millis() as u64;
        let rooms = self.named_rooms(index);
        self.with_view(index, |view| Seen {
            id: view.id.clone(),
            namespace: view.namespace.clone(),
            connection: view.connection.clone(),
            user: view.user.cloned(),
            transport: view.transport,
            rooms,
            handshake: view.handshake.clone(),
            issued_ms: now_ms().saturating_sub(age),
        })
    }

    /// The namespace and the id of a socket that exists.
    fn named(&self, index: SocketIndex) -> (Arc<str>, Arc<str>) {
        let socket = &self.sockets[index as usize];
        (socket.namespace_name.clone(), socket.id.clone())
    }

    /// The rooms of a socket that have names.
    fn named_rooms(&self, index: SocketIndex) -> Vec<Arc<str>> {
        let rooms = self.rooms.of(index).filter(|room| ***room != *EVERYBODY);
        rooms.cloned().collect()
    }
}

fn now(what: What) -> Note {
    let at_ms = now_ms();
    Note { at_ms, what }
}
