//! Kinds of streams, and frames on them.

use bytes::{Buf, Bytes, BytesMut};

/// First byte of a one-way stream: the core's frames, in order.
pub(super) const CONTROL: u8 = 1;
/// First byte of a one-way stream: forwards, in order.
pub(super) const FORWARDS: u8 = 2;
/// First byte of a one-way stream: one gossip message.
pub(super) const GOSSIP: u8 = 3;
/// First byte of a one-way stream: what nodes say of recoverable rooms, in order.
pub(super) const HISTORY: u8 = 4;
/// First byte of a two-way stream: a question, then its answer.
pub(super) const QUESTION: u8 = 1;
/// First byte of a two-way stream: a head with its length, the answer to it, then a client's bytes
/// both ways.
pub(super) const CARRIED: u8 = 2;

/// Longest frame on a lane. Payloads of the daemon's API are far below it.
pub(super) const MAX_FRAME: usize = 32 << 20;
/// Longest gossip message; chitchat's own bound is that of a UDP datagram.
pub(super) const MAX_GOSSIP: usize = 64 << 10;
/// Longest question.
pub(super) const MAX_QUESTION: usize = 32 << 20;
/// Longest answer: the sockets of a large node.
pub(super) const MAX_ANSWER: usize = 256 << 20;

/// A frame is longer than any can be.
#[derive(Debug, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub(super) struct TooLong(usize);

/// Cuts a stream of bytes into frames, each behind its length (32 bits, big-endian).
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    /// Takes bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(head) = self.0.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*head) as usize;
        if len > MAX_FRAME {
            return Err(TooLong(len));
        }
        if self.0.len() < 4 + len {
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(len).freeze()))
    }
}

/// A frame with its length before it.
pub(crate) fn framed(frame: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    bytes.extend_from_slice(frame);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            step in 1..40_usize,
        ) {
            let whole: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
            let (mut cutter, mut found) = (Frames::default(), Vec::new());
            for piece in whole.chunks(step) {
                cutter.push(piece);
                while let Some(frame) = cutter.next().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found, frames);
        }
    }

    #[test]
    fn a_length_beyond_all_bounds_is_refused() {
        let mut cutter = Frames::default();
        cutter.push(&[0xff; 8]);
        assert!(cutter.next().is_err());
    }
}
