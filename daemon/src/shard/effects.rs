//! Carrying out what a handler asked for.

use std::sync::Arc;

use super::{
    command::{Command, ConnectionKey, Job, SocketKey, Waiting},
    outbox::Keep,
    registering::Then,
    state::{State, connection_of},
};
use crate::{
    app::handler::{BoxFuture, Effect},
    event::{Body, EmitRequest, Event, RoomClass},
    protocol::socket,
};

impl State {
    /// Carries out effects in order. Where the client has a recovery record, acknowledgements
    /// that follow a change of rooms wait until that change is kept; where there are peers, they
    /// wait until those know of it.
    pub(super) fn apply(&mut self, key: SocketKey, effects: Vec<Effect>) {
        self.carry_out(key, effects, false);
    }

    /// The same; where all that was joined before is `settled`, acknowledgements need not wait for
    /// it.
    pub(super) fn carry_out(&mut self, key: SocketKey, effects: Vec<Effect>, settled: bool) {
        let mut rooms_changed = false;
        let mut must_wait = !settled;
        for effect in effects {
            if self.socket(key).is_none() {
                return;
            }
            match effect {
                Effect::Join(room) => rooms_changed |= self.join_again(key, &room),
                Effect::Leave(room) => rooms_changed |= self.leave_once_kept(key, &room),
                Effect::Settled { rooms, work } => {
                    if std::mem::take(&mut rooms_changed) {
                        must_wait = true;
                        self.keep_record(key);
                    }
                    self.settle(key, rooms, work);
                }
                Effect::Ack {
                    id,
                    args,
                    attachments,
                } => {
                    let ack = Ack {
                        id,
                        args,
                        attachments,
                    };
                    if std::mem::take(&mut rooms_changed) {
                        must_wait = true;
                        self.keep_record(key);
                    }
                    self.ack(key, ack, must_wait);
                }
                Effect::Emit(event) => self.emit_to(key, &event),
                Effect::Disconnect { close } => self.disconnect(key, close),
                Effect::Broadcast(request) => self.broadcast(request),
                Effect::Later(work) => self.later(key, work),
                Effect::Decide(decision) => self.consult(key.index, decision),
            }
        }
        if rooms_changed {
            self.keep_record(key);
        }
    }

    /// Joins a room, or stays in one that it was about to leave.
    fn join_again(&mut self, key: SocketKey, room: &Arc<str>) -> bool {
        let following = self.socket(key).and_then(|it| it.following.as_mut());
        let stays = following.is_some_and(|following| following.rejoin(room));
        self.join(key.index, room) || stays
    }

    /// Leaves a room. From a recoverable one events are delivered until the record says that it is
    /// left: otherwise the cursor would go on in other rooms of the slot, and a client that comes
    /// back before would have a gap in a room that it is still in.
    fn leave_once_kept(&mut self, key: SocketKey, room: &str) -> bool {
        let node = self.node.clone();
        let Some(socket) = self.sockets.get_mut(key.index as usize) else {
            return false;
        };
        let is_member = self.rooms.contains(socket.namespace, room, key.index);
        let name = &socket.namespace_name;
        if is_member
            && let Some(following) = &mut socket.following
            && node.handler.class(name, room) == RoomClass::Recoverable
            && following.leave(room)
        {
            return true;
        }
        self.leave(key.index, room)
    }

    fn ack(&mut self, key: SocketKey, ack: Ack, must_wait: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        let args: Vec<&str> = ack.args.iter().map(|arg| arg.get()).collect();
        let frames = socket::encode_ack(&socket.namespace_name, ack.id, &args, &ack.attachments);
        match must_wait {
            true => self.when_registered(key, Then::Ack(frames)),
            false => self.send(connection, &frames, Keep::Always),
        }
    }

    /// Sends an event to one socket, as a live one.
    fn emit_to(&mut self, key: SocketKey, event: &Event) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        let body = Body::new(&socket.namespace_name, event, None);
        self.note_answered(key, event);
        let Some(socket) = self.socket(key) else {
            return;
        };
        let frames = if socket.has_record() {
            body.guarded()
        } else {
            body.plain()
        };
        self.send(connection, frames, Keep::Always);
    }

    fn broadcast(&mut self, request: EmitRequest) {
        if self.node.emits.try_send(request).is_err() {
            tracing::warn!("handlers emit faster than the node takes it; an emit was dropped");
        }
    }

    fn later(&mut self, socket: SocketKey, work: BoxFuture<Vec<Effect>>) {
        let mailbox = self.node.hub.shards[self.index].mailbox.clone();
        let work = async move {
            let effects = work.await;
            let done = Command::Effects {
                socket,
                effects,
                settled: None,
            };
            let _ = mailbox.send(done).await;
        };
        // What a client asked for is done though it did not wait for the answer.
        self.job(Box::pin(work), None);
    }

    /// Leaves work to the control plane; false if more waits already than it could take soon. What
    /// it cannot take at once waits here: an avalanche of clients comes in one turn. Work that is
    /// `only_for` a connection is dropped if that ends before.
    pub(super) fn job(&mut self, work: Job, only_for: Option<ConnectionKey>) -> bool {
        /// Jobs of one shard that may wait for room, for each a client waits.
        const BACKLOG: usize = 64 << 10;
        if self.backlog.len() >= BACKLOG {
            tracing::warn!("the control plane is overloaded; a client's request was dropped");
            return false;
        }
        self.backlog.push_back(Waiting { work, only_for });
        self.hand_over_jobs();
        if !self.backlog.is_empty() {
            self.wake.notify_one();
        }
        true
    }

    /// Gives the control plane as many of the waiting jobs as it has room for.
    pub(super) fn hand_over_jobs(&mut self) {
        while let Some(next) = self.backlog.pop_front() {
            let connections = &mut self.connections;
            let is_gone = |key| connection_of(connections, key).is_none();
            if next.only_for.is_some_and(is_gone) {
                continue;
            }
            match self.node.jobs.try_reserve() {
                Ok(permit) => permit.send(next.work),
                Err(_) => return self.backlog.push_front(next),
            }
        }
    }
}

struct Ack {
    id: u64,
    args: Vec<Box<serde_json::value::RawValue>>,
    attachments: Vec<bytes::Bytes>,
}
