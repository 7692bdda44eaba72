//! PURE: what shards tell while somebody looks, and the events that it becomes.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::view::{Seen, time};
use crate::{
    event::{Emit, Event},
    protocol::socket,
    shard::machine::{Reason, Transport},
};

/// Bytes of an event's contents that are shown; of a longer one only its length is.
const MAX_SHOWN: usize = 4 << 10;

/// The same of an event's name.
const MAX_NAME: usize = 256;

/// Something that has happened on a shard.
#[derive(Debug)]
pub(crate) struct Note {
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) what: What,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum What {
    /// A socket is in.
    Connected(Box<Seen>),
    /// Its connection goes on by another transport.
    Moved {
        namespace: Arc<str>,
        id: Arc<str>,
        transport: Transport,
    },
    /// It is gone, and out of its rooms.
    Gone {
        namespace: Arc<str>,
        id: Arc<str>,
        rooms: Vec<Arc<str>>,
        reason: Reason,
    },
    /// It is in one more room.
    Joined {
        namespace: Arc<str>,
        id: Arc<str>,
        room: Arc<str>,
    },
    /// It is in one room less.
    Left {
        namespace: Arc<str>,
        id: Arc<str>,
        room: Arc<str>,
    },
    /// It sent an event.
    Received {
        namespace: Arc<str>,
        id: Arc<str>,
        /// Name and arguments, a JSON array.
        data: String,
    },
    /// Sockets were sent an emit.
    Sent {
        namespace: Arc<str>,
        ids: Vec<Arc<str>>,
        emit: Arc<Emit>,
    },
    /// A handler sent a socket an event of its own.
    Answered {
        namespace: Arc<str>,
        id: Arc<str>,
        /// Name and arguments, a JSON array.
        data: String,
    },
}

impl Note {
    /// What the page is told, in order.
    pub(super) fn events(self) -> Vec<Event> {
        let at = time(self.at_ms);
        match self.what {
            What::Connected(seen) => vec![
                // The reference joins a socket to its own room before it is connected.
                event("room_joined", &(&seen.namespace, &seen.id, &seen.id, &at)),
                event("socket_connected", &(seen.json(), &at)),
            ],
            What::Moved {
                namespace,
                id,
                transport,
            } => {
                let moved = json!({ "id": id, "nsp": namespace, "transport": transport });
                vec![event("socket_updated", &(moved,))]
            }
            What::Gone {
                namespace,
                id,
                rooms,
                reason,
            } => {
                let rooms = rooms.iter().chain([&id]);
                // The page takes nobody out of a room by itself.
                let left = rooms.map(|room| event("room_left", &(&namespace, room, &id, &at)));
                let gone = (&namespace, &id, reason.name(), &at);
                left.chain([event("socket_disconnected", &gone)]).collect()
            }
            What::Joined {
                namespace,
                id,
                room,
            } => vec![event("room_joined", &(namespace, room, id, at))],
            What::Left {
                namespace,
                id,
                room,
            } => vec![event("room_left", &(namespace, room, id, at))],
            What::Received {
                namespace,
                id,
                data,
            } => vec![event("event_received", &(namespace, id, raw(data), at))],
            What::Answered {
                namespace,
                id,
                data,
            } => vec![event("event_sent", &(namespace, id, raw(data), at))],
            What::Sent {
                namespace,
                ids,
                emit,
            } => {
                let Some(sent) = emit.body.event() else {
                    return Vec::new();
                };
                let data = raw(shown_event(&sent));
                let to = |id| event("event_sent", &(&namespace, id, &data, &at));
                ids.iter().map(to).collect()
            }
        }
    }
}

/// An event with these arguments: a tuple.
pub(super) fn event(name: &str, args: &impl Serialize) -> Event {
    let args = serde_json::to_string(args).unwrap_or_default();
    let args = socket::args(&args).unwrap_or_default();
    Event {
        name: name.to_owned(),
        args: args.into_iter().map(ToOwned::to_owned).collect(),
        attachments: Vec::new(),
    }
}

/// The array of an event from a client, as much of it as is shown.
pub(crate) fn shown_data(data: &str) -> String {
    if data.len() <= MAX_SHOWN {
        return data.to_owned();
    }
    let name = socket::event(data).map(|event| event.name.into_owned());
    too_long(&name.unwrap_or_default(), data.len())
}

/// The array of an event, as much of it as is shown.
pub(crate) fn shown_event(event: &Event) -> String {
    let args = event.args.iter().map(|arg| arg.get().len());
    let len = event.name.len() + args.sum::<usize>();
    if len > MAX_SHOWN {
        return too_long(&event.name, len);
    }
    let mut data = json!([event.name]).to_string();
    data.pop();
    for arg in &event.args {
        data.push(',');
        data.push_str(arg.get());
    }
    data.push(']');
    data
}

fn too_long(name: &str, len: usize) -> String {
    let name = match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    json!([name, format!("({len} bytes, not shown)")]).to_string()
}

fn raw(data: String) -> Box<RawValue> {
    RawValue::from_string(data).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: What) -> Vec<String> {
        let events = Note { at_ms: 0, what }.events();
        let events = events.iter();
        events
            .map(|event| {
                assert!(event.attachments.is_empty());
                shown_event(event)
            })
            .collect()
    }

    #[test]
    fn a_socket_that_is_gone_has_left_its_rooms_before() {
        let gone = What::Gone {
            namespace: "/".into(),
            id: "s".into(),
            rooms: vec!["r".into()],
            reason: Reason::TransportClose,
        };
        let at = "\"1970-01-01T00:00:00.000Z\"";
        assert_eq!(
            told(gone),
            [
                format!(r#"["room_left","/","r","s",{at}]"#),
                format!(r#"["room_left","/","s","s",{at}]"#),
                format!(r#"["socket_disconnected","/","s","transport close",{at}]"#),
            ]
        );
    }

    #[test]
    fn contents_stand_as_they_were_written_unless_they_are_long() {
        let received = |data: &str| {
            told(What::Received {
                namespace: "/".into(),
                id: "s".into(),
                data: shown_data(data),
            })
        };
        let short = received(r#"["e", 1.50 ,{"_placeholder":true,"num":0}]"#);
        assert!(short[0].contains(r#"["e", 1.50 ,{"_pl"#), "{short:?}");
        let long = received(&format!(r#"["é\n","{}"]"#, "x".repeat(MAX_SHOWN)));
        let said = format!("({} bytes, not shown)", MAX_SHOWN + 11);
        assert!(
            long[0].contains(&said) && long[0].contains(r"é\n"),
            "{long:?}"
        );
        let name = received(&format!(r#"["{}"]"#, "n".repeat(MAX_SHOWN)));
        assert!(name[0].len() < 2 * MAX_NAME, "{name:?}");
        let event = Event {
            name: "é".repeat(MAX_SHOWN),
            ..event("", &())
        };
        assert!(shown_event(&event).len() < 3 * MAX_NAME);
    }
}
