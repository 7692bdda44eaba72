//! Kinds of streams, frames on them, and the streams that carry a client.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First byte of a one-way stream: the core's frames, in order.
pub(super) const CONTROL: u8 = 1;
/// First byte of a one-way stream: forwards, in order.
pub(super) const FORWARDS: u8 = 2;
/// First byte of a one-way stream: one gossip message.
pub(super) const GOSSIP: u8 = 3;
/// First byte of a two-way stream: a question, then its answer.
pub(super) const QUESTION: u8 = 1;
/// First byte of a two-way stream: a head with its length, then a client's bytes both ways.
pub(super) const CARRIED: u8 = 2;

/// Longest frame on a lane. Payloads of the daemon's API are far below it.
pub(super) const MAX_FRAME: usize = 32 << 20;
/// Longest gossip message; chitchat's own bound is that of a UDP datagram.
pub(super) const MAX_GOSSIP: usize = 64 << 10;
/// Longest question.
pub(super) const MAX_QUESTION: usize = 32 << 20;
/// Longest answer: the sockets of a large node.
pub(super) const MAX_ANSWER: usize = 256 << 20;
/// Longest head of a carried stream.
const MAX_HEAD: usize = 64 << 10;

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

/// A client's bytes on their way between the node that it reached and the one that holds its
/// connection.
pub struct Carried {
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
}

impl Carried {
    /// Writes the head that says what is carried.
    pub(super) async fn put_head(&mut self, head: &[u8]) -> io::Result<()> {
        let bytes = [&[CARRIED], &framed(head)[..]].concat();
        self.send.write_all(&bytes).await.map_err(io::Error::from)
    }

    /// Reads the head that says what is carried.
    pub(super) async fn take_head(&mut self) -> io::Result<Bytes> {
        let mut len = [0; 4];
        self.read_exact(&mut len).await?;
        let len = u32::from_be_bytes(len) as usize;
        if len > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut head = vec![0; len];
        self.read_exact(&mut head).await?;
        Ok(head.into())
    }

    async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        let read = self.receive.read_exact(into).await;
        read.map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, into)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
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
