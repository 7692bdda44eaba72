//! The namespace, beside those of the application.

use std::sync::Arc;

use serde_json::{json, value::RawValue};

use super::{
    login::{Login, Operators},
    note::event,
    watch::Watch,
    wish::Wish,
};
use crate::{
    app::{
        cookie::Keyring,
        handler::{
            Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules,
            Refusal, SocketContext, SocketView,
        },
        limits::Limits,
    },
    config::Config,
    event::RoomClass,
    live::Live,
    node::now_ms,
    relay::Relay,
    shard::machine::{Raw, Reason},
};

/// A handler with the admin UI's namespace beside its own.
pub struct AdminUi {
    /// Decides over all other namespaces.
    inner: Arc<dyn Handler>,
    watch: Arc<Watch>,
    login: Arc<Login>,
    /// Where what is asked for is done.
    relay: Arc<Relay>,
    read_only: bool,
}

impl AdminUi {
    /// The admin UI beside a handler. Its logins are signed with `keyring` and counted against
    /// `limits`.
    pub fn new(
        config: &Config,
        inner: Arc<dyn Handler>,
        operators: Box<dyn Operators>,
        (keyring, limits, relay): (Live<Keyring>, Limits, Arc<Relay>),
    ) -> Self {
        let watch = Watch::new(config, relay.clone());
        Self {
            inner,
            watch: Arc::new(watch),
            login: Arc::new(Login::new(operators, keyring, limits)),
            relay,
            read_only: config.admin_ui.read_only,
        }
    }

    /// What the node's shards and task go by.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    fn is_own(&self, namespace: &str) -> bool {
        namespace == self.watch.namespace
    }

    /// What the page may show and ask for.
    fn features(&self) -> Vec<&'static str> {
        let mut features = vec!["AGGREGATED_EVENTS"];
        if self.watch.detail {
            features.push("ALL_EVENTS");
        }
        if !self.read_only {
            features.extend([
                "EMIT",
                "JOIN",
                "LEAVE",
                "DISCONNECT",
                "MJOIN",
                "MLEAVE",
                "MDISCONNECT",
            ]);
        }
        features
    }

    /// Does what the page asks for, on all nodes.
    fn wish(&self, context: &mut SocketContext<'_>, event: &ClientEvent<'_>) {
        let (ip, session) = (context.socket.handshake.ip, context.socket.session);
        let Some(wish) = Wish::of(event) else {
            return tracing::debug!(%ip, "the admin UI sent what is not known");
        };
        let operator = self.login.name(session.map(|session| &**session));
        if self.read_only {
            let refused = wish.said();
            return tracing::warn!(%ip, %operator, refused, "the admin UI is read-only");
        }
        tracing::info!(%ip, %operator, act = wish.said(), "asked for by the admin UI");
        match wish {
            Wish::Emit(request) => context.ask(Effect::Broadcast(request)),
            Wish::Act(target, act) => {
                let relay = self.relay.clone();
                context.ask(Effect::Later(Box::pin(async move {
                    relay.act_everywhere(target, act).await;
                    Vec::new()
                })));
            }
        }
    }
}

impl Handler for AdminUi {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        match self.is_own(name) {
            true => Some(NamespaceRules { recoverable: false }),
            false => self.inner.namespace(name),
        }
    }

    fn class(&self, namespace: &str, room: &str) -> RoomClass {
        match self.is_own(namespace) {
            true => RoomClass::Live,
            false => self.inner.class(namespace, room),
        }
    }

    fn connect(&self, request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        if !self.is_own(&request.namespace) {
            return self.inner.connect(request);
        }
        let login = self.login.clone();
        Box::pin(async move {
            let ip = request.handshake.ip;
            login.admit(request.auth.as_deref(), ip, now_ms()).await
        })
    }

    fn connect_now(&self, request: &ConnectRequest) -> Option<Result<Admission, Refusal>> {
        match self.is_own(&request.namespace) {
            true => None,
            false => self.inner.connect_now(request),
        }
    }

    fn connected(&self, context: &mut SocketContext<'_>) {
        if !self.is_own(context.socket.namespace) {
            return self.inner.connected(context);
        }
        // Behind the answer to CONNECT, where the page listens for it; the reference sends it before.
        if let Some(session) = context.socket.session {
            context.emit(event("session", &(session,)));
        }
        let config = json!({ "supportedFeatures": self.features() });
        context.emit(event("config", &(config,)));
        context.ask(Effect::Join(super::ROOM.into()));
        context.ask(self.watch.look());
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        match self.is_own(context.socket.namespace) {
            true => self.wish(context, &event),
            false => self.inner.event(context, event),
        }
    }

    fn disconnected(&self, socket: &SocketView<'_>, reason: Reason) {
        if !self.is_own(socket.namespace) {
            self.inner.disconnected(socket, reason);
        }
    }

    fn server_event(&self, event: &str, args: &[Box<RawValue>]) -> Option<Box<RawValue>> {
        self.inner.server_event(event, args)
    }

    fn raw(&self, message: Raw) -> Option<Raw> {
        self.inner.raw(message)
    }

    fn keeps_handshake(&self) -> bool {
        self.watch.detail || self.inner.keeps_handshake()
    }

    fn keeps_auth(&self) -> bool {
        self.inner.keeps_auth()
    }
}
