//! Reading and writing of the fake server's sockets.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
};

/// A connection and what was read of it.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    /// The head of a request, its last empty line included.
    pub(crate) fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n")
    }

    /// The data of the next chunk.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let size = self.until(b"\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let data = self.take(size)?;
        self.take(2)?;
        Some(data)
    }

    /// The text of the next frame of a client.
    pub(crate) fn packet(&mut self) -> Option<String> {
        self.fill(2)?;
        assert_eq!((self.read[0], self.read[1] & 0x80), (0x81, 0x80));
        let (length, head) = match self.read[1] & 0x7f {
            126 => {
                self.fill(4)?;
                (
                    usize::from(self.read[2]) << 8 | usize::from(self.read[3]),
                    4,
                )
            }
            short => (usize::from(short), 2),
        };
        self.fill(head + 4 + length)?;
        let frame: Vec<u8> = self.read.drain(..head + 4 + length).collect();
        let (mask, masked) = frame[head..].split_at(4);
        let bytes = masked.iter().zip(mask.iter().cycle());
        Some(String::from_utf8(bytes.map(|(byte, mask)| byte ^ mask).collect()).unwrap())
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<String> {
        self.fill(length)?;
        Some(String::from_utf8(self.read.drain(..length).collect()).unwrap())
    }

    fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|part| part == end) {
                return self.take(at + end.len());
            }
            self.fill(self.read.len() + 1)?;
        }
    }

    fn fill(&mut self, length: usize) -> Option<()> {
        let mut bytes = [0; 4096];
        while self.read.len() < length {
            let count = self
                .stream
                .read(&mut bytes)
                .ok()
                .filter(|count| *count > 0)?;
            self.read.extend_from_slice(&bytes[..count]);
        }
        Some(())
    }
}

/// Where packets to a client go.
pub(crate) enum Out {
    /// Into text frames.
    Socket(TcpStream),
    /// To whoever answers its polls.
    Polls(mpsc::Sender<String>),
}

impl Clone for Out {
    fn clone(&self) -> Self {
        match self {
            Self::Socket(stream) => Self::Socket(stream.try_clone().unwrap()),
            Self::Polls(sender) => Self::Polls(sender.clone()),
        }
    }
}

impl Out {
    /// Sends a packet; a client that left on purpose is not this server's trouble.
    pub(crate) fn send(&mut self, text: &str) {
        match self {
            Self::Socket(stream) => drop(stream.write_all(&frame(text))),
            Self::Polls(sender) => drop(sender.send(text.to_owned())),
        }
    }

    /// Ends the session.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Socket(stream) => stream.shutdown(Shutdown::Both).unwrap(),
            Self::Polls(_) => self.send("1"),
        }
    }
}

/// What a poll is answered with: all packets that there are, at least one.
pub(crate) fn polled(packets: &mpsc::Receiver<String>) -> Option<String> {
    let first = packets.recv().ok()?;
    let all: Vec<String> = std::iter::once(first).chain(packets.try_iter()).collect();
    Some(all.join("\u{1e}"))
}

fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = match length {
        0..126 => vec![0x81, length as u8],
        _ => vec![0x81, 126, (length >> 8) as u8, length as u8],
    };
    frame.extend_from_slice(text.as_bytes());
    frame
}
