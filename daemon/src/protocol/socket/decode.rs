//! The text of a message taken apart into its packet.

use super::super::DecodeError;
use super::super::json::{self, Tokens};
use super::event::event_name;
use super::{MAX_ATTACHMENTS, MAX_ID};

/// What a packet is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Asks for, or grants, a place in a namespace.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// Carries an event.
    Event,
    /// Answers an event.
    Ack,
    /// Refuses a place in a namespace.
    ConnectError,
    /// An event whose attachments follow.
    BinaryEvent,
    /// An answer whose attachments follow.
    BinaryAck,
}

impl Kind {
    /// Whether binary packets follow this one.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// One Socket.IO packet from a client, its payload still as written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// What the packet is for.
    pub kind: Kind,
    /// Where it belongs; `/` if the client named none.
    pub namespace: &'a str,
    /// Which acknowledgement it asks for, or is.
    pub id: Option<u64>,
    /// How many binary packets complete it: at least one for a binary kind, else none.
    pub attachments: usize,
    /// The JSON, checked for syntax and for the shape that the kind demands.
    pub data: Option<&'a str>,
}

/// Reads the text of one message: what follows the `4` of Engine.IO.
///
/// # Errors
///
/// Whatever the text violates; see [`DecodeError`]. Placeholders are not looked at: that is
/// [`check_placeholders`](super::check_placeholders).
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let (kind, rest) = split_kind(text)?;
    let (attachments, rest) = if kind.is_binary() {
        split_count(rest)?
    } else {
        (0, rest)
    };
    let (namespace, rest) = split_namespace(rest)?;
    let (id, rest) = split_id(rest)?;
    let data = (!rest.is_empty()).then(|| json::trim(rest));
    check_shape(kind, id, data)?;
    Ok(Packet {
        kind,
        namespace,
        id,
        attachments,
        data,
    })
}

fn split_kind(text: &str) -> Result<(Kind, &str), DecodeError> {
    let mut chars = text.chars();
    let kind = match chars.next().ok_or(DecodeError::Empty)? {
        '0' => Kind::Connect,
        '1' => Kind::Disconnect,
        '2' => Kind::Event,
        '3' => Kind::Ack,
        '4' => Kind::ConnectError,
        '5' => Kind::BinaryEvent,
        '6' => Kind::BinaryAck,
        _ => return Err(DecodeError::SocketType),
    };
    Ok((kind, chars.as_str()))
}

