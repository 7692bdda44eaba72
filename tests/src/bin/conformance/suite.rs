//! Profile `suite`: echoes on `/` and `/custom`, and on a raw Engine.IO endpoint.

use serde_json::value::RawValue;
use tidings::{
    app::handler::{
        Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules,
        Refusal, SocketContext,
    },
    event::{Event, RoomClass},
    shard::machine::Raw,
};

/// The test handler.
pub(crate) struct Suite;

impl Handler for Suite {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        matches!(name, "/" | "/custom").then_some(NamespaceRules { recoverable: false })
    }

    fn class(&self, _namespace: &str, _room: &str) -> RoomClass {
        RoomClass::Live
    }

    fn connect(&self, _request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        Box::pin(async { Ok(Admission::default()) })
    }

    fn connected(&self, context: &mut SocketContext<'_>) {
        let auth = match context.socket.auth {
            Some(auth) => auth.to_owned(),
            None => empty_object(),
        };
        context.emit(Event {
            name: "auth".into(),
            args: vec![auth],
            attachments: Vec::new(),
        });
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        let args = event
            .event
            .args
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect();
        let attachments = event.attachments.to_vec();
        match (&*event.event.name, event.ack) {
            ("message", _) => {
                context.emit(Event {
                    name: "message-back".into(),
                    args,
                    attachments,
                });
            }
            ("message-with-ack", Some(id)) => context.ask(Effect::Ack {
                id,
                args,
                attachments,
            }),
            _ => {}
        }
    }

    fn raw(&self, message: Raw) -> Option<Raw> {
        Some(message)
    }

    fn keeps_handshake(&self) -> bool {
        true
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}
