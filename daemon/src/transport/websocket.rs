//! A WebSocket as a shard holds it: the stream, TLS if any, and its place in [`super::reader`].
//!
//! Reading goes through one buffer that all connections of a shard share, so that an idle
//! connection keeps none. Writing goes past tungstenite: frames are encoded once for all
//! receivers, and what tungstenite itself wants to say (pong, close) joins the same outbox.

use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags},
};
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
};

use super::reader::{Reader, Readers, Received};
use crate::{protocol::frame::close_frame, shard::outbox::Outbox};

/// Frames in one vectored write.
const SLICES: usize = 64;

/// A stream of this shard's runtime, or one that is registered with none.
pub(crate) enum Stream {
    /// Registered here.
    Here(TcpStream),
    /// On its way between two shards.
    Loose(std::net::TcpStream),
}

impl Stream {
    fn attach(self) -> io::Result<TcpStream> {
        match self {
            Stream::Here(stream) => Ok(stream),
            Stream::Loose(stream) => TcpStream::from_std(stream),
        }
    }
}

/// A WebSocket that no connection has yet.
pub(crate) struct Detached {
    /// The TCP stream; non-blocking.
    pub(crate) stream: Stream,
    /// TLS state.
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// Bytes that came with the upgrade request.
    pub(crate) read_ahead: Vec<u8>,
}

/// A WebSocket of a shard.
pub(crate) struct WebSocket {
    /// Tells two WebSockets of one connection apart.
    pub(crate) id: u64,
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    reader: Reader,
    /// The task that reads it.
    waker: Option<Waker>,
    /// Whether the kernel refused to take more.
    blocked: bool,
    /// Whether a close frame was queued; there may be only one.
    closing: bool,
    /// What was decrypted and read before the upgrade; `None` once it has been looked at.
    read_ahead: Option<Vec<u8>>,
}

/// What a look at the stream showed.
pub(crate) enum ReadStep {
    /// So many bytes were put into the shared buffer.
    Bytes(usize),
    /// Nothing was read; messages that had come before were handled.
    Ahead,
    /// The peer is done, or the stream broke.
    End,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Everything is with the kernel.
    All,
    /// The kernel takes no more for now.
    Blocked,
    /// The stream broke.
    Broken,
}

impl Detached {
    /// Lets this shard's runtime go of the stream, so that it can move to another shard's.
    pub(crate) fn loosen(self) -> io::Result<Self> {
        let stream = match self.stream {
            Stream::Here(stream) => Stream::Loose(stream.into_std()?),
            loose => loose,
        };
        Ok(Self { stream, ..self })
    }
}

impl WebSocket {
    /// Takes a stream over on this shard's runtime.
    pub(crate) fn attach(id: u64, detached: Detached) -> io::Result<Self> {
        Ok(Self {
            id,
            stream: detached.stream.attach()?,
            tls: detached.tls,
            reader: Reader::default(),
            waker: None,
            blocked: false,
            closing: false,
            read_ahead: Some(detached.read_ahead),
        })
    }

