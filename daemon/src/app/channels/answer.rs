//! PURE: what clients are answered with.

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::params::{Failure, Rejected};
use crate::event::Event;

/// The event that carries an error to a client that asked for no acknowledgement.
const ERROR_EVENT: &str = "error";

/// The answer to a subscription.
#[derive(Serialize)]
pub(super) struct Subscribed {
    pub(super) ok: bool,
    /// What the client called that which it has now.
    pub(super) joined: Vec<String>,
    pub(super) rejected: Vec<Rejected>,
}

/// An answer with one more member.
pub(super) fn with_member(answer: &Subscribed, name: &str, value: &RawValue) -> Box<RawValue> {
    let mut text = raw(&json!(answer)).get().to_owned();
    text.pop();
    text.extend([",\"", name, "\":", value.get(), "}"]);
    RawValue::from_string(text).expect("it is put together from JSON")
}

/// The answer to an event that failed.
pub(super) fn refused(failure: &Failure) -> Box<RawValue> {
    raw(&json!({ "ok": false, "error": failure }))
}

/// A value as it is sent.
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value is plain JSON")
}

/// The same to a client that asked for no answer.
pub(super) fn error_event(failure: &Failure) -> Event {
    let arg = serde_json::value::to_raw_value(failure).expect("a failure is plain JSON");
    Event {
        name: ERROR_EVENT.to_owned(),
        args: vec![arg],
        attachments: Vec::new(),
    }
}
