//! The streams that carry a client between the node that it reached and the one that holds its
//! connection.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::Sleep,
};

use super::{
    flow::{Flow, PIECE},
    stream::{CARRIED, framed},
};

/// Longest head of a carried stream, and longest answer to it.
const MAX_HEAD: usize = 64 << 10;

/// How long one direction may go on after the other has ended.
const LINGER: Duration = Duration::from_secs(20);

/// Rounds of one client before others have their turn.
const ROUNDS: usize = 4;

/// A client's bytes on their way between the node that it reached and the one that holds its
/// connection.
pub struct Carried {
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    /// Its part of what the link may carry, at the end that opened it.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Carried {
    /// Writes the head that says what is carried.
    pub(super) async fn put_head(&mut self, head: &[u8]) -> io::Result<()> {
        let bytes = [&[CARRIED], &framed(head)[..]].concat();
        self.send.write_all(&bytes).await.map_err(io::Error::from)
    }

    /// Answers the head, before anything is carried.
    pub async fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        let bytes = framed(answer);
        self.send.write_all(&bytes).await.map_err(io::Error::from)
    }

    /// What the peer answered to the head; at the peer, the head itself.
    pub async fn heard(&mut self) -> io::Result<Bytes> {
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

    /// Joins it with a client's stream until both directions have ended. An error of either ends
    /// both, at both nodes.
    pub async fn join<S>(self, client: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut joined = Joined {
            client,
            send: self.send,
            receive: self.receive,
            flow: Flow::new(),
            flushed: true,
            shut: false,
            linger: None,
        };
        let ended = std::future::poll_fn(|cx| joined.poll(cx)).await;
        drop(self.permit);
        match ended {
            // Each ends with the value: the other node sees that it is not a proper end.
            Err(error) => Err(error),
            Ok(()) => {
                let _ = joined.send.finish();
                Ok(())
            }
        }
    }

    async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        let read = self.receive.read_exact(into).await;
        read.map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A client's stream and the stream that carries it.
struct Joined<S> {
    client: S,
    send: SendStream,
    receive: RecvStream,
    flow: Flow,
    /// Whether the client's stream keeps nothing back of what it took.
    flushed: bool,
    /// Whether the client was told that nothing more comes.
    shut: bool,
    /// Runs once one of the two directions has ended.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Joined<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            let mut moved = self.poll_from_client(cx)?.is_ready();
            moved |= self.poll_to_link(cx)?.is_ready();
            moved |= self.poll_from_link(cx)?.is_ready();
            moved |= self.poll_to_client(cx)?.is_ready();
            if self.shut && self.flow.is_over() {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                return self.poll_linger(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    // Each of these is ready if it has moved something. One that has nothing to do is pending
    // without being woken: only the others can change that, and then all have another turn.

    fn poll_from_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.flow.room();
        if room == 0 {
            return Poll::Pending;
        }
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut buffer = ReadBuf::uninit(&mut space[..room]);
        ready!(Pin::new(&mut self.client).poll_read(cx, &mut buffer))?;
        self.flow.client_sent(buffer.filled());
        Poll::Ready(Ok(()))
    }

    fn poll_to_link(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let has_ended = self.flow.has_ended();
        let bytes = self.flow.for_link();
        if bytes.is_empty() {
            return Poll::Pending;
        }
        let count = match ready!(Pin::new(&mut self.send).poll_write(cx, bytes)) {
            Ok(count) => count,
            // The other end has nothing more to hear, and does not wait for it.
            Err(_) if has_ended => bytes.len(),
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        self.flow.link_took(count);
        Poll::Ready(Ok(()))
    }

    fn poll_from_link(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flow.has_ended() {
            return Poll::Pending;
        }
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(AsyncRead::poll_read(
            Pin::new(&mut self.receive),
            cx,
            &mut buffer
        ))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = self.flow.link_sent(buffer.filled());
        Poll::Ready(taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let bytes = self.flow.for_client();
        if !bytes.is_empty() {
            let count = ready!(Pin::new(&mut self.client).poll_write(cx, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.flow.client_took(count);
            self.flushed = false;
            return Poll::Ready(Ok(()));
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.client).poll_flush(cx))?;
            self.flushed = true;
        }
        if self.flow.has_all() && !self.shut {
            ready!(Pin::new(&mut self.client).poll_shutdown(cx))?;
            self.shut = true;
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flow.is_ending() {
            return Poll::Pending;
        }
        let linger = self
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        ready!(linger.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
