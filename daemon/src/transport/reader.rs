//! The reading half of a WebSocket: tungstenite, which a connection has only while a message is
//! on its way.
//!
//! Nearly every read brings whole messages. Then nothing need be remembered between two reads, and
//! one [`Context`] serves all connections of a shard in turn. A connection keeps one for itself
//! only from a read that ended inside a message to the one that ends the message.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::boundary::Boundary;
use crate::shard::outbox::Outbox;

/// What tungstenite keeps for a connection between two reads: room for the part of a frame.
const READ_BUFFER: usize = 256;

/// What the bytes held.
pub(crate) enum Received {
    /// A text message.
    Text(tungstenite::Utf8Bytes),
    /// A binary message.
    Binary(bytes::Bytes),
    /// The peer closes.
    Close,
    /// The peer broke the protocol or a limit; the close code says which.
    Broken(u16, &'static str),
}

impl Received {
    /// Bytes of a message.
    pub(crate) fn len(&self) -> usize {
        match self {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) => bytes.len(),
            Received::Close | Received::Broken(..) => 0,
        }
    }
}

/// Tungstenite's state, and where in its stream of frames it stands.
struct Context {
    websocket: WebSocketContext,
    boundary: Boundary,
}

/// Lends contexts to the connections of one shard.
pub(crate) struct Readers {
    config: WebSocketConfig,
    /// A context that has nothing to remember.
    spare: Option<Box<Context>>,
}

impl Readers {
    /// `payload` is the largest message accepted.
    pub(crate) fn new(payload: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(4096)
            .max_message_size(Some(payload))
            .max_frame_size(Some(payload));
        Self {
            config,
            spare: None,
        }
    }

    fn lend(&mut self) -> Box<Context> {
        let fresh = || {
            Box::new(Context {
                websocket: WebSocketContext::new(Role::Server, Some(self.config)),
                boundary: Boundary::default(),
            })
        };
        self.spare.take().unwrap_or_else(fresh)
    }
}

/// One connection's part in it: nothing between messages.
#[derive(Default)]
pub(crate) struct Reader(Option<Box<Context>>);

impl Reader {
    /// Makes messages of bytes that were read; false if the stream ended with them or broke. What
    /// must be answered at the WebSocket level goes into `outbox`.
    pub(crate) fn decode(
        &mut self,
        readers: &mut Readers,
        bytes: &[u8],
        outbox: &mut Outbox,
        out: &mut Vec<Received>,
    ) -> bool {
        let mut context = self.0.take().unwrap_or_else(|| readers.lend());
        context.boundary.pass(bytes);
        if !context.read(bytes, outbox, out) {
            // What it left behind serves nobody.
            return false;
        }
        if context.boundary.is_clean() {
            readers.spare = Some(context);
        } else {
            self.0 = Some(context);
        }
        true
    }
}

impl Context {
    /// False if the stream ended or broke.
    fn read(&mut self, bytes: &[u8], outbox: &mut Outbox, out: &mut Vec<Received>) -> bool {
        let mut feed = Feed {
            unread: bytes,
            answers: Vec::new(),
        };
        let goes_on = loop {
            match self.websocket.read(&mut feed) {
                Ok(Message::Text(text)) => out.push(Received::Text(text)),
                Ok(Message::Binary(bytes)) => out.push(Received::Binary(bytes)),
                Ok(Message::Ping(_)) => {
                    // The pong is written by the flush; a failed one shows at the next read.
                    let _ = self.websocket.flush(&mut feed);
                }
                Ok(Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) => {
                    let _ = self.websocket.flush(&mut feed);
                    out.push(Received::Close);
                    break false;
                }
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break true;
                }
                Err(error) => {
                    out.push(broken(&error));
                    break false;
                }
            }
        };
        if !feed.answers.is_empty() {
            outbox.push_control(feed.answers.into());
        }
        goes_on
    }
}

/// Bytes that were read, as tungstenite takes them, and the place where its answers go.
struct Feed<'a> {
    unread: &'a [u8],
    answers: Vec<u8>,
}

