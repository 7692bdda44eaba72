//! Acts of operators on sockets: out of the node, into rooms, out of rooms.

use serde_json::json;

use super::{
    Api,
    answer::{Answer, with_silent},
    command::MAX_TARGETS,
    emit::Outcome,
    fields::{Fields, quoted},
    refusal::Refusal,
};
use crate::hub::{
    MAX_ROOM,
    query::{Act, Target},
};

const MEMBERS: [&str; 3] = ["users", "sockets", "rooms"];

/// Disconnects one socket.
pub(super) async fn disconnect_socket(api: &Api, id: &str, body: &[u8]) -> Outcome {
    let act = disconnect(body)?;
    let found = api
        .node
        .relay()
        .sockets(&api.node, Target::socket(id))
        .await;
    if !found.value.iter().any(|socket| *socket.id == *id) {
        return Err(Refusal::not_found("there is no such socket"));
    }
    carry_out(api, Target::socket(id), act).await
}

/// Disconnects all sockets of a user.
pub(super) async fn disconnect_user(api: &Api, user: &str, body: &[u8]) -> Outcome {
    carry_out(api, Target::user(user), disconnect(body)?).await
}

/// Puts sockets into a room.
pub(super) async fn join(api: &Api, room: &str, body: &[u8]) -> Outcome {
    if room.len() > MAX_ROOM {
        return Err(Refusal::params(format!(
            "a room's name has 1 to {MAX_ROOM} bytes"
        )));
    }
    carry_out(api, members(body)?, Act::Join(vec![room.to_owned()])).await
}

/// Takes sockets out of a room.
pub(super) async fn leave(api: &Api, room: &str, body: &[u8]) -> Outcome {
    carry_out(api, members(body)?, Act::Leave(vec![room.to_owned()])).await
}

async fn carry_out(api: &Api, target: Target, act: Act) -> Outcome {
    let done = api.node.relay().act(&api.node, target, act).await;
    let body = json!({ "sockets": done.value });
    Ok(Answer::accepted(&with_silent(body, &done.silent)))
}

fn disconnect(body: &[u8]) -> Result<Act, Refusal> {
    let fields = Fields::parse_optional(body, &["close"])?;
    Ok(Act::Disconnect {
        close: fields.flag("close")?,
    })
}

fn members(body: &[u8]) -> Result<Target, Refusal> {
    let fields = Fields::parse(body, &["users", "sockets", "rooms", "namespace"])?;
    if !MEMBERS.iter().any(|name| fields.has(name)) {
        let message = format!("at least one of {} must be given", quoted(&MEMBERS));
        return Err(Refusal::params(message));
    }
    let list = |name| Ok::<_, Refusal>(fields.texts(name, MAX_TARGETS)?.unwrap_or_default());
    let mut rooms = list("sockets")?;
    rooms.extend(list("rooms")?);
    Ok(Target {
        namespace: Some(fields.text("namespace")?.unwrap_or_else(|| "/".to_owned())),
        rooms,
        users: list("users")?,
        ..Target::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_named() {
        let target = members(br#"{"users":["a"],"sockets":["s"],"rooms":["r"]}"#).unwrap();
        assert_eq!(
            (target.users, target.rooms),
            (vec!["a".into()], vec!["s".into(), "r".into()])
        );
        assert_eq!(target.namespace.as_deref(), Some("/"));
        assert!(!target.everybody);
        for (body, message) in [
            (
                "{}",
                "at least one of `users`, `sockets`, `rooms` must be given",
            ),
            (
                r#"{"users":[]}"#,
                "`users` has 0 items; it must have 1 to 1000",
            ),
            (
                r#"{"users":"a"}"#,
                "`users` is a string; it must be a list of strings",
            ),
            (
                r#"{"user":"a"}"#,
                "there is no field `user`; known are `users`, `sockets`, `rooms`, `namespace`",
            ),
        ] {
            assert_eq!(members(body.as_bytes()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_disconnect_needs_no_body() {
        for (body, closes) in [("", false), ("{}", false), (r#"{"close":true}"#, true)] {
            let act = disconnect(body.as_bytes()).unwrap();
            assert!(
                matches!(act, Act::Disconnect { close } if close == closes),
                "{body}"
            );
        }
        let refusal = disconnect(br#"{"close":1}"#).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "`close` is a number; it must be true or false"
        );
    }
}
