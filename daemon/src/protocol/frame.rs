//! One outgoing packet, encoded once and shared by every connection that sends it.
//!
//! The buffer holds the WebSocket head and, right behind it, the payload. A WebSocket connection
//! writes all of it; a polling connection uses the payload alone. Heads are those of RFC 6455,
//! section 5.2, with FIN set and no mask, as a server must send them.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// The most that fits behind the two-byte head, and into any control frame.
const SMALL: usize = 125;
/// Marks in the second byte that the length follows in two bytes.
const IN_TWO_BYTES: u8 = 126;
/// Marks in the second byte that the length follows in eight bytes.
const IN_EIGHT_BYTES: u8 = 127;

/// One Engine.IO packet ready to send: WebSocket head and payload in one shared buffer.
///
/// Cloning costs a reference count. The head says by itself how long it is and whether the payload
/// is binary, so the handle is no larger than [`Bytes`].
#[derive(Clone, Eq, PartialEq)]
pub struct Frame(Bytes);

impl Frame {
    /// A text packet; `payload` begins with the packet type.
    pub fn text(payload: &str) -> Self {
        Self::from_parts(&[payload])
    }

    /// A binary packet, which on a WebSocket has no type in front of its bytes.
    pub fn binary(payload: &[u8]) -> Self {
        let mut buffer = with_head(BINARY, payload.len());
        buffer.put_slice(payload);
        Self(buffer.freeze())
    }

    /// A text packet made of `parts` in order, each copied once.
    pub fn from_parts(parts: &[&str]) -> Self {
        let mut buffer = with_head(TEXT, parts.iter().map(|part| part.len()).sum());
        for part in parts {
            buffer.put_slice(part.as_bytes());
        }
        Self(buffer.freeze())
    }

    /// A frame whose bytes, head included, are part of the program.
    pub(super) const fn from_static(ws: &'static [u8]) -> Self {
        Self(Bytes::from_static(ws))
    }

    /// What a WebSocket connection writes.
    pub fn ws(&self) -> &Bytes {
        &self.0
    }

    /// How many bytes a WebSocket connection writes; what the frame counts for in an outbox.
    pub fn ws_len(&self) -> usize {
        self.0.len()
    }

    /// The packet without the WebSocket head.
    pub fn payload(&self) -> &[u8] {
        &self.0[self.head_len()..]
    }

    /// Whether the payload is an attachment rather than text.
    pub fn is_binary(&self) -> bool {
        self.0[0] == BINARY
    }

    /// Same as [`Frame::ws_len`]; never zero.
    #[allow(clippy::len_without_is_empty, reason = "a frame has at least its head")]
    pub fn len(&self) -> usize {
        self.ws_len()
    }

    fn head_len(&self) -> usize {
        match self.0[1] {
            IN_TWO_BYTES => 4,
            IN_EIGHT_BYTES => 10,
            _ => 2,
        }
    }
}

impl fmt::Debug for Frame {
    /// Sizes only: frames reach logs, payloads must not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("binary", &self.is_binary())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

/// A ready WebSocket close frame. A `reason` longer than 123 bytes is cut between characters.
///
/// RFC 6455 (7.4) keeps 1005, 1006 and 1015 for codes that never go on the wire.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let reason = cut(reason, SMALL - size_of::<u16>());
    let mut buffer = with_head(CLOSE, size_of::<u16>() + reason.len());
    buffer.put_u16(code);
    buffer.put_slice(reason.as_bytes());
    buffer.freeze()
}

/// The longest beginning of `text` that has at most `max` bytes and ends between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A buffer that holds the head and has room for exactly `len` bytes more.
fn with_head(opcode: u8, len: usize) -> BytesMut {
    let (mark, extra) = match len {
        0..=SMALL => (len as u8, 0),
        126..=0xffff => (IN_TWO_BYTES, 2),
        _ => (IN_EIGHT_BYTES, 8),
    };
    let mut buffer = BytesMut::with_capacity(2 + extra + len);
    buffer.put_u8(opcode);
    buffer.put_u8(mark);
    buffer.put_uint(len as u64, extra);
    buffer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

    use super::*;

    /// Takes a frame apart with another implementation of RFC 6455.
    fn parse(ws: &[u8]) -> (OpCode, &[u8]) {
        let mut cursor = std::io::Cursor::new(ws);
        let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        let payload = &ws[cursor.position() as usize..];
        assert!(header.is_final);
        assert!(header.mask.is_none());
        assert_eq!(payload.len() as u64, len);
        (header.opcode, payload)
    }

    #[test]
    fn small_frames_are_exact() {
        assert_eq!(Frame::text("4hello").ws()[..], *b"\x81\x064hello");
        assert_eq!(
            Frame::binary(&[1, 2, 3, 4]).ws()[..],
            *b"\x82\x04\x01\x02\x03\x04"
        );
        assert_eq!(
            Frame::from_parts(&["4", "", "hel", "lo"]),
            Frame::text("4hello")
        );
    }

    #[test]
    fn head_grows_where_the_standard_says() {
        for (len, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let payload = vec![7; len];
            let frame = Frame::binary(&payload);
            assert_eq!(frame.ws_len(), head + len);
            assert_eq!(frame.payload(), payload);
            assert_eq!(
                parse(frame.ws()),
                (OpCode::Data(Data::Binary), &payload[..])
            );
        }
    }

    #[test]
    fn clones_share_one_buffer() {
        let frame = Frame::text("42[\"x\"]");
        assert_eq!(frame.clone().ws().as_ptr(), frame.ws().as_ptr());
    }

    #[test]
    fn close_reason_is_cut_between_characters() {
        assert_eq!(close_frame(1000, "")[..], *b"\x88\x02\x03\xe8");
        assert_eq!(
            close_frame(1009, "too big")[..],
            *b"\x88\x09\x03\xf1too big"
        );

        let reason = format!("{}é", "x".repeat(122));
        let ws = close_frame(1008, &reason);
        let (opcode, payload) = parse(&ws);
        assert_eq!(opcode, OpCode::Control(Control::Close));
        assert_eq!(payload[2..], *"x".repeat(122).as_bytes());

        assert_eq!(close_frame(1008, &"x".repeat(500)).len(), 2 + 125);
    }

    #[test]
    fn debug_output_hides_the_payload() {
        let shown = format!("{:?}", Frame::text("42[\"secret\"]"));
        assert_eq!(shown, "Frame { binary: false, payload_len: 12 }");
    }

    proptest! {
        #[test]
        fn text_survives(parts in prop::collection::vec(".{0,200}", 0..8)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let frame = Frame::from_parts(&parts);
            let whole = parts.concat();
            prop_assert_eq!(frame.payload(), whole.as_bytes());
            prop_assert_eq!(parse(frame.ws()), (OpCode::Data(Data::Text), whole.as_bytes()));
            prop_assert!(!frame.is_binary());
        }

        #[test]
        fn any_close_reason_is_legal(code: u16, reason in ".{0,200}") {
            let ws = close_frame(code, &reason);
            let (_, payload) = parse(&ws);
            prop_assert!(payload.len() <= 125);
            prop_assert_eq!(&payload[..2], code.to_be_bytes());
            prop_assert!(reason.starts_with(std::str::from_utf8(&payload[2..]).unwrap()));
        }
    }
}
