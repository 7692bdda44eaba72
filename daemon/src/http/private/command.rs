//! What a backend asks to be emitted: one JSON object, taken apart. Pure.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    fields::{Fields, quoted},
    refusal::Refusal,
};
use crate::{
    app::accounts::is_user,
    event::{EmitRequest, Event},
};

/// Rooms, users or exceptions that one emit may name.
pub(super) const MAX_TARGETS: usize = 1000;

/// Longest time to wait for acknowledgements, in milliseconds.
const MAX_ACK_MS: u64 = 60_000;

/// Longest idempotency key.
const MAX_ID: usize = 128;

const TARGETS: [&str; 5] = ["room", "rooms", "user", "users", "broadcast"];

const FIELDS: [&str; 13] = [
    "room",
    "rooms",
    "user",
    "users",
    "broadcast",
    "except",
    "namespace",
    "event",
    "data",
    "args",
    "volatile",
    "id",
    "ack",
];

/// An emit as the HTTP API takes it.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// What goes where.
    pub(super) request: EmitRequest,
    /// How long to wait for acknowledgements, if they are asked for.
    pub(super) ack: Option<Duration>,
}

impl Command {
    /// Reads the body of an emit.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let fields = Fields::parse(body, &FIELDS)?;
        let request = EmitRequest {
            rooms: rooms(&fields)?,
            except: except(&fields)?,
            namespace: fields.text("namespace")?.unwrap_or_else(|| "/".to_owned()),
            event: Event {
                name: fields.required("event")?,
                args: args(&fields)?,
                attachments: Vec::new(),
            },
            volatile: fields.flag("volatile")?,
            id: id(&fields)?,
            local: false,
        };
        let ack = ack(&fields)?;
        if ack.is_some() && request.volatile {
            let message = "`ack` and `volatile` exclude each other: what may be dropped is not \
                           acknowledged";
            return Err(Refusal::params(message));
        }
        Ok(Self { request, ack })
    }
}

/// The room that all sockets of a user are in.
pub(super) fn user_room(field: &str, user: &str) -> Result<String, Refusal> {
    if is_user(user) {
        return Ok(format!("user:{user}"));
    }
    let allowed = "1 to 128 characters without control characters";
    Err(Refusal::params(format!(
        "`{field}` names no user; a user has {allowed}"
    )))
}

fn rooms(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let given: Vec<&str> = TARGETS
        .into_iter()
        .filter(|name| fields.has(name))
        .collect();
    let [target] = given[..] else {
        let all = quoted(&TARGETS);
        let found = if given.is_empty() {
            "none is".into()
        } else {
            quoted(&given) + " are"
        };
        let message = format!("exactly one of {all} must be given; {found}");
        return Err(Refusal::params(message));
    };
    match target {
        "room" => Ok(vec![fields.required(target)?]),
        "rooms" => Ok(fields.texts(target, MAX_TARGETS)?.unwrap_or_default()),
        "user" => Ok(vec![user_room(target, &fields.required(target)?)?]),
        "users" => {
            let users = fields.texts(target, MAX_TARGETS)?.unwrap_or_default();
            users.iter().map(|user| user_room(target, user)).collect()
        }
        _ if fields.flag(target)? => Ok(Vec::new()),
        _ => Err(Refusal::params(
            "`broadcast` is false; it must be true, or left out",
        )),
    }
}

/// One name or a list of names; a list may be empty.
fn except(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let allowed = "a string or a list of strings";
    let is_text = fields
        .raw("except")
        .is_some_and(|value| value.get().starts_with('"'));
    if is_text {
        return Ok(vec![fields.required("except")?]);
    }
    let names: Vec<String> = fields.read("except", allowed)?.unwrap_or_default();
    match names.len() {
        0..=MAX_TARGETS => Ok(names),
        len => {
            let message = format!("`except` has {len} items; it may have {MAX_TARGETS}");
            Err(Refusal::params(message))
        }
    }
}

