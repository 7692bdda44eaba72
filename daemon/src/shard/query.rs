//! A shard's part of the questions and acts in [`crate::hub::query`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidings_cluster::proto::slots::Home;
use tokio::sync::oneshot;

use super::{
    command::SocketKey,
    machine::Reason,
    rooms::{EVERYBODY, NamespaceId, SocketIndex},
    state::{Socket, State},
};
use crate::{
    app::handler::Effect,
    hub::query::{Act, SocketInfo, Target},
    node::now_ms,
    recovery::slot::SlotNo,
};

impl State {
    /// What can be known of the sockets of a target.
    pub(crate) fn look_at(&mut self, target: &Target) -> Vec<SocketInfo> {
        let found = self.visible(target);
        found
            .into_iter()
            .filter_map(|key| self.info(key.index))
            .collect()
    }

    /// How many sockets a target has, and what can be known of the first `limit` of them, by id,
    /// after `after`.
    pub(crate) fn look_at_page(
        &mut self,
        target: &Target,
        after: Option<&str>,
        limit: usize,
    ) -> (usize, Vec<SocketInfo>) {
        let found = self.visible(target);
        let ids = found.iter().map(|key| {
            let socket = &self.sockets[key.index as usize];
            (&socket.id, key.index)
        });
        let mut ids: Vec<_> = ids
            .filter(|(id, _)| after.is_none_or(|after| &***id > after))
            .collect();
        if ids.len() > limit {
            ids.select_nth_unstable(limit);
            ids.truncate(limit);
        }
        let indexes: Vec<SocketIndex> = ids.into_iter().map(|(_, index)| index).collect();
        let page = indexes.into_iter().filter_map(|index| self.info(index));
        (found.len(), page.collect())
    }

    fn info(&self, index: SocketIndex) -> Option<SocketInfo> {
        let rooms = self
            .rooms
            .of(index)
            .filter(|room| ***room != *EVERYBODY)
            .cloned()
            .collect();
        let key = self.sockets.get(index as usize)?.connection;
        let opened = self.connections.get(key as u32 as usize)?.opened;
        let age = opened.elapsed().as_millis() as u64;
        self.with_view(index, |view| SocketInfo {
            since_ms: now_ms().saturating_sub(age),
            node: self.node.settings.name.clone(),
            id: view.id.clone(),
            namespace: view.namespace.clone(),
            user: view.user.cloned(),
            rooms,
            transport: view.transport,
            recovered: view.recovered,
            ip: view.handshake.ip,
            connection: view.connection.clone(),
            auth: view.auth.map(ToOwned::to_owned),
            handshake: view.handshake.clone(),
        })
    }

    /// The rooms of a namespace on this shard and their sizes.
    pub(crate) fn count_rooms(&mut self, namespace: NamespaceId) -> Vec<(Arc<str>, usize)> {
        self.rooms
            .all()
            .filter(|(other, name, _)| *other == namespace && ***name != *EVERYBODY)
            .map(|(_, name, members)| (name.clone(), members))
            .collect()
    }

    /// Does something with the sockets of a target. Returns how many there were, and for each whose
    /// rooms are not kept yet something that is dropped once they are.
    pub(crate) fn act_on(
        &mut self,
        target: &Target,
        act: &Act,
    ) -> (usize, Vec<oneshot::Receiver<()>>) {
        let found = self.matching(target);
        for key in &found {
            match act {
                Act::Join(rooms) => self.apply(*key, effects(rooms, Effect::Join)),
                Act::Leave(rooms) => self.apply(*key, effects(rooms, Effect::Leave)),
                Act::Disconnect { close } => self.disconnect(*key, *close),
                Act::CloseTransport => {
                    if let Some(socket) = self.socket(*key) {
                        let connection = socket.connection;
                        self.close(connection, Reason::ForcedClose);
                    }
                }
            }
        }
        let mut unkept = Vec::new();
        for key in &found {
            let following = self.socket(*key).and_then(|it| it.following.as_mut());
            if let Some(following) = following.filter(|it| it.is_writing()) {
                let (watched, dropped) = oneshot::channel();
                following.watched.push(watched);
                unkept.push(dropped);
            }
        }
        (found.len(), unkept)
    }

    /// Ends the sockets of a user that live under one of the sessions.
    pub(crate) fn end_sessions(&mut self, user: &str, sessions: &[String]) -> usize {
        let ended = self.keys(|socket| {
            socket.user.as_deref() == Some(user)
                && socket
                    .session
                    .as_deref()
                    .is_some_and(|session| sessions.iter().any(|ended| ended == session))
        });
        for key in &ended {
            self.disconnect(*key, false);
        }
        let now = std::time::Instant::now();
        self.ended
            .extend(sessions.iter().map(|session| (session.clone(), now)));
        ended.len()
    }

