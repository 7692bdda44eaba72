//! An event on its way: what a backend or a client asked for, and what the shards deliver.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::{
    protocol::{
        engine,
        frame::Frame,
        socket::{self, EventTemplate},
    },
    recovery::{cursor::Cursor, slot::Offset},
    shard::rooms::{EVERYBODY, NamespaceId},
};

/// What a room promises to its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomClass {
    /// At most once, in order, while connected.
    Live,
    /// The newest value, at most one per interval.
    Conflated(Duration),
    /// Every event, also those missed while away for less than the window.
    Recoverable,
}

/// An event as it was asked for: name, arguments, attachments.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's name.
    pub name: String,
    /// Its arguments, each a JSON text.
    pub args: Vec<Box<RawValue>>,
    /// The bytes that placeholders in the arguments stand for.
    pub attachments: Vec<Bytes>,
}

/// An event and where it shall go.
#[derive(Clone, Debug)]
pub struct EmitRequest {
    /// The namespace's name.
    pub namespace: String,
    /// The rooms; empty means everybody in the namespace.
    pub rooms: Vec<String>,
    /// Members of these rooms are left out. A socket's id is a room, too.
    pub except: Vec<String>,
    /// The event.
    pub event: Event,
    /// Whether it may be dropped for a client that cannot take it now.
    pub volatile: bool,
    /// The caller's idempotency key.
    pub id: Option<String>,
    /// Whether it is for this node's clients only.
    pub local: bool,
}

/// How the shards treat an emit.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    Live,
    Volatile,
    /// The newest per room; `stamp` orders the node's values of that room.
    Conflated {
        stamp: u64,
        interval: Duration,
        /// Names the value in an outbox, so that a newer one replaces it.
        key: u64,
    },
    /// A committed entry of a recoverable room.
    Recoverable {
        /// Where it stands in the history.
        offset: Offset,
    },
    /// Each member's acknowledgement is collected.
    Acknowledged(Arc<AckCall>),
}

/// An emit that waits for acknowledgements.
#[derive(Debug)]
pub(crate) struct AckCall {
    /// The packet id, the same for all receivers.
    pub(crate) id: u64,
    /// Where shards report receivers and answers.
    pub(crate) reports: mpsc::UnboundedSender<AckReport>,
}

/// What a shard tells the collector of an [`AckCall`].
#[derive(Debug)]
pub(crate) enum AckReport {
    /// The shard has sent it to these sockets.
    Sent(Vec<Arc<str>>),
    /// A socket answered with this JSON array and its attachments.
    Answer {
        socket: Arc<str>,
        data: String,
        attachments: Vec<Bytes>,
    },
    /// A socket left without an answer.
    Gone { socket: Arc<str> },
}

/// An emit as shards get it.
#[derive(Debug)]
pub(crate) struct Emit {
    pub(crate) namespace: NamespaceId,
    /// At least one; [`EVERYBODY`] for a broadcast.
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) except: Vec<Arc<str>>,
    pub(crate) body: Body,
    pub(crate) delivery: Delivery,
}

/// An event encoded once for all its receivers.
#[derive(Debug)]
pub(crate) struct Body {
    /// When this node began to send it.
    since: Instant,
    template: EventTemplate,
    plain: Vec<Frame>,
    /// For clients with a `pid` when the event ends in a string: such a client takes any last
    /// string for its offset, so a `null` follows.
    guarded: Option<Vec<Frame>>,
    /// With the single-slot cursor of a recoverable entry.
    marked: Option<Vec<Frame>>,
}

impl Body {
    /// Encodes an event without acknowledgement.
    pub(crate) fn new(namespace: &str, event: &Event, offset: Option<Offset>) -> Self {
        let args: Vec<&str> = event.args.iter().map(|arg| arg.get()).collect();
        let template = EventTemplate::new(namespace, &event.name, &args, &event.attachments);
        let guarded = template
            .ends_in_string()
            .then(|| template.frames(Some("null")));
        let marked = offset.map(|offset| template.frames(Some(&trailer(&offset.encode()))));
        Self {
            since: Instant::now(),
            plain: template.frames(None),
            guarded,
            marked,
            template,
        }
    }

    /// Encodes an event that asks for an acknowledgement. Its last argument at the client is the
    /// function, so that no string can be taken for an offset.
    pub(crate) fn with_ack(namespace: &str, event: &Event, id: u64) -> Self {
        let args: Vec<&str> = event.args.iter().map(|arg| arg.get()).collect();
        let plain = socket::encode_event(
            namespace,
            Some(id),
            &event.name,
            &args,
            None,
            &event.attachments,
        );
        let template = EventTemplate::new(namespace, &event.name, &args, &event.attachments);
        Self {
            since: Instant::now(),
            template,
            plain,
            guarded: None,
            marked: None,
        }
    }

    /// Whether this is what is sent for an event.
    pub(crate) fn carries(&self, event: &Event) -> bool {
        let known = self.event();
        known.is_some_and(|known| known.to_bytes() == event.to_bytes())
    }

    /// The event itself again, for another node.
    pub(crate) fn event(&self) -> Option<Event> {
        let (text, attachments) = self.plain.split_first()?;
        let text = std::str::from_utf8(text.payload()).ok()?;
        let Ok(engine::Packet::Message(text)) = engine::decode_text(text) else {
            return None;
        };
        let packet = socket::decode(text).ok()?;
        let event = socket::event(packet.data?).ok()?;
        let attachments = attachments.iter();
        Some(Event {
            name: event.name.into_owned(),
            args: event.args.into_iter().map(ToOwned::to_owned).collect(),
            attachments: attachments
                .map(|frame| Bytes::copy_from_slice(frame.payload()))
                .collect(),
        })
    }