fn args(fields: &Fields<'_>) -> Result<Vec<Box<RawValue>>, Refusal> {
    match (fields.raw("data"), fields.has("args")) {
        (Some(_), true) => Err(Refusal::params(
            "`data` (one argument) and `args` (a list) exclude each other",
        )),
        (Some(data), false) => Ok(vec![data.to_owned()]),
        (None, _) => Ok(fields
            .read("args", "a list, each item one argument")?
            .unwrap_or_default()),
    }
}

fn id(fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
    let Some(id) = fields.text("id")? else {
        return Ok(None);
    };
    let printable = id
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if printable && (1..=MAX_ID).contains(&id.len()) {
        return Ok(Some(id));
    }
    let message = format!("`id` must have 1 to {MAX_ID} printable ASCII characters");
    Err(Refusal::params(message))
}

fn ack(fields: &Fields<'_>) -> Result<Option<Duration>, Refusal> {
    let allowed = format!("{{\"timeoutMs\": 1 to {MAX_ACK_MS}}}");
    if !fields.has("ack") {
        return Ok(None);
    }
    let wrong = || Refusal::params(format!("`ack` must be {allowed}"));
    let ack = fields.raw("ack").map(RawValue::get).unwrap_or_default();
    let ack = Fields::parse(ack.as_bytes(), &["timeoutMs"]).map_err(|_| wrong())?;
    let timeout: Option<u64> = ack.read("timeoutMs", "").map_err(|_| wrong())?;
    match timeout {
        Some(ms @ 1..=MAX_ACK_MS) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Command {
        Command::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn targets_become_rooms() {
        for (target, rooms) in [
            (r#""room":"a""#, vec!["a"]),
            (r#""rooms":["a","b"]"#, vec!["a", "b"]),
            (r#""user":"alice""#, vec!["user:alice"]),
            (
                r#""users":["alice","auth0|7"],"room":null"#,
                vec!["user:alice", "user:auth0|7"],
            ),
            (r#""broadcast":true"#, vec![]),
        ] {
            let command = parse(&format!("{{{target},\"event\":\"e\"}}"));
            assert_eq!(command.request.rooms, rooms);
            assert_eq!(command.request.namespace, "/");
            assert!(command.request.args().is_empty() && command.ack.is_none());
        }
    }

    #[test]
    fn arguments_stay_as_they_were_written() {
        for (fields, args) in [
            (
                r#""data":{"b": 1.50,  "a":1e400}"#,
                vec![r#"{"b": 1.50,  "a":1e400}"#],
            ),
            (r#""data":null"#, vec!["null"]),
            (r#""data":[1,2]"#, vec!["[1,2]"]),
            (
                r#""args":[1,"\u00e9",[ ]]"#,
                vec!["1", r#""\u00e9""#, "[ ]"],
            ),
            (r#""args":[]"#, vec![]),
            (r#""args":null"#, vec![]),
        ] {
            let command = parse(&format!(r#"{{"room":"a","event":"e",{fields}}}"#));
            assert_eq!(command.request.args(), args, "{fields}");
        }
    }

    #[test]
    fn options_are_read() {
        let command = parse(
            r#"{"room":"a","event":"e","except":"s","namespace":"/x","volatile":true,"id":"i 1"}"#,
        );
        let EmitRequest {
            except,
            namespace,
            volatile,
            id,
            ..
        } = command.request;
        assert_eq!(
            (except, &*namespace, volatile),
            (vec!["s".to_owned()], "/x", true)
        );
        assert_eq!(id.as_deref(), Some("i 1"));
        let command =
            parse(r#"{"room":"a","event":"e","except":["s","t"],"ack":{"timeoutMs":60000}}"#);
        assert_eq!(command.request.except, ["s", "t"]);
        assert_eq!(command.ack, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_bad_body_is_told_what_is_wrong_and_what_is_allowed() {
        let all = "`room`, `rooms`, `user`, `users`, `broadcast`";
        let none = format!("exactly one of {all} must be given; none is");
        let two = format!("exactly one of {all} must be given; `room`, `user` are");
        let known = quoted(&FIELDS);
        let unknown = format!("there is no field `rom`; known are {known}");
        let ack = r#"`ack` must be {"timeoutMs": 1 to 60000}"#;
        let data = "`data` (one argument) and `args` (a list) exclude each other";
        let id = "`id` must have 1 to 128 printable ASCII characters";
        for (body, message) in [
            ("", "the body is empty; it must be JSON"),
            (
                "{",
                "this is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            ("[]", "the body is a list; it must be an object"),
            (
                "7 7",
                "this is no JSON: trailing characters at line 1 column 3",
            ),
            (
                r#"{"a":1,"a":2}"#,
                "the body has the field \"a\" twice at line 1 column 13",
            ),
            (r#"{"rom":"a"}"#, &unknown),
            (r#"{"event":"e"}"#, &none),
            (r#"{"room":"a","user":"b","event":"e"}"#, &two),
            (
                r#"{"room":5,"event":"e"}"#,
                "`room` is a number; it must be a string",
            ),
            (
                r#"{"rooms":"a","event":"e"}"#,
                "`rooms` is a string; it must be a list of strings",
            ),
            (
                r#"{"rooms":[],"event":"e"}"#,
                "`rooms` has 0 items; it must have 1 to 1000",
            ),
            (
                r#"{"user":"","event":"e"}"#,
                "`user` names no user; a user has 1 to 128 characters without control characters",
            ),
            (
                r#"{"broadcast":false,"event":"e"}"#,
                "`broadcast` is false; it must be true, or left out",
            ),
            (
                r#"{"broadcast":1,"event":"e"}"#,
                "`broadcast` is a number; it must be true or false",
            ),
            (r#"{"room":"a"}"#, "`event` is missing; it must be a string"),
            (
                r#"{"room":"a","event":7}"#,
                "`event` is a number; it must be a string",
            ),
            (r#"{"room":"a","event":"e","data":1,"args":[]}"#, data),
            (
                r#"{"room":"a","event":"e","args":{}}"#,
                "`args` is an object; it must be a list, each item one argument",
            ),
            (
                r#"{"room":"a","event":"e","except":7}"#,
                "`except` is a number; it must be a string or a list of strings",
            ),
            (
                r#"{"room":"a","event":"e","volatile":"yes"}"#,
                "`volatile` is a string; it must be true or false",
            ),
            (r#"{"room":"a","event":"e","id":""}"#, id),
            (r#"{"room":"a","event":"e","id":"é"}"#, id),
            (r#"{"room":"a","event":"e","ack":true}"#, ack),
            (r#"{"room":"a","event":"e","ack":{}}"#, ack),
            (r#"{"room":"a","event":"e","ack":{"timeoutMs":0}}"#, ack),
            (r#"{"room":"a","event":"e","ack":{"timeoutMs":60001}}"#, ack),
            (r#"{"room":"a","event":"e","ack":{"timeout":5}}"#, ack),
            (
                r#"{"room":"a","event":"e","volatile":true,"ack":{"timeoutMs":5}}"#,
                "`ack` and `volatile` exclude each other: what may be dropped is not acknowledged",
            ),
        ] {
            let refusal = Command::parse(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.to_string(), message, "{body}");
        }
        let refusal = Command::parse(b"{\"room\":\"\xff\"}").unwrap_err();
        assert_eq!(refusal.to_string(), "the body is not UTF-8");
    }

    impl EmitRequest {
        fn args(&self) -> Vec<&str> {
            self.event.args.iter().map(|arg| arg.get()).collect()
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(body: Vec<u8>) {
            let _ = Command::parse(&body);
        }
    }
}