fn split_count(text: &str) -> Result<(usize, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    if digits.trim_start_matches('0').is_empty() {
        return Err(DecodeError::AttachmentCount);
    }
    match digits.parse() {
        Ok(count) if count <= MAX_ATTACHMENTS => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

fn split_namespace(text: &str) -> Result<(&str, &str), DecodeError> {
    if !text.starts_with('/') {
        return Ok(("/", text));
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    if namespace.contains(char::is_control) {
        return Err(DecodeError::Namespace);
    }
    Ok((namespace, rest))
}

fn split_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    match split_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => match digits.parse() {
            Ok(id) if id <= MAX_ID => Ok((Some(id), rest)),
            _ => Err(DecodeError::Id),
        },
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn check_shape(kind: Kind, id: Option<u64>, data: Option<&str>) -> Result<(), DecodeError> {
    match (kind, data) {
        (Kind::Connect, None) | (Kind::Disconnect, None) => Ok(()),
        (Kind::Connect, Some(data)) => check_container(data, '{', DecodeError::ConnectData),
        (Kind::Disconnect, Some(_)) => Err(DecodeError::DisconnectData),
        (Kind::ConnectError, _) => Err(DecodeError::ConnectError),
        (Kind::Event | Kind::BinaryEvent, data) => {
            let data = data.ok_or(DecodeError::EventData)?;
            check_container(data, '[', DecodeError::EventData)?;
            event_name(Tokens::new(data).nth(1)).map(drop)
        }
        (Kind::Ack | Kind::BinaryAck, data) => {
            check_container(data.ok_or(DecodeError::AckData)?, '[', DecodeError::AckData)?;
            id.map(drop).ok_or(DecodeError::MissingId)
        }
    }
}

fn check_container(data: &str, opening: char, otherwise: DecodeError) -> Result<(), DecodeError> {
    json::check(data)?;
    if data.starts_with(opening) {
        Ok(())
    } else {
        Err(otherwise)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::{MAX_DEPTH, arbitrary};
    use super::super::{RESERVED_NAMES, args, event};
    use super::*;

    fn packet<'a>(
        kind: Kind,
        namespace: &'a str,
        id: Option<u64>,
        attachments: usize,
        data: Option<&'a str>,
    ) -> Packet<'a> {
        Packet {
            kind,
            namespace,
            id,
            attachments,
            data,
        }
    }

    #[test]
    fn reads_what_clients_send() {
        let binary = r#"["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        let rows = [
            ("0", packet(Kind::Connect, "/", None, 0, None)),
            (
                r#"0{"token":"123"}"#,
                packet(Kind::Connect, "/", None, 0, Some(r#"{"token":"123"}"#)),
            ),
            ("0/custom,", packet(Kind::Connect, "/custom", None, 0, None)),
            (
                "0/custom,{}",
                packet(Kind::Connect, "/custom", None, 0, Some("{}")),
            ),
            ("0/random", packet(Kind::Connect, "/random", None, 0, None)),
            ("0/", packet(Kind::Connect, "/", None, 0, None)),
            (
                "0/a?token=b,",
                packet(Kind::Connect, "/a?token=b", None, 0, None),
            ),
            ("1", packet(Kind::Disconnect, "/", None, 0, None)),
            (
                "1/custom,",
                packet(Kind::Disconnect, "/custom", None, 0, None),
            ),
            (
                r#"2["a",1]"#,
                packet(Kind::Event, "/", None, 0, Some(r#"["a",1]"#)),
            ),
            (
                r#"2456["a"]"#,
                packet(Kind::Event, "/", Some(456), 0, Some(r#"["a"]"#)),
            ),
            (
                r#"2/n,0["a"]"#,
                packet(Kind::Event, "/n", Some(0), 0, Some(r#"["a"]"#)),
            ),
            (
                "2 [\"a\"]\n",
                packet(Kind::Event, "/", None, 0, Some(r#"["a"]"#)),
            ),
            ("2[1]", packet(Kind::Event, "/", None, 0, Some("[1]"))),
            (
                "2[-1.5,2]",
                packet(Kind::Event, "/", None, 0, Some("[-1.5,2]")),
            ),
            ("312[]", packet(Kind::Ack, "/", Some(12), 0, Some("[]"))),
            (
                "3/n,007[{}]",
                packet(Kind::Ack, "/n", Some(7), 0, Some("[{}]")),
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(decode(text), Ok(expected), "{text}");
        }
        let event = format!("52-{binary}");
        assert_eq!(
            decode(&event),
            Ok(packet(Kind::BinaryEvent, "/", None, 2, Some(binary)))
        );
        let event = format!("52-/n,789{binary}");
        assert_eq!(
            decode(&event),
            Ok(packet(Kind::BinaryEvent, "/n", Some(789), 2, Some(binary)))
        );
        let ack = r#"610-15["bar"]"#;
        assert_eq!(
            decode(ack),
            Ok(packet(
                Kind::BinaryAck,
                "/",
                Some(15),
                10,
                Some(r#"["bar"]"#)
            ))
        );
    }

    #[test]
    fn refuses_what_violates_the_protocol() {
        use DecodeError as E;
        let rows = [
            ("", E::Empty),
            ("abc", E::SocketType),
            ("7", E::SocketType),
            ("999", E::SocketType),
            ("€", E::SocketType),
            ("0[]", E::ConnectData),
            ("0null", E::ConnectData),
            (r#"0/admin,"invalid""#, E::ConnectData),
            ("0{", E::Json),
            ("1/admin,{}", E::DisconnectData),
            ("1[", E::DisconnectData),
            ("1 ", E::DisconnectData),
            ("2", E::EventData),
            ("2{}", E::EventData),
            ("2/admin,{}", E::EventData),
            ("2[]", E::EventData),
            ("2 ", E::Json),
            ("2abc[\"message\"]", E::Json),
            (r#"2/admin,"invalid"#, E::Json),
            (r#"2["some","data""#, E::Json),
            (r#"2["a"]["b"]"#, E::Json),
            ("2[\"a\u{1e}\"]", E::Json),
            (r#"2[{"toString":"foo"}]"#, E::EventData),
            (r#"2[["a"]]"#, E::EventData),
            (r#"2[true,"foo"]"#, E::EventData),
            (r#"2[null,"bar"]"#, E::EventData),
            (r#"2["\ud800"]"#, E::EventData),
            (r#"2["disconnect","123"]"#, E::ReservedName),
            (r#"2["\u0063onnect"]"#, E::ReservedName),
            (r#"51-["newListener"]"#, E::ReservedName),
            ("3[]", E::MissingId),
            ("31", E::AckData),
            ("31{}", E::AckData),
            (r#"31"a""#, E::AckData),
            ("4", E::ConnectError),
            (r#"4{"message":"no"}"#, E::ConnectError),
            ("5", E::AttachmentCount),
            ("51", E::AttachmentCount),
            (r#"51["a"]"#, E::AttachmentCount),
            (r#"5-["a"]"#, E::AttachmentCount),
            (r#"50-["a"]"#, E::AttachmentCount),
            (r#"600-1["a"]"#, E::AttachmentCount),
            ("5a-", E::AttachmentCount),
            ("51.23-", E::AttachmentCount),
            ("5-1-", E::AttachmentCount),
            (r#"511-["a"]"#, E::TooManyAttachments),
            (r#"599999999999999999999999-["a"]"#, E::TooManyAttachments),
            (r#"29007199254740992["a"]"#, E::Id),
            (r#"2184467440737095516150["a"]"#, E::Id),
            ("0/a\u{1e}4,", E::Namespace),
            ("0/a\n", E::Namespace),
        ];
        for (text, expected) in rows {
            assert_eq!(decode(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn every_reserved_name_is_refused() {
        for name in RESERVED_NAMES {
            assert_eq!(
                decode(&format!("2[\"{name}\"]")),
                Err(DecodeError::ReservedName)
            );
            let other = format!("2[\"{name}s\",\"{name}\"]");
            assert!(decode(&other).is_ok(), "{other}");
        }
    }

    #[test]
    fn the_largest_id_is_the_last_exact_integer() {
        assert_eq!(decode("39007199254740991[]").unwrap().id, Some(MAX_ID));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("2[0{}{}]", ",[".repeat(levels), "]".repeat(levels));
        let nested = |levels| nested(levels).replace("[,", "[0,");
        assert!(decode(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(decode(&nested(MAX_DEPTH)), Err(DecodeError::Depth));
        assert_eq!(decode(&nested(300_000)), Err(DecodeError::Depth));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_read_can_be_taken_apart(text in arbitrary::nearly_a_packet()) {
            let Ok(packet) = decode(&text) else { return Ok(()) };
            prop_assert!(packet.attachments <= MAX_ATTACHMENTS);
            prop_assert_eq!(packet.attachments > 0, packet.kind.is_binary());
            prop_assert!(!packet.namespace.contains('\x1e'));
            let Some(data) = packet.data else { return Ok(()) };
            prop_assert!(!data.contains('\x1e'));
            match packet.kind {
                Kind::Event | Kind::BinaryEvent => prop_assert!(event(data).is_ok()),
                Kind::Ack | Kind::BinaryAck => prop_assert!(args(data).is_ok()),
                _ => prop_assert_eq!(packet.kind, Kind::Connect),
            }
        }

        #[test]
        fn nothing_panics_on_any_text(text in arbitrary::nearly_a_packet()) {
            let _ = decode(&text);
            let _ = event(&text);
            let _ = args(&text);
        }
    }
}
