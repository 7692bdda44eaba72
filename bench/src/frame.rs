//! WebSocket frames as a client reads and writes them (RFC 6455, section 5), without copying.

use thiserror::Error;

/// A masking key is needed in every frame of a client; one for all lets frames be compared.
const MASK: [u8; 4] = [0x6b, 0x1d, 0xa4, 0x92];

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The peer closes.
    Close,
    /// To be answered with a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// One whole frame from a server, its payload still where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The bytes are not frames that a server may send here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// No server under test splits its small messages, so joining is not supported.
    #[error("the server sent a fragment of a message (first byte {0:#04x})")]
    Fragment(u8),
    /// An opcode or extension bit that was not negotiated.
    #[error("the server sent a frame of unknown kind (first byte {0:#04x})")]
    Unknown(u8),
    /// Only clients mask.
    #[error("the server sent a masked frame")]
    Masked,
    /// Longer than any message of a measurement.
    #[error("the server sent a frame of {0} bytes, at most {MAX_PAYLOAD} are read")]
    TooLong(u64),
}

/// Longest payload that is waited for.
pub const MAX_PAYLOAD: u64 = 16 << 20;

/// The frame at the start of `input` and how many bytes it takes, or none until all of it is there.
pub fn decode(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let &[first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    let opcode = opcode(first)?;
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let Some((length, head)) = payload_length(second, rest) else {
        return Ok(None);
    };
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let end = head + length as usize;
    Ok(input
        .get(head..end)
        .map(|payload| (Frame { opcode, payload }, end)))
}

/// Appends a masked text frame.
pub fn encode_text(payload: &str, out: &mut Vec<u8>) {
    encode(0x81, payload.as_bytes(), out);
}

/// Appends a masked pong with what the ping carried.
pub fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(0x8a, payload, out);
}

fn opcode(first: u8) -> Result<Opcode, FrameError> {
    match first {
        0x81 => Ok(Opcode::Text),
        0x82 => Ok(Opcode::Binary),
        0x88 => Ok(Opcode::Close),
        0x89 => Ok(Opcode::Ping),
        0x8a => Ok(Opcode::Pong),
        0x00..=0x02 | 0x80 => Err(FrameError::Fragment(first)),
        _ => Err(FrameError::Unknown(first)),
    }
}

/// Payload length and where the payload starts.
fn payload_length(second: u8, rest: &[u8]) -> Option<(u64, usize)> {
    match second {
        126 => rest
            .first_chunk()
            .map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 4)),
        127 => rest
            .first_chunk()
            .map(|bytes| (u64::from_be_bytes(*bytes), 10)),
        short => Some((u64::from(short), 2)),
    }
}

fn encode(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert, prop_assert_eq, proptest},
    };

    use super::*;

    /// What a server would have sent: the mask taken off again.
    fn unmasked(masked: &[u8]) -> Vec<u8> {
        let head = match masked[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let mut bytes = masked[..head].to_vec();
        bytes[1] &= 0x7f;
        let (mask, payload) = masked[head..].split_at(4);
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    #[test]
    fn text_is_masked() {
        let mut out = Vec::new();
        encode_text("3", &mut out);
        assert_eq!(out, [0x81, 0x81, 0x6b, 0x1d, 0xa4, 0x92, b'3' ^ 0x6b]);
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        assert_eq!(decode(&[0x01, 0]), Err(FrameError::Fragment(1)));
        assert_eq!(decode(&[0xc1, 0]), Err(FrameError::Unknown(0xc1)));
        assert_eq!(decode(&[0x81, 0x80]), Err(FrameError::Masked));
        let long = [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(decode(&long), Err(FrameError::TooLong(1 << 32)));
    }

    proptest! {
        #[test]
        fn round_trip_at_every_length(length in 0usize..70_000, next in vec(any::<u8>(), 0..4)) {
            let text = "q".repeat(length);
            let mut out = Vec::new();
            encode_text(&text, &mut out);
            let mut bytes = unmasked(&out);
            let whole = bytes.len();
            prop_assert_eq!(decode(&bytes[..whole - 1]), Ok(None));
            bytes.extend(next);
            let (frame, used) = decode(&bytes).unwrap().unwrap();
            prop_assert_eq!(frame, Frame { opcode: Opcode::Text, payload: text.as_bytes() });
            prop_assert_eq!(used, whole);
        }

        #[test]
        fn never_panics_and_stays_inside(bytes in vec(any::<u8>(), 0..300)) {
            if let Ok(Some((frame, used))) = decode(&bytes) {
                prop_assert!(used <= bytes.len() && frame.payload.len() < used);
            }
        }
    }
}