impl Read for Feed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.unread.read(into)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answers.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(error: &tungstenite::Error) -> Received {
    match error {
        tungstenite::Error::Capacity(_) => Received::Broken(1009, "message too big"),
        tungstenite::Error::Utf8(_) => Received::Broken(1007, "text is not UTF-8"),
        tungstenite::Error::Protocol(_) => Received::Broken(1002, "protocol error"),
        _ => Received::Close,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    /// A masked frame of a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
        }
        frame.extend([7, 0, 0, 0]);
        let mask = [7, 0, 0, 0].iter().cycle();
        frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn texts(received: Vec<Received>) -> Vec<String> {
        let text = |one| match one {
            Received::Text(text) => text.to_string(),
            Received::Binary(bytes) => format!("{bytes:?}"),
            Received::Close => "close".into(),
            Received::Broken(code, why) => format!("{code} {why}"),
        };
        received.into_iter().map(text).collect()
    }

    #[test]
    fn a_context_is_kept_only_inside_a_message() {
        let mut readers = Readers::new(1000);
        let (mut one, mut other) = (Reader::default(), Reader::default());
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        let hello = frame(0x81, b"hello");
        one.decode(&mut readers, &hello, &mut outbox, &mut out);
        assert!(one.0.is_none() && readers.spare.is_some());
        one.decode(&mut readers, &hello[..4], &mut outbox, &mut out);
        assert!(one.0.is_some() && readers.spare.is_none());
        other.decode(&mut readers, &frame(0x81, b"other"), &mut outbox, &mut out);
        one.decode(&mut readers, &hello[4..], &mut outbox, &mut out);
        assert!(one.0.is_none() && other.0.is_none());
        // A message in two frames, a ping between them.
        one.decode(&mut readers, &frame(0x01, b"in "), &mut outbox, &mut out);
        assert!(one.0.is_some());
        one.decode(&mut readers, &frame(0x89, b"?"), &mut outbox, &mut out);
        assert!(one.0.is_some());
        one.decode(&mut readers, &frame(0x80, b"two"), &mut outbox, &mut out);
        assert!(one.0.is_none());
        assert_eq!(texts(out), ["hello", "other", "hello", "in two"]);
        assert_eq!(outbox.bytes(), 3, "the pong");
    }

    #[test]
    fn a_broken_stream_leaves_nothing_for_others() {
        let mut readers = Readers::new(10);
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        for bad in [
            frame(0x81, &[b'x'; 11]),
            frame(0xc1, b"x"),
            frame(0x81, &[0xff]),
            frame(0x88, &[]),
        ] {
            Reader::default().decode(&mut readers, &bad, &mut outbox, &mut out);
            assert!(readers.spare.is_none());
        }
        Reader::default().decode(&mut readers, &frame(0x81, b"ok"), &mut outbox, &mut out);
        let expected = [
            "1009 message too big",
            "1002 protocol error",
            "1007 text is not UTF-8",
            "close",
            "ok",
        ];
        assert_eq!(texts(out), expected);
    }

    proptest! {
        /// However two streams are cut into reads, and whoever reads in between.
        #[test]
        fn streams_that_share_contexts_do_not_mix(
            sizes in proptest::collection::vec(0usize..300, 1..12),
            cuts in proptest::collection::vec((any::<bool>(), 1usize..200), 1..60),
        ) {
            let whole = |letter: u8| {
                let frames = sizes.iter().map(|size| frame(0x81, &vec![letter; *size]));
                frames.collect::<Vec<_>>().concat()
            };
            let streams = [whole(b'a'), whole(b'b')];
            let mut rest = [&streams[0][..], &streams[1][..]];
            let mut readers = Readers::new(1000);
            let mut reader = [Reader::default(), Reader::default()];
            let mut out = [Vec::new(), Vec::new()];
            let mut outbox = Outbox::default();
            let cuts = cuts.into_iter().chain([(false, usize::MAX), (true, usize::MAX)]);
            for (second, len) in cuts {
                let which = usize::from(second);
                let (now, later) = rest[which].split_at(len.min(rest[which].len()));
                rest[which] = later;
                reader[which].decode(&mut readers, now, &mut outbox, &mut out[which]);
            }
            for (letter, out) in ["a", "b"].into_iter().zip(out) {
                let expected: Vec<String> = sizes.iter().map(|size| letter.repeat(*size)).collect();
                prop_assert_eq!(texts(out), expected);
            }
        }
    }
}
