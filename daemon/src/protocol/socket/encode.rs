//! Socket.IO packets on their way to clients, ready as frames.
//!
//! Arguments and data are raw JSON: the caller's word is taken that they are valid, one value each,
//! and that placeholders in them count up to the number of attachments.

use bytes::Bytes;

use super::super::frame::Frame;
use super::super::json;

/// Grants a place in a namespace under the socket id `sid`; `pid` is the secret that lets the
/// client recover the connection, where that is on offer.
pub fn connect(namespace: &str, sid: &str, pid: Option<&str>) -> Frame {
    let (namespace, comma) = target(namespace);
    let sid = json::quote(sid);
    match pid.map(json::quote) {
        None => Frame::from_parts(&["40", namespace, comma, "{\"sid\":", &sid, "}"]),
        Some(pid) => Frame::from_parts(&[
            "40",
            namespace,
            comma,
            "{\"sid\":",
            &sid,
            ",\"pid\":",
            &pid,
            "}",
        ]),
    }
}

/// Refuses a place in a namespace for good: the client will not try again by itself. `data` is raw
/// JSON.
pub fn connect_error(namespace: &str, message: &str, data: Option<&str>) -> Frame {
    let (namespace, comma) = target(namespace);
    let message = json::quote(message);
    let (key, data) = data.map_or(("", ""), |data| (",\"data\":", data));
    Frame::from_parts(&[
        "44",
        namespace,
        comma,
        "{\"message\":",
        &message,
        key,
        data,
        "}",
    ])
}

/// Takes a client out of a namespace; it will not come back by itself.
pub fn disconnect(namespace: &str) -> Frame {
    let (namespace, comma) = target(namespace);
    Frame::from_parts(&["41", namespace, comma])
}

/// An event: a text frame, then one binary frame per attachment. `trailer` is one more argument.
///
/// Clients refuse more than [`MAX_ATTACHMENTS`](super::MAX_ATTACHMENTS).
pub fn encode_event(
    namespace: &str,
    id: Option<u64>,
    name: &str,
    args: &[&str],
    trailer: Option<&str>,
    attachments: &[Bytes],
) -> Vec<Frame> {
    EventTemplate::with_id(namespace, id, name, args, attachments).frames(trailer)
}

/// The answer to the event that asked for acknowledgement `id`, framed like an event.
pub fn encode_ack(namespace: &str, id: u64, args: &[&str], attachments: &[Bytes]) -> Vec<Frame> {
    let start = head(['3', '6'], namespace, Some(id), attachments.len());
    with_attachments(
        Frame::from_parts(&[&start, "[", &args.join(","), "]"]),
        &binary(attachments),
    )
}

/// An event encoded up to its last argument, for those that differ in nothing else.
///
/// A recoverable event ends, for each socket, in that socket's own offset. The rest is encoded
/// once; [`EventTemplate::frames`] only puts texts side by side, and attachments are shared.
#[derive(Clone, Debug)]
pub struct EventTemplate {
    /// All of the text packet up to where a comma and the trailer, or the bracket, belong.
    start: String,
    /// One binary frame per attachment.
    attachments: Vec<Frame>,
    ends_in_string: bool,
}

impl EventTemplate {
    /// Encodes an event without an id, as [`encode_event`] does.
    pub fn new(namespace: &str, name: &str, args: &[&str], attachments: &[Bytes]) -> Self {
        Self::with_id(namespace, None, name, args, attachments)
    }

    fn with_id(
        namespace: &str,
        id: Option<u64>,
        name: &str,
        args: &[&str],
        attachments: &[Bytes],
    ) -> Self {
        let mut start = head(['2', '5'], namespace, id, attachments.len());
        start.push('[');
        start.push_str(&json::quote(name));
        for arg in args {
            start.push(',');
            start.push_str(arg);
        }
        Self {
            start,
            attachments: binary(attachments),
            ends_in_string: args
                .last()
                .is_none_or(|arg| json::trim(arg).starts_with('"')),
        }
    }

    /// The event with `trailer` (raw JSON) as its last argument, or as it is.
    pub fn frames(&self, trailer: Option<&str>) -> Vec<Frame> {
        let (comma, trailer) = trailer.map_or(("", ""), |trailer| (",", trailer));
        let text = Frame::from_parts(&[&self.start, comma, trailer, "]"]);
        [text]
            .into_iter()
            .chain(self.attachments.iter().cloned())
            .collect()
    }

