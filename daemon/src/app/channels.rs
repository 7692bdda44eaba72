//! The default handler: what clients may subscribe to is what the configuration lists.
//!
//! `subscribe:<channel>` joins the channel's rooms, `unsubscribe:<channel>` leaves them. A room's
//! template names the session's user as `{user}`; any other variable `{x}` is a parameter that the
//! client gives as `x`, or as a list `xs`.

mod ledger;
mod params;
mod snapshot;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use ledger::Ledger;
use params::{Failure, Rejected, Wanted, parameters, wanted};
pub use snapshot::Snapshots;
use snapshot::{Reads, Taken};

use super::{
    auth::{Authenticator, Login, Refusal as AuthRefusal},
    handler::{
        Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules,
        Refusal, SocketContext, SocketView,
    },
    limits::Limits,
    random,
};
use crate::{
    config::{Channel, Class},
    event::{Event, RoomClass},
    live::Live,
    node::now_ms,
    shard::machine::Reason,
};

/// The event that carries an error to a client that asked for no acknowledgement.
const ERROR_EVENT: &str = "error";

/// Who connects without saying who, where nobody is asked.
const ANONYMOUS: &str = "anonymous";

/// The default handler.
pub struct Channels {
    /// A reload may change them, but not what an existing room promises.
    channels: Live<BTreeMap<String, Channel>>,
    namespaces: HashSet<String>,
    /// Whether recoverable rooms are recovered.
    recovery: bool,
    authenticator: Authenticator,
    limits: Limits,
    ledger: Ledger,
    snapshots: Option<Snapshots>,
    /// Requests that were answered later.
    claims: AtomicU64,
}

/// What a client's event comes to.
enum Outcome {
    /// The answer.
    Done(Value),
    /// It is answered later.
    Later,
}

impl Channels {
    /// A handler for these channels. `recovery` says whether recoverable rooms are recovered;
    /// `snapshots` is where those come from.
    pub fn new(
        namespaces: impl IntoIterator<Item = String>,
        channels: Live<BTreeMap<String, Channel>>,
        authenticator: Authenticator,
        limits: Limits,
        recovery: bool,
        snapshots: Option<Snapshots>,
    ) -> Self {
        Self {
            channels,
            namespaces: namespaces.into_iter().collect(),
            recovery,
            authenticator,
            limits,
            ledger: Ledger::default(),
            snapshots,
            claims: AtomicU64::new(0),
        }
    }

    /// Decides over an event; the answer for its acknowledgement.
    fn decide(
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
        let (verb, channel) = name.split_once(':').ok_or_else(unknown)?;
        let channels = self.channels.now();
        let channel = channels.get(channel);
        let channel = channel.filter(|channel| channel.namespace == namespace);
        let channel = channel.ok_or_else(unknown)?;
        let user = context
            .socket
            .user
            .cloned()
            .unwrap_or_else(|| ANONYMOUS.into());
        let params = parameters(event.event.args.first().copied(), &user)?;
        let (wanted, rejected) = wanted(channel, &params, &user)?;
        match verb {
            "subscribe" => {
                // Whoever asks for no answer cannot be given a snapshot.
                let snapshots = self.snapshots.as_ref().zip(event.ack);
                let reads =
                    snapshots.and_then(|(it, ack)| Some((ack, it.reads(channel, &user, &wanted)?)));
                self.subscribe(context, &user, wanted, rejected, reads)
            }
            "unsubscribe" => {
                let answer = self.unsubscribe(context, &user, &wanted, &rejected);
                Ok(Outcome::Done(answer))
            }
            _ => Err(unknown()),
        }
    }

    fn subscribe(
        &self,
        context: &mut SocketContext<'_>,
        user: &str,
        wanted: Vec<Wanted>,
        mut rejected: Vec<Rejected>,
        reads: Option<(u64, Reads)>,
    ) -> Result<Outcome, Failure> {
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

    /// Whether a room is one that a channel leads to, and so counts as a subscription.
    fn is_subscription(&self, namespace: &str, room: &str) -> bool {
        self.channels
            .now()
            .values()
            .filter(|channel| channel.namespace == namespace)
            .any(|channel| channel.rooms.iter().any(|template| template.matches(room)))
    }

    /// Counts an event of a user; refused events are told, and abuse ends the socket.
    fn count(&self, context: &mut SocketContext<'_>) -> Result<(), Failure> {
        let user = context.socket.user.map_or(ANONYMOUS, |user| user);
        let Err(refused) = self.limits.event(user, now_ms()) else {
            return Ok(());
        };
        let seconds = refused.retry_after.seconds();
        if refused.abuse {
            let message = "disconnected: events went on long after the limit was reached";
            let failure = Failure {
                retry_after: Some(seconds),
                ..Failure::new("rate_limited", message)
            };
            context.emit(error_event(&failure));
            context.ask(Effect::Disconnect { close: false });
        }
        let message = format!("too many events, try again in {seconds} s");
        Err(Failure {
            retry_after: Some(seconds),
            ..Failure::new("rate_limited", message)
        })
    }
}

impl Handler for Channels {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        let is_recoverable =
            |channel: &Channel| channel.namespace == name && channel.class == Class::Recoverable;
        self.namespaces.contains(name).then(|| NamespaceRules {
            recoverable: self.recovery && self.channels.now().values().any(is_recoverable),
        })
    }

