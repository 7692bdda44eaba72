//! Engine.IO 4: packet types, poll bodies and the handshake.
//!
//! <https://github.com/socketio/engine.io-protocol>: a packet is one character for its type and
//! its data. On a WebSocket each is one frame and attachments are binary frames; a poll body joins
//! packets with U+001E and spells attachments as `b` and base64.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::DecodeError;
use super::frame::Frame;

/// The most packets to put into one poll answer: python-engineio refuses to read more.
pub const MAX_POLL_PACKETS: usize = 16;

/// Stands between the packets of a poll body.
const SEPARATOR: char = '\u{1e}';

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One Engine.IO packet from a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet<'a> {
    /// The handshake, which only servers send.
    Open(&'a str),
    /// The sender wants the session to end.
    Close,
    /// A heartbeat, or with `probe` the test of a transport before an upgrade.
    Ping(&'a str),
    /// The answer to a ping, with the ping's data.
    Pong(&'a str),
    /// Text for the layer above.
    Message(&'a str),
    /// An attachment for the layer above.
    Binary(Bytes),
    /// The probed transport takes over.
    Upgrade,
    /// Nothing: ends a poll early.
    Noop,
}

/// Reads one text packet, as a WebSocket frame holds it.
///
/// Like the reference, it takes `b<base64>` here too, and ignores data where a type has none.
///
/// # Errors
///
/// [`DecodeError::Empty`], [`DecodeError::EngineType`] or [`DecodeError::Base64`].
pub fn decode_text(text: &str) -> Result<Packet<'_>, DecodeError> {
    let mut chars = text.chars();
    let kind = chars.next().ok_or(DecodeError::Empty)?;
    let data = chars.as_str();
    Ok(match kind {
        '0' => Packet::Open(data),
        '1' => Packet::Close,
        '2' => Packet::Ping(data),
        '3' => Packet::Pong(data),
        '4' => Packet::Message(data),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' => Packet::Binary(BASE64.decode(data).map_err(|_| DecodeError::Base64)?.into()),
        _ => return Err(DecodeError::EngineType),
    })
}

/// Reads the packets of a poll body in order. The first error is the last item.
pub fn decode_payload(body: &str) -> impl Iterator<Item = Result<Packet<'_>, DecodeError>> {
    let mut broken = false;
    body.split(SEPARATOR).map_while(move |text| {
        let packet = (!broken).then(|| decode_text(text));
        broken |= matches!(packet, Some(Err(_)));
        packet
    })
}

/// Joins packets into a poll answer, in one allocation of the exact size.
pub fn encode_payload<'f, I>(frames: I) -> Bytes
where
    I: IntoIterator<Item = &'f Frame, IntoIter: Clone>,
{
    let frames = frames.into_iter();
    let separated: usize = frames
        .clone()
        .map(|frame| poll_len(frame) + SEPARATOR.len_utf8())
        .sum();
    let len = separated.saturating_sub(SEPARATOR.len_utf8());
    let mut body = BytesMut::with_capacity(len);
    for (index, frame) in frames.enumerate() {
        if index > 0 {
            body.put_u8(SEPARATOR as u8);
        }
        write_poll(frame, &mut body);
    }
    body.freeze()
}

/// How many bytes a packet takes in a poll answer, without separators.
pub fn poll_len(frame: &Frame) -> usize {
    let len = frame.payload().len();
    if frame.is_binary() {
        1 + len.div_ceil(3) * 4
    } else {
        len
    }
}

fn write_poll(frame: &Frame, body: &mut BytesMut) {
    if !frame.is_binary() {
        return body.put_slice(frame.payload());
    }
    body.put_u8(b'b');
    let start = body.len();
    body.resize(start + poll_len(frame) - 1, 0);
    BASE64
        .encode_slice(frame.payload(), &mut body[start..])
        .expect("the buffer was sized by the rule of base64");
}

/// A text message from its data, which must not hold U+001E if it may leave in a poll answer.
pub fn message(data: &str) -> Frame {
    Frame::from_parts(&["4", data])
}

/// The heartbeat.
pub fn ping() -> Frame {
    Frame::from_static(b"\x81\x012")
}

/// The answer to a ping that carried `data`, such as `probe`.
pub fn pong(data: &str) -> Frame {
    Frame::from_parts(&["3", data])
}

/// The end of the session.
pub fn close() -> Frame {
    Frame::from_static(b"\x81\x011")
}

/// The end of a poll that has nothing to say.
pub fn noop() -> Frame {
    Frame::from_static(b"\x81\x016")
}

/// What a client must know about its new session.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    /// Names the session in every later request; a secret of the client's.
    pub sid: &'a str,
    /// The transports that the client may change to.
    pub upgrades: &'a [&'a str],
    /// How often the server sends a ping.
    #[serde(serialize_with = "milliseconds")]
    pub ping_interval: Duration,
    /// How long after a missing ping or pong the other side counts as gone.
    #[serde(serialize_with = "milliseconds")]
    pub ping_timeout: Duration,
    /// The largest body or frame that the server reads, in bytes.
    pub max_payload: usize,
}

