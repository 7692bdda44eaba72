//! Joining and leaving the rooms of a channel: what is counted, and what is taken back when a snapshot
//! cannot be had.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use serde_json::{Value, json};

use super::{
    ANONYMOUS, Channels,
    answer::{Subscribed, refused, with_member},
    ledger::Ledger,
    params::{Failure, Rejected, Wanted, names_none, parameters, wanted},
    snapshot::Taken,
    stored::Told,
};
use crate::{
    app::{
        handler::{ClientEvent, Effect, SocketContext},
        limits::Limits,
    },
    config::Channel,
    node::now_ms,
};

/// What a client's event comes to.
pub(super) enum Outcome {
    /// The answer.
    Done(Value),
    /// It is answered later.
    Later,
}

impl Channels {
    /// Decides over an event; the answer for its acknowledgement.
    pub(super) fn decide(
        &self,
        context: &mut SocketContext<'_>,
        event: &ClientEvent<'_>,
    ) -> Result<Outcome, Failure> {
        let name = &*event.event.name;
        let namespace = &**context.socket.namespace;
        let unknown = || {
            let message = format!("there is no event {name:?}; see the configured channels");
            Failure::new("unknown_event", message)
        };
        let (verb, called) = name.split_once(':').ok_or_else(unknown)?;
        let channels = self.channels.now();
        let channel = channels.get(called);
        let channel = channel.filter(|channel| channel.namespace == namespace);
        let channel = channel.ok_or_else(unknown)?;
        let user = user_of(context);
        let params = parameters(event.event.args.first().copied(), &user)?;
        match (verb, &channel.stored) {
            ("subscribe", Some(stored)) if names_none(channel, &params) => {
                let told = event.ack.map_or(Told::Failure, Told::Answer);
                self.join_stored(context, called, stored, told);
                Ok(Outcome::Later)
            }
            ("subscribe", _) => {
                let chosen = wanted(channel, &params, &user)?;
                self.subscribe(context, channel, chosen, event.ack)
            }
            ("unsubscribe", _) => {
                let (wanted, rejected) = wanted(channel, &params, &user)?;
                let answer = self.unsubscribe(context, &user, &wanted, &rejected);
                Ok(Outcome::Done(answer))
            }
            _ => Err(unknown()),
        }
    }

    /// Subscribes to values of a channel, with its snapshot if there is one.
    pub(super) fn subscribe(
        &self,
        context: &mut SocketContext<'_>,
        channel: &Channel,
        (wanted, mut rejected): (Vec<Wanted>, Vec<Rejected>),
        ack: Option<u64>,
    ) -> Result<Outcome, Failure> {
        let user = &*user_of(context);
        // Whoever asks for no answer cannot be given a snapshot.
        let snapshots = self.snapshots.as_ref().zip(ack);
        let reads = snapshots.and_then(|(it, ack)| Some((ack, it.reads(channel, user, &wanted)?)));
        let claim = reads.is_some().then(|| self.claims.fetch_add(1, Relaxed));
        let (mut joined, mut claimed) = (Vec::new(), Vec::new());
        for Wanted { value, rooms, .. } in wanted {
            match self.reserve(context, user, &rooms, claim) {
                Ok(new) => {
                    new.into_iter()
                        .for_each(|room| context.ask(Effect::Join(room)));
                    joined.push(value);
                    claimed.extend(rooms);
                }
                Err(message) => rejected.push(Rejected {
                    value: value.into(),
                    code: "subscription_limit",
                    message,
                }),
            }
        }
        if let Some(first) = rejected.first()
            && joined.is_empty()
        {
            return Err(Failure::new(first.code, first.message.clone()));
        }
        let answer = Subscribed {
            ok: true,
            joined,
            rejected,
        };
        let Some(((ack, mut reads), claim)) = reads.zip(claim) else {
            return Ok(Outcome::Done(json!(answer)));
        };
        reads.only(&answer.joined);
        let request = Request {
            ledger: self.ledger.clone(),
            limits: self.limits.clone(),
            socket: context.socket.id.clone(),
            user: user.to_owned(),
            rooms: claimed.clone(),
            claim,
        };
        let work = async move {
            let taken = reads.take().await;
            request.settle(ack, answer, taken)
        };
        context.ask(Effect::Settled {
            rooms: claimed,
            work: Box::pin(work),
        });
        Ok(Outcome::Later)
    }

