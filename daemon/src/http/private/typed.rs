//! Emits of the trading profile: the path says what and where, the body is the event's argument.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    Api,
    command::{Command, user_room},
    emit::{self, Outcome},
    fields::{self, Fields},
    refusal::Refusal,
};
use crate::{
    config::{Channel, Param},
    event::{EmitRequest, Event},
};

/// The name of an instrument.
const SYMBOL: &str = "symbol";

/// The channel of quotes.
const WATCHLIST: &str = "watchlist";

/// The event that carries a quote.
const QUOTE: &str = "watchlist:quote";

/// An event for the rooms of one of a user's channels.
pub(super) async fn to_user(
    api: &Arc<Api>,
    channel: &str,
    event: &str,
    user: &str,
    body: &[u8],
) -> Outcome {
    user_room("id", user)?;
    let argument = argument(body)?;
    let found = self::channel(api, channel)?;
    let mut rooms = found.rooms.iter();
    let own = rooms.find(|room| room.is_per_user() && room.client_variables().next().is_none());
    let room = own.map(|room| room.expand(|_| user)).ok_or_else(|| {
        Refusal::not_found(format!(
            "the channel {channel:?} has no room of a user alone"
        ))
    })?;
    send(api, &found.namespace, room, event, argument).await
}

/// A quote for all who watch the symbol.
pub(super) async fn quote(api: &Arc<Api>, symbol: &str, body: &[u8]) -> Outcome {
    let found = channel(api, WATCHLIST)?;
    let symbol = accepted(found.params.get(SYMBOL), symbol)?;
    let argument = with_symbol(body, &symbol)?;
    let mut rooms = found.rooms.iter();
    let of_symbol = rooms.find(|room| room.variables().eq([SYMBOL]));
    let room = of_symbol
        .map(|room| room.expand(|_| &symbol))
        .ok_or_else(|| {
            Refusal::not_found(format!(
                "the channel {WATCHLIST:?} has no room of a symbol alone"
            ))
        })?;
    send(api, &found.namespace, room, QUOTE, argument).await
}

/// A quote for one user.
pub(super) async fn quote_to_user(
    api: &Arc<Api>,
    user: &str,
    symbol: &str,
    body: &[u8],
) -> Outcome {
    let room = user_room("id", user)?;
    let found = channel(api, WATCHLIST)?;
    let symbol = accepted(found.params.get(SYMBOL), symbol)?;
    let argument = with_symbol(body, &symbol)?;
    send(api, &found.namespace, room, QUOTE, argument).await
}

fn channel(api: &Api, name: &str) -> Result<Channel, Refusal> {
    let missing = || {
        Refusal::not_found(format!(
            "the configuration has no channel {name:?}; use /api/v1/emit"
        ))
    };
    api.channels.now().get(name).cloned().ok_or_else(missing)
}

fn accepted(rule: Option<&Param>, symbol: &str) -> Result<String, Refusal> {
    let accepted = match rule {
        Some(rule) => rule.accept(symbol),
        None => Some(symbol.to_owned()),
    };
    accepted.ok_or_else(|| {
        Refusal::params("`symbol` is not what the channel's parameter `symbol` allows")
    })
}

fn argument(body: &[u8]) -> Result<Box<RawValue>, Refusal> {
    let text = fields::text(body)?;
    serde_json::from_str(text).map_err(|error| fields::not_json(&error))
}

/// A quote with its symbol first; one that it brought gives way.
fn with_symbol(body: &[u8], symbol: &str) -> Result<Box<RawValue>, Refusal> {
    let fields = Fields::any(body)?;
    let text = |text: &str| serde_json::to_string(text).expect("texts are JSON");
    let mut quote = format!("{{\"{SYMBOL}\":{}", text(symbol));
    for (name, value) in fields.iter().filter(|(name, _)| *name != SYMBOL) {
        quote.extend([",", &text(name), ":", value.get()]);
    }
    quote.push('}');
    Ok(RawValue::from_string(quote).expect("it is put together from JSON"))
}

async fn send(
    api: &Arc<Api>,
    namespace: &str,
    room: String,
    event: &str,
    argument: Box<RawValue>,
) -> Outcome {
    let request = EmitRequest {
        namespace: namespace.to_owned(),
        rooms: vec![room],
        except: Vec::new(),
        event: Event {
            name: event.to_owned(),
            args: vec![argument],
            attachments: Vec::new(),
        },
        volatile: false,
        id: None,
        local: false,
    };
    emit::perform(api, Command { request, ack: None }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_gets_its_symbol() {
        for (body, quote) in [
            ("{}", r#"{"symbol":"A"}"#),
            (r#" { "bid" : 1.50 } "#, r#"{"symbol":"A","bid":1.50}"#),
            (
                r#"{"x":"é\n","symbol":7,"y":[1 ]}"#,
                r#"{"symbol":"A","x":"é\n","y":[1 ]}"#,
            ),
            (r#"{"\"k\"":null}"#, r#"{"symbol":"A","\"k\"":null}"#),
        ] {
            assert_eq!(with_symbol(body.as_bytes(), "A").unwrap().get(), quote);
        }
        let refusal = with_symbol(b"7", "A").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the body is a number; it must be an object"
        );
    }
}