    /// Whether the last item, the name if there is no argument, is a string: a client that was
    /// given a pid would keep it as its offset.
    pub fn ends_in_string(&self) -> bool {
        self.ends_in_string
    }
}

/// A namespace as it stands in a packet, and what follows it; nothing for the main one.
fn target(namespace: &str) -> (&str, &str) {
    match namespace {
        "/" => ("", ""),
        other => (other, ","),
    }
}

/// All that comes before the JSON. `kinds` are the types without and with attachments.
fn head(kinds: [char; 2], namespace: &str, id: Option<u64>, attachments: usize) -> String {
    let (namespace, comma) = target(namespace);
    let (kind, count) = match attachments {
        0 => (kinds[0], String::new()),
        count => (kinds[1], format!("{count}-")),
    };
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    format!("4{kind}{count}{namespace}{comma}{id}")
}

fn binary(attachments: &[Bytes]) -> Vec<Frame> {
    attachments
        .iter()
        .map(|bytes| Frame::binary(bytes))
        .collect()
}

fn with_attachments(text: Frame, attachments: &[Frame]) -> Vec<Frame> {
    [text]
        .into_iter()
        .chain(attachments.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::super::super::arbitrary;
    use super::super::{Kind, Packet, args, decode, event};
    use super::*;

    const ONE: &str = r#"{"_placeholder":true,"num":0}"#;
    const TWO: &str = r#"{"_placeholder":true,"num":1}"#;

    fn two_attachments() -> [Bytes; 2] {
        [
            Bytes::from_static(&[1, 2, 3]),
            Bytes::from_static(&[4, 5, 6]),
        ]
    }

    #[test]
    fn connect_is_exact() {
        assert_eq!(connect("/", "abc", None), Frame::text(r#"40{"sid":"abc"}"#));
        assert_eq!(
            connect("/custom", "abc", None),
            Frame::text(r#"40/custom,{"sid":"abc"}"#)
        );
        let recoverable = connect("/", "abc", Some("def"));
        assert_eq!(recoverable, Frame::text(r#"40{"sid":"abc","pid":"def"}"#));
    }

    #[test]
    fn connect_error_is_exact() {
        assert_eq!(
            connect_error("/random", "Invalid namespace", None),
            Frame::text(r#"44/random,{"message":"Invalid namespace"}"#)
        );
        assert_eq!(
            connect_error("/", "say \"who\"", Some(r#"{"code":"unknown_session"}"#)),
            Frame::text(r#"44{"message":"say \"who\"","data":{"code":"unknown_session"}}"#)
        );
    }

    #[test]
    fn disconnect_is_exact() {
        assert_eq!(disconnect("/"), Frame::text("41"));
        assert_eq!(disconnect("/admin"), Frame::text("41/admin,"));
    }

    #[test]
    fn events_are_exact() {
        let args = ["1", "\"2\"", r#"{"3":[true]}"#];
        assert_eq!(
            encode_event("/", None, "message-back", &args, None, &[]),
            [Frame::text(r#"42["message-back",1,"2",{"3":[true]}]"#)]
        );
        assert_eq!(
            encode_event("/custom", Some(7), "auth", &["{}"], Some("\"offset\""), &[]),
            [Frame::text(r#"42/custom,7["auth",{},"offset"]"#)]
        );
        assert_eq!(
            encode_event("/", None, "\n", &[], None, &[]),
            [Frame::text(r#"42["\n"]"#)]
        );
    }

    #[test]
    fn binary_events_are_exact() {
        assert_eq!(
            encode_event(
                "/",
                None,
                "message-back",
                &[ONE, TWO],
                None,
                &two_attachments()
            ),
            [
                Frame::text(&format!(r#"452-["message-back",{ONE},{TWO}]"#)),
                Frame::binary(&[1, 2, 3]),
                Frame::binary(&[4, 5, 6]),
            ]
        );
    }

    #[test]
    fn acks_are_exact() {
        let args = ["1", "\"2\"", r#"{"3":[false]}"#];
        assert_eq!(
            encode_ack("/", 456, &args, &[]),
            [Frame::text(r#"43456[1,"2",{"3":[false]}]"#)]
        );
        assert_eq!(
            encode_ack("/admin", 13, &[], &[]),
            [Frame::text("43/admin,13[]")]
        );
        assert_eq!(
            encode_ack("/", 789, &[ONE, TWO], &two_attachments()),
            [
                Frame::text(&format!("462-789[{ONE},{TWO}]")),
                Frame::binary(&[1, 2, 3]),
                Frame::binary(&[4, 5, 6]),
            ]
        );
    }

    #[test]
    fn a_template_differs_in_its_trailer_only() {
        let template = EventTemplate::new("/", "trade", &[ONE, TWO], &two_attachments());
        let bare = template.frames(None);
        let trailed = template.frames(Some("\"7\""));
        assert_eq!(
            bare[0],
            Frame::text(&format!(r#"452-["trade",{ONE},{TWO}]"#))
        );
        assert_eq!(
            trailed[0],
            Frame::text(&format!(r#"452-["trade",{ONE},{TWO},"7"]"#))
        );
        assert_eq!(bare[1].ws().as_ptr(), trailed[1].ws().as_ptr());
        assert_eq!(bare[1..], trailed[1..]);
    }

    #[test]
    fn a_template_knows_what_it_ends_in() {
        let ends_in_string = |args| EventTemplate::new("/", "x", args, &[]).ends_in_string();
        assert!(ends_in_string(&[]));
        assert!(ends_in_string(&["1", "\"s\""]));
        assert!(ends_in_string(&[" \n\"s\" "]));
        assert!(!ends_in_string(&["\"s\"", "null"]));
        assert!(!ends_in_string(&["[\"s\"]"]));
    }

    fn namespace() -> impl Strategy<Value = String> {
        prop_oneof![Just("/".to_owned()), "/[a-z0-9?:.€-]{1,8}"]
    }

    fn texts(raw: &[&RawValue]) -> Vec<String> {
        raw.iter().map(|value| value.get().to_owned()).collect()
    }

    fn payload(frame: &Frame) -> &str {
        std::str::from_utf8(frame.payload()).unwrap()
    }

    prop_compose! {
        fn raw_args()(values in prop::collection::vec(arbitrary::json(), 0..5)) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
    }

    proptest! {
        #[test]
        fn events_survive(
            namespace in namespace(),
            id in prop::option::of(0..=super::super::MAX_ID),
            name: String,
            raw in raw_args(),
            trailer in prop::option::of(arbitrary::json()),
            attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4),
        ) {
            prop_assume!(!super::super::RESERVED_NAMES.contains(&name.as_str()));
            let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
            let trailer = trailer.map(|trailer| trailer.to_string());
            let args: Vec<&str> = raw.iter().map(String::as_str).collect();
            let frames =
                encode_event(&namespace, id, &name, &args, trailer.as_deref(), &attachments);

            prop_assert!(!frames[0].payload().contains(&0x1e));
            let packet = decode(&payload(&frames[0])[1..]).unwrap();
            let kind = if attachments.is_empty() { Kind::Event } else { Kind::BinaryEvent };
            let count = attachments.len();
            let Packet { data, .. } = packet;
            let namespace = namespace.as_str();
            prop_assert_eq!(packet, Packet { kind, namespace, id, attachments: count, data });

            let event = event(data.unwrap()).unwrap();
            prop_assert_eq!(event.name, name);
            let sent: Vec<String> = raw.iter().cloned().chain(trailer).collect();
            prop_assert_eq!(texts(&event.args), sent);
            let carried: Vec<&[u8]> = frames[1..].iter().map(Frame::payload).collect();
            prop_assert_eq!(carried, attachments);
        }

        #[test]
        fn acks_survive(
            namespace in namespace(),
            id in 0..=super::super::MAX_ID,
            raw in raw_args(),
        ) {
            let list: Vec<&str> = raw.iter().map(String::as_str).collect();
            let frames = encode_ack(&namespace, id, &list, &[]);
            prop_assert_eq!(frames.len(), 1);
            prop_assert!(!frames[0].payload().contains(&0x1e));
            let packet = decode(&payload(&frames[0])[1..]).unwrap();
            prop_assert_eq!(packet.kind, Kind::Ack);
            prop_assert_eq!(packet.namespace, namespace);
            prop_assert_eq!(packet.id, Some(id));
            prop_assert_eq!(texts(&args(packet.data.unwrap()).unwrap()), raw);
        }

        #[test]
        fn grants_and_refusals_are_json_on_one_record(text: String, data in arbitrary::json()) {
            let data = data.to_string();
            for frame in [
                connect("/n", &text, Some(&text)),
                connect_error("/n", &text, Some(&data)),
            ] {
                let (head, json) = payload(&frame).split_once(',').unwrap();
                prop_assert!(head == "40/n" || head == "44/n");
                prop_assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
                prop_assert!(!json.contains('\x1e'));
            }
        }
    }
}