    /// When this node began to send it: a recoverable event once it is committed.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// The frames for a client without a `pid`.
    pub(crate) fn plain(&self) -> &[Frame] {
        &self.plain
    }

    /// The frames of a live event for a client with a `pid`.
    pub(crate) fn guarded(&self) -> &[Frame] {
        self.guarded.as_deref().unwrap_or(&self.plain)
    }

    /// Whether clients with a `pid` get other frames than those without.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.is_some()
    }

    /// The frames with the cursor of just this entry.
    pub(crate) fn marked(&self) -> Option<&[Frame]> {
        self.marked.as_deref()
    }

    /// The frames with any cursor.
    pub(crate) fn with_cursor(&self, cursor: &Cursor) -> Vec<Frame> {
        self.template.frames(Some(&trailer(&cursor.encode())))
    }
}

/// A cursor's text as a JSON argument; it needs no escapes.
fn trailer(cursor: &str) -> String {
    format!("\"{cursor}\"")
}

/// Room names as shards get them.
pub(crate) fn room_names(rooms: &[String]) -> Vec<Arc<str>> {
    if rooms.is_empty() {
        return vec![Arc::from(EVERYBODY)];
    }
    let mut names: Vec<Arc<str>> = Vec::with_capacity(rooms.len());
    for room in rooms {
        if !names.iter().any(|name| **name == **room) {
            names.push(Arc::from(room.as_str()));
        }
    }
    names
}

/// The version of the stored form of an event.
const STORED_VERSION: u8 = 1;

/// A stored event could not be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored event is damaged: {0}")]
pub struct DamagedEvent(&'static str);

impl Event {
    /// The form in which history keeps an event: a version byte, then name, arguments and
    /// attachments, each list with its count and each item with its length (32 bits, big-endian).
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes.into()
    }

    /// Writes that form behind what there is.
    pub(crate) fn put(&self, bytes: &mut impl BufMut) {
        bytes.put_u8(STORED_VERSION);
        put_list(bytes, std::iter::once(self.name.as_bytes()));
        put_list(bytes, self.args.iter().map(|arg| arg.get().as_bytes()));
        let attachments = self.attachments.iter();
        put_list(bytes, attachments.map(|attachment| &attachment[..]));
    }

    /// Reads what [`Event::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self, DamagedEvent> {
        let mut rest = bytes.clone();
        if rest.is_empty() || rest.split_to(1)[0] != STORED_VERSION {
            return Err(DamagedEvent("unknown version"));
        }
        let text = |item: Bytes| {
            String::from_utf8(item.into()).map_err(|_| DamagedEvent("text is not UTF-8"))
        };
        let name = take_list(&mut rest)?
            .into_iter()
            .next()
            .ok_or(DamagedEvent("no name"))?;
        let args = take_list(&mut rest)?.into_iter().map(|item| {
            RawValue::from_string(text(item)?).map_err(|_| DamagedEvent("an argument is no JSON"))
        });
        let args = args.collect::<Result<_, _>>()?;
        Ok(Self {
            name: text(name)?,
            args,
            attachments: take_list(&mut rest)?,
        })
    }
}

/// Writes a list: its count, and each item behind its length (32 bits, big-endian).
pub(crate) fn put_list<'a>(
    bytes: &mut impl BufMut,
    items: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    bytes.put_u32(items.len() as u32);
    for item in items {
        bytes.put_u32(item.len() as u32);
        bytes.put_slice(item);
    }
}

/// Reads what [`put_list`] wrote; the items share its memory.
pub(crate) fn take_list(rest: &mut Bytes) -> Result<Vec<Bytes>, DamagedEvent> {
    let count = take_u32(rest)?;
    let mut items = Vec::new();
    for _ in 0..count {
        let len = take_u32(rest)? as usize;
        if rest.len() < len {
            return Err(DamagedEvent("cut short"));
        }
        items.push(rest.split_to(len));
    }
    Ok(items)
}

fn take_u32(rest: &mut Bytes) -> Result<u32, DamagedEvent> {
    let bytes = rest.get(..4).ok_or(DamagedEvent("cut short"))?;
    let number = u32::from_be_bytes(bytes.try_into().expect("four bytes were taken"));
    let _ = rest.split_to(4);
    Ok(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn stored_events_come_back(
            name in ".{0,20}",
            args in proptest::collection::vec(any::<i64>(), 0..4),
            attachments in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..20), 0..3),
        ) {
            let event = Event {
                name,
                args: args
                    .iter()
                    .map(|arg| RawValue::from_string(arg.to_string()).unwrap())
                    .collect(),
                attachments: attachments.into_iter().map(Bytes::from).collect(),
            };
            let back = Event::from_bytes(&event.to_bytes()).unwrap();
            prop_assert_eq!(format!("{event:?}"), format!("{back:?}"));
        }

        #[test]
        fn an_encoded_event_can_be_had_again(
            name in "[a-z\"é]{1,9}",
            args in proptest::collection::vec(".{0,9}", 0..3),
            attachment in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let args = args.iter().map(|arg| serde_json::value::to_raw_value(arg).unwrap());
            let mut args: Vec<_> = args.collect();
            args.push(RawValue::from_string(r#"{"_placeholder":true,"num":0}"#.into()).unwrap());
            let event = Event { name, args, attachments: vec![attachment.into()] };
            let body = Body::new("/x", &event, None);
            prop_assert_eq!(format!("{:?}", body.event().unwrap()), format!("{event:?}"));
        }

        #[test]
        fn damaged_events_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Event::from_bytes(&bytes.into());
        }
    }
}