impl Handshake<'_> {
    /// The packet that opens the session.
    pub fn packet(&self) -> Frame {
        let json = serde_json::to_string(self).expect("strings and integers always serialize");
        Frame::from_parts(&["0", &json])
    }
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn all(body: &str) -> Vec<Result<Packet<'_>, DecodeError>> {
        decode_payload(body).collect()
    }

    #[test]
    fn reads_every_type() {
        assert_eq!(decode_text("0{}"), Ok(Packet::Open("{}")));
        assert_eq!(decode_text("1"), Ok(Packet::Close));
        assert_eq!(decode_text("2probe"), Ok(Packet::Ping("probe")));
        assert_eq!(decode_text("3"), Ok(Packet::Pong("")));
        assert_eq!(decode_text("4hello"), Ok(Packet::Message("hello")));
        assert_eq!(decode_text("4"), Ok(Packet::Message("")));
        assert_eq!(decode_text("5"), Ok(Packet::Upgrade));
        assert_eq!(decode_text("6"), Ok(Packet::Noop));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        assert_eq!(decode_text(""), Err(DecodeError::Empty));
        for text in ["abc", "7", "€", "-1", " 4", "\u{1e}"] {
            assert_eq!(decode_text(text), Err(DecodeError::EngineType), "{text}");
        }
    }

    #[test]
    fn reads_binary_with_or_without_padding() {
        let bytes = Bytes::from_static(&[1, 2, 3, 4]);
        assert_eq!(decode_text("bAQIDBA=="), Ok(Packet::Binary(bytes.clone())));
        assert_eq!(decode_text("bAQIDBA"), Ok(Packet::Binary(bytes)));
        assert_eq!(decode_text("b"), Ok(Packet::Binary(Bytes::new())));
        for text in ["b!", "bA", "bAQID BA==", "bAQ€="] {
            assert_eq!(decode_text(text), Err(DecodeError::Base64), "{text}");
        }
    }

    #[test]
    fn reads_a_batch_in_order() {
        assert_eq!(
            all("4hello\u{1e}2\u{1e}bAQIDBA==\u{1e}4world"),
            [
                Ok(Packet::Message("hello")),
                Ok(Packet::Ping("")),
                Ok(Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))),
                Ok(Packet::Message("world")),
            ]
        );
    }

    #[test]
    fn a_batch_ends_at_its_first_error() {
        assert_eq!(all(""), [Err(DecodeError::Empty)]);
        assert_eq!(all("abc"), [Err(DecodeError::EngineType)]);
        assert_eq!(
            all("2\u{1e}x\u{1e}4a"),
            [Ok(Packet::Ping("")), Err(DecodeError::EngineType),]
        );
        assert_eq!(
            all("4a\u{1e}"),
            [Ok(Packet::Message("a")), Err(DecodeError::Empty)]
        );
    }

    #[test]
    fn writes_a_batch_in_order() {
        let frames = [
            message("hello"),
            Frame::binary(&[1, 2, 3, 4]),
            ping(),
            Frame::binary(&[]),
        ];
        assert_eq!(
            encode_payload(&frames)[..],
            *b"4hello\x1ebAQIDBA==\x1e2\x1eb"
        );
        assert_eq!(encode_payload(&frames[..1])[..], *b"4hello");
        assert_eq!(encode_payload(&[])[..], *b"");
    }

    #[test]
    fn ready_packets_are_exact() {
        assert_eq!(ping(), Frame::text("2"));
        assert_eq!(pong("probe"), Frame::text("3probe"));
        assert_eq!(close(), Frame::text("1"));
        assert_eq!(noop(), Frame::text("6"));
    }

    #[test]
    fn handshake_is_exact() {
        let handshake = Handshake {
            sid: "lv_VI97HAXpY6yYWAAAC",
            upgrades: &["websocket"],
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            max_payload: 1_000_000,
        };
        assert_eq!(
            handshake.packet(),
            Frame::text(concat!(
                r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"#,
                r#""pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#,
            ))
        );
        let last = Handshake {
            upgrades: &[],
            ..handshake
        };
        assert!(
            last.packet()
                .payload()
                .starts_with(br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval""#)
        );
    }

    /// What a poll may carry: text without the separator, or bytes.
    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        prop::collection::vec(
            prop_oneof![
                "[^\u{1e}]{0,40}".prop_map(|data| message(&data)),
                prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| Frame::binary(&data)),
            ],
            1..20,
        )
    }

    proptest! {
        #[test]
        fn batches_survive(frames in frames()) {
            let body = encode_payload(&frames);
            let lens = frames.iter().map(poll_len).sum::<usize>();
            prop_assert_eq!(body.len(), lens + frames.len() - 1);

            let read: Vec<Frame> = decode_payload(std::str::from_utf8(&body).unwrap())
                .map(|packet| match packet.unwrap() {
                    Packet::Message(data) => message(data),
                    Packet::Binary(data) => Frame::binary(&data),
                    other => panic!("{other:?} was never written"),
                })
                .collect();
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_text_is_read_or_refused(text in arbitrary::nearly_a_packet()) {
            let packets = all(&text);
            let errors = packets.iter().filter(|packet| packet.is_err()).count();
            prop_assert!(errors == 0 || (errors == 1 && packets.last().unwrap().is_err()));
            prop_assert!(errors == 1 || packets.len() == text.split(SEPARATOR).count());
        }
    }
}