    fn class(&self, namespace: &str, room: &str) -> RoomClass {
        let channels = self.channels.now();
        for channel in channels.values().filter(|it| it.namespace == namespace) {
            if channel.rooms.iter().any(|template| template.matches(room)) {
                return match channel.class {
                    Class::Live => RoomClass::Live,
                    Class::Conflated => RoomClass::Conflated(channel.interval),
                    Class::Recoverable => RoomClass::Recoverable,
                };
            }
        }
        RoomClass::Live
    }

    fn connect(&self, request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            let auth = request.auth.as_deref().map(RawValue::get);
            let cookie = request.handshake.cookie.clone();
            let login = authenticator
                .connect(auth, cookie, now_ms())
                .await
                .map_err(refusal)?;
            Ok(admission(login))
        })
    }

    fn connect_now(&self, request: &ConnectRequest) -> Option<Result<Admission, Refusal>> {
        let auth = request.auth.as_deref().map(RawValue::get);
        let cookie = request.handshake.cookie.as_deref();
        let decided = self.authenticator.connect_now(auth, cookie, now_ms())?;
        Some(decided.map(admission).map_err(refusal))
    }

    fn connected(&self, context: &mut SocketContext<'_>) {
        // A recovered socket is in rooms that were counted on its earlier connection.
        let Some(user) = context.socket.user else {
            return;
        };
        for room in context.rooms {
            if self.is_subscription(context.socket.namespace, room)
                && self.ledger.add(context.socket.id, room)
                && self.limits.subscribe(user, room, now_ms()).is_err()
            {
                // The limit was lowered: the room stays, uncounted.
                self.ledger.remove(context.socket.id, room);
            }
        }
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        let decided = match self.count(context) {
            Ok(()) => self.decide(context, &event),
            Err(failure) => Err(failure),
        };
        match (decided, event.ack) {
            (Ok(Outcome::Done(answer)), Some(id)) => context.ack(id, raw(&answer)),
            (Ok(_), _) => {}
            (Err(failure), Some(id)) => {
                context.ack(id, refused(&failure));
            }
            (Err(failure), None) => context.emit(error_event(&failure)),
        }
    }

    fn disconnected(&self, socket: &SocketView<'_>, _reason: Reason) {
        let rooms = self.ledger.clear(socket.id);
        if let Some(user) = socket.user {
            rooms
                .iter()
                .for_each(|room| self.limits.unsubscribe(user, room));
        }
    }
}

/// The room of all sockets of a user.
pub fn user_room(user: &str) -> Arc<str> {
    format!("user:{user}").into()
}

/// Whom a client is let in as, and into which rooms.
fn admission(login: Login) -> Admission {
    let has_session = !login.session.is_empty();
    let user: Arc<str> = match &*login.user {
        // Strangers must not share limits.
        ANONYMOUS if !has_session => format!("{ANONYMOUS}-{}", random::base62(12)).into(),
        _ => login.user,
    };
    Admission {
        rooms: vec![user_room(&user)],
        user: Some(user),
        session: has_session.then_some(login.session),
        expires_ms: has_session.then_some(login.expires_ms),
    }
}

/// A refusal at CONNECT as the protocol reports it.
fn refusal(refusal: AuthRefusal) -> Refusal {
    match refusal {
        AuthRefusal::Final { code, message } => {
            let data = json!({ "code": code.as_str() });
            Refusal::Final {
                message,
                data: Some(raw(&data)),
            }
        }
        AuthRefusal::Unavailable(error) => {
            tracing::warn!(%error, "a session could not be checked");
            Refusal::Passing(Reason::Unavailable)
        }
    }
}

fn error_event(failure: &Failure) -> Event {
    let arg = serde_json::value::to_raw_value(failure).expect("a failure is plain JSON");
    Event {
        name: ERROR_EVENT.to_owned(),
        args: vec![arg],
        attachments: Vec::new(),
    }
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

/// The answer to a subscription.
#[derive(Serialize)]
struct Subscribed {
    ok: bool,
    joined: Vec<String>,
    rejected: Vec<Rejected>,
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

/// An answer with one more member.
fn with_member(answer: &Subscribed, name: &str, value: &RawValue) -> Box<RawValue> {
    let mut text = raw(&json!(answer)).get().to_owned();
    text.pop();
    text.extend([",\"", name, "\":", value.get(), "}"]);
    RawValue::from_string(text).expect("it is put together from JSON")
}

/// The answer to an event that failed.
fn refused(failure: &Failure) -> Box<RawValue> {
    raw(&json!({ "ok": false, "error": failure }))
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value is plain JSON")
}