    /// A session was given another end.
    pub(crate) fn renew_session(&mut self, user: &str, session: &str, expires_ms: u64) {
        for (_, socket) in &mut self.sockets {
            if socket.user.as_deref() == Some(user) && socket.session.as_deref() == Some(session) {
                socket.expires_ms = Some(expires_ms);
            }
        }
        self.ended.remove(session);
    }

    /// Some sessions ended, and others were given another end. Whoever their users are: the caller
    /// knows the sessions.
    pub(crate) fn sessions_changed(
        &mut self,
        ended: &HashSet<String>,
        moved: &HashMap<String, u64>,
    ) {
        for (_, socket) in &mut self.sockets {
            let session = socket.session.as_deref();
            if let Some(expires_ms) = session.and_then(|session| moved.get(session)) {
                socket.expires_ms = Some(*expires_ms);
            }
        }
        self.ended.retain(|session, _| !moved.contains_key(session));
        let gone = |session: &str| ended.contains(session);
        for key in self.keys(|socket| socket.session.as_deref().is_some_and(gone)) {
            self.disconnect(key, false);
        }
        let now = std::time::Instant::now();
        self.ended
            .extend(ended.iter().map(|session| (session.clone(), now)));
    }

    /// The sessions that sockets live under.
    pub(crate) fn live_sessions(&self) -> HashSet<Arc<str>> {
        let sessions = self.sockets.iter();
        let sessions = sessions.filter_map(|(_, socket)| socket.session.clone());
        sessions.collect()
    }

    /// Another connection has taken over a record: the one that held it is closed.
    pub(crate) fn release(&mut self, home: Home) {
        let Some(index) = self.by_home.get(&home.connection) else {
            return;
        };
        let socket = &self.sockets[*index as usize];
        let connection = socket.connection;
        let following = socket.following.as_ref();
        let held = following.and_then(|following| following.held.as_ref());
        if held.is_some_and(|held| held.home == home) {
            self.close(connection, Reason::Replaced);
        }
    }

    /// What follows in a recoverable room cannot be proved to be all: the members' clients come
    /// again, and get it or are told.
    pub(crate) fn cut(&mut self, namespace: NamespaceId, room: &str) {
        let members = self.rooms.members(namespace, room).to_vec();
        let named = self.socket_named(namespace, room);
        for index in members.into_iter().chain(named) {
            // One connection may have several of them.
            if let Some(socket) = self.sockets.get(index as usize) {
                self.close_cut(socket.connection);
            }
        }
    }

    /// The records of a slot have another owner: those that are at home here are written again.
    pub(crate) fn write_records(&mut self, slot: SlotNo) {
        let is_in = |socket: &Socket| {
            let following = socket.following.as_ref();
            let held = following.and_then(|following| following.held.as_ref());
            held.is_some_and(|held| held.slot == slot)
        };
        for key in self.keys(is_in) {
            self.keep_record(key);
        }
    }

    /// Records with rooms of the slot are written again.
    pub(crate) fn renew_records(&mut self, slot: SlotNo) {
        let is_in = |socket: &Socket| {
            let following = socket.following.as_ref();
            following.is_some_and(|following| following.has_record() && following.is_in(slot))
        };
        for key in self.keys(is_in) {
            self.keep_record(key);
        }
    }

    /// The sockets of a target whose CONNECT is answered: the others are not there yet as far as
    /// anybody can tell.
    fn visible(&mut self, target: &Target) -> Vec<SocketKey> {
        let mut found = self.matching(target);
        found.retain(|key| self.sockets[key.index as usize].held.is_none());
        found
    }

    fn matching(&mut self, target: &Target) -> Vec<SocketKey> {
        let namespace = target.namespace.as_deref();
        let in_any = |state: &Self, index: SocketIndex, socket: &Socket, rooms: &[String]| {
            rooms.iter().any(|room| {
                *socket.id == **room || state.rooms.contains(socket.namespace, room, index)
            })
        };
        self.sockets
            .iter()
            .map(|(index, socket)| (index as SocketIndex, socket))
            .filter(|(_, socket)| namespace.is_none_or(|name| name == &*socket.namespace_name))
            .filter(|(index, socket)| {
                let of_user = socket
                    .user
                    .as_deref()
                    .is_some_and(|user| target.users.iter().any(|other| other == user));
                let named = of_user || in_any(self, *index, socket, &target.rooms);
                (target.everybody || named) && !in_any(self, *index, socket, &target.except)
            })
            .map(|(index, socket)| SocketKey {
                index,
                generation: socket.generation,
            })
            .collect()
    }

    fn keys(&self, wanted: impl Fn(&Socket) -> bool) -> Vec<SocketKey> {
        self.sockets
            .iter()
            .filter(|(_, socket)| wanted(socket))
            .map(|(index, socket)| SocketKey {
                index: index as SocketIndex,
                generation: socket.generation,
            })
            .collect()
    }
}

fn effects(rooms: &[String], effect: impl Fn(Arc<str>) -> Effect) -> Vec<Effect> {
    rooms
        .iter()
        .map(|room| effect(Arc::from(room.as_str())))
        .collect()
}
