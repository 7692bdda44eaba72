//! The default handler: what clients may subscribe to is what the configuration lists.
//!
//! `subscribe:<channel>` joins the channel's rooms, `unsubscribe:<channel>` leaves them. A room's
//! template names the session's user as `{user}`; any other variable `{x}` is a parameter that the
//! client gives as `x`, or as a list `xs`.
//!
//! | module | what it does |
//! |---|---|
//! | `params` | PURE: from an event's argument to the rooms that it names |
//! | `subscribe` | joins and leaves them |
//! | `ledger` | which subscriptions were counted |
//! | `snapshot` | what a subscription is answered with, from MongoDB |
//! | `stored` | subscribes to what MongoDB has of a user's own list |
//! | `answer` | PURE: what clients are answered with |

mod answer;
mod ledger;
mod params;
mod snapshot;
mod stored;
mod subscribe;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use serde_json::{json, value::RawValue};

use answer::{error_event, raw, refused};
use ledger::Ledger;
use params::Failure;
pub use snapshot::Snapshots;
use subscribe::Outcome;

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
    event::RoomClass,
    live::Live,
    node::now_ms,
    shard::machine::Reason,
};

/// Who connects without saying who, where nobody is asked.
const ANONYMOUS: &str = "anonymous";

/// The default handler; a cheap handle.
#[derive(Clone)]
pub struct Channels {
    /// A reload may change them, but not what an existing room promises.
    channels: Live<BTreeMap<String, Channel>>,
    namespaces: Arc<HashSet<String>>,
    /// Whether recoverable rooms are recovered.
    recovery: bool,
    authenticator: Authenticator,
    limits: Limits,
    ledger: Ledger,
    snapshots: Option<Snapshots>,
    /// Requests that were answered later.
    claims: Arc<AtomicU64>,
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
            namespaces: Arc::new(namespaces.into_iter().collect()),
            recovery,
            authenticator,
            limits,
            ledger: Ledger::default(),
            snapshots,
            claims: Arc::default(),
        }
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
        if !context.socket.recovered {
            self.join_at_connect(context);
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