    /// Whether the kernel refused to take more.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Queues a close frame, unless one was queued before.
    pub(crate) fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        if !std::mem::replace(&mut self.closing, true) {
            outbox.push_control(close_frame(code, reason));
        }
    }

    /// Whether a close frame was queued: nothing may follow it.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// The peer has closed and tungstenite has answered it.
    pub(crate) fn closed_by_peer(&mut self) {
        self.closing = true;
    }

    /// Wakes the task that reads, so that it sees what changed.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether a blocked stream takes bytes again. Remembers the task to wake.
    pub(crate) fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> bool {
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
        if self.blocked && self.stream.poll_write_ready(cx).is_ready() {
            self.blocked = false;
            return true;
        }
        false
    }

    /// Reads into the shared buffer.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<ReadStep> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                Poll::Ready(ReadStep::Bytes(buffer.filled().len()))
            }
            Poll::Ready(_) => Poll::Ready(ReadStep::End),
        }
    }

    /// Makes messages of what came along with the upgrade request; false if that is done.
    pub(crate) fn take_ahead(
        &mut self,
        readers: &mut Readers,
        outbox: &mut Outbox,
        out: &mut Vec<Received>,
    ) -> bool {
        let Some(mut ahead) = self.read_ahead.take() else {
            return false;
        };
        if let Some(tls) = &mut self.tls {
            // What is not decrypted yet follows with the next read.
            let _ = tls.reader().read_to_end(&mut ahead);
        }
        if !ahead.is_empty() {
            self.reader.decode(readers, &ahead, outbox, out);
            self.closing |= out.iter().any(|message| matches!(message, Received::Close));
        }
        !out.is_empty()
    }

    /// Makes messages of bytes that were read. What must be answered at the WebSocket level goes
    /// into `outbox`.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        readers: &mut Readers,
        outbox: &mut Outbox,
        out: &mut Vec<Received>,
    ) {
        self.decode(bytes, readers, outbox, out);
        // tungstenite has queued its answer: what the packets before it lead to comes too late.
        self.closing |= out.iter().any(|message| matches!(message, Received::Close));
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        readers: &mut Readers,
        outbox: &mut Outbox,
        out: &mut Vec<Received>,
    ) {
        let Some(tls) = &mut self.tls else {
            self.reader.decode(readers, bytes, outbox, out);
            return;
        };
        let mut cipher = bytes;
        while !cipher.is_empty() {
            let read = tls.read_tls(&mut cipher);
            if read.is_err() || tls.process_new_packets().is_err() {
                out.push(Received::Broken(1002, "tls"));
                return;
            }
            let mut plain = [0; 4096];
            loop {
                match tls.reader().read(&mut plain) {
                    Ok(0) => {
                        out.push(Received::Close);
                        return;
                    }
                    Ok(len) => {
                        if !self.reader.decode(readers, &plain[..len], outbox, out) {
                            return;
                        }
                    }
                    Err(_) => break,
                }
            }
        }
    }

    /// Writes what waits until it is gone or the kernel refuses.
    pub(crate) fn write(&mut self, outbox: &mut Outbox) -> Written {
        let result = if self.tls.is_some() {
            self.write_encrypted(outbox)
        } else {
            self.write_plain(outbox)
        };
        match result {
            Ok(()) => Written::All,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                self.wake();
                Written::Blocked
            }
            Err(_) => Written::Broken,
        }
    }

    fn write_plain(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        while !outbox.is_empty() {
            let written = match outbox.only() {
                Some(bytes) => Kernel(&self.stream).write(bytes)?,
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let filled = outbox.slices(&mut slices);
                    Kernel(&self.stream).write_vectored(&slices[..filled])?
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            outbox.advance(written);
        }
        Ok(())
    }

    fn write_encrypted(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        loop {
            while tls.wants_write() {
                tls.write_tls(&mut Kernel(&self.stream))?;
            }
            if outbox.is_empty() {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = outbox.slices(&mut slices);
            let taken = tls.writer().write_vectored(&slices[..filled])?;
            outbox.advance(taken);
        }
    }

    /// Says goodbye: the rest of the outbox, the end of the stream, then waits for the peer's end.
    /// A stream closed with bytes unread would be reset and the last words lost.
    pub(crate) async fn finish(mut self, mut outbox: Outbox) {
        while self.write(&mut outbox) == Written::Blocked {
            self.blocked = false;
            if self.stream.writable().await.is_err() {
                return;
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Kernel(&self.stream));
        }
        let shutdown = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        if shutdown.is_err() {
            return;
        }
        let mut rest = [0; 1024];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// The non-blocking stream as bytes are written to it: straight to the kernel. What tokio knows of
/// the stream stands elsewhere in memory, and is looked at only when the kernel takes no more.
struct Kernel<'a>(&'a TcpStream);

impl Kernel<'_> {
    /// Lets tokio know that the stream is full, so that it waits for the kernel to say otherwise.
    fn told(&self, written: Result<usize, Errno>) -> io::Result<usize> {
        if written == Err(Errno::AGAIN) {
            let full = || Err::<usize, _>(io::ErrorKind::WouldBlock.into());
            return self.0.try_io(Interest::WRITABLE, full);
        }
        Ok(written?)
    }
}

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.told(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut nothing = SendAncillaryBuffer::default();
        let flags = SendFlags::NOSIGNAL;
        self.told(rustix::net::sendmsg(self.0, slices, &mut nothing, flags))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