    /// Counts rooms that the socket is not in yet against its user's limit, all or none; returns
    /// those to join.
    fn reserve(
        &self,
        context: &SocketContext<'_>,
        user: &str,
        rooms: &[Arc<str>],
        claim: Option<u64>,
    ) -> Result<Vec<Arc<str>>, String> {
        let socket = context.socket.id;
        let mut new: Vec<Arc<str>> = Vec::new();
        for room in rooms {
            let is_new = match claim {
                Some(claim) => self.ledger.claim(socket, room, claim),
                None => self.ledger.add(socket, room),
            };
            if !is_new {
                // Counted already; but an operator may have taken the socket out of it.
                if !context.rooms.contains(room) {
                    new.push(room.clone());
                }
                continue;
            }
            if let Err(limit) = self.limits.subscribe(user, room, now_ms()) {
                self.ledger.remove(socket, room);
                match claim {
                    Some(claim) => rooms
                        .iter()
                        .filter(|room| self.ledger.refuse(socket, room, claim))
                        .for_each(|room| self.limits.unsubscribe(user, room)),
                    None => new.iter().for_each(|room| self.release(socket, user, room)),
                }
                return Err(limit.to_string());
            }
            new.push(room.clone());
        }
        Ok(new)
    }

    /// Takes back what [`Channels::reserve`] counted.
    fn release(&self, socket: &str, user: &str, room: &str) {
        if self.ledger.remove(socket, room) {
            self.limits.unsubscribe(user, room);
        }
    }

    fn unsubscribe(
        &self,
        context: &mut SocketContext<'_>,
        user: &str,
        wanted: &[Wanted],
        rejected: &[Rejected],
    ) -> Value {
        for room in wanted.iter().flat_map(|wanted| &wanted.rooms) {
            self.release(context.socket.id, user, room);
            context.ask(Effect::Leave(room.clone()));
        }
        let left: Vec<&str> = wanted.iter().map(|wanted| wanted.value.as_str()).collect();
        json!({ "ok": true, "left": left, "rejected": rejected })
    }
}

/// The user whom a socket belongs to.
pub(super) fn user_of(context: &SocketContext<'_>) -> Arc<str> {
    let user = context.socket.user.cloned();
    user.unwrap_or_else(|| ANONYMOUS.into())
}

/// A request that was answered once its snapshot had been read.
struct Request {
    ledger: Ledger,
    limits: Limits,
    socket: Arc<str>,
    user: String,
    rooms: Vec<Arc<str>>,
    claim: u64,
}

impl Request {
    /// The answer with the snapshot; or why there is none, and everything as it was before.
    fn settle(self, ack: u64, answer: Subscribed, taken: Result<Taken, Failure>) -> Vec<Effect> {
        let Self {
            ledger,
            limits,
            socket,
            user,
            rooms,
            claim,
        } = self;
        let mut effects = Vec::new();
        let answer = match taken {
            Ok((name, snapshot)) => {
                rooms
                    .iter()
                    .for_each(|room| ledger.grant(&socket, room, claim));
                with_member(&answer, name, &snapshot)
            }
            Err(failure) => {
                for room in rooms {
                    if ledger.refuse(&socket, &room, claim) {
                        limits.unsubscribe(&user, &room);
                        effects.push(Effect::Leave(room));
                    }
                }
                refused(&failure)
            }
        };
        effects.push(Effect::Ack {
            id: ack,
            args: vec![answer],
            attachments: Vec::new(),
        });
        effects
    }
}
