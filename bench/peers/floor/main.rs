//! The floor: the least that a server can do for a fan-out. One thread, no protocol beyond what one
//! client of `tidings-load` needs, and for each emit a bare loop that writes one ready frame to
//! every socket. What it costs is the kernel's price for the sends; no server can be cheaper
//! without sending less often.
//!
//! Prints `{"port": …}` once it serves. Errors end it: it is for measuring only.

use std::{
    io::{self, Read, Write},
    net::Ipv4Addr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;

/// What is known of a connection.
enum Peer {
    /// It has not said anything, or it emits.
    Http,
    /// It upgraded and has sent so many frames.
    WebSocket { frames: usize },
    /// It left.
    Gone,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<(TcpStream, Peer)>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let port = listener.local_addr()?.port();
    writeln!(io::stdout(), "{{\"port\": {port}}}")?;
    Floor {
        poll,
        listener,
        peers: Vec::new(),
        buffer: vec![0; BUFFER],
    }
    .serve()
}

impl Floor {
    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(number) => self.read(number)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.peers.len());
                    self.poll
                        .registry()
                        .register(&mut stream, token, Interest::READABLE)?;
                    self.peers.push((stream, Peer::Http));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let (stream, peer) = &mut self.peers[number];
        let count = match stream.read(&mut self.buffer) {
            Ok(0) | Err(_) => {
                *peer = Peer::Gone;
                return self.poll.registry().deregister(stream);
            }
            Ok(count) => count,
        };
        let input = &self.buffer[..count];
        match peer {
            Peer::WebSocket { frames } => {
                *frames += 1;
                match frames {
                    1 => stream.write_all(&frame(r#"40{"sid":"floor"}"#)),
                    2 => stream.write_all(&frame(r#"430[{"ok":true}]"#)),
                    _ => Ok(()),
                }
            }
            Peer::Http if input.starts_with(b"GET ") => {
                *peer = Peer::WebSocket { frames: 0 };
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")?;
                stream.write_all(&frame(r#"0{"sid":"floor"}"#))
            }
            Peer::Http => {
                // Several emits may have arrived at once.
                let requests = String::from_utf8_lossy(input).into_owned();
                requests
                    .split("POST ")
                    .skip(1)
                    .try_for_each(|request| self.emit(number, &frame(&event(request))))
            }
            Peer::Gone => Ok(()),
        }
    }

    fn emit(&mut self, emitter: usize, frame: &[u8]) -> io::Result<()> {
        for (stream, peer) in &mut self.peers {
            if let Peer::WebSocket { .. } = peer {
                stream.write_all(frame)?;
            }
        }
        self.peers[emitter]
            .0
            .write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    }
}

/// The packet for an emit's `data`, which comes last in the body that the harness sends.
fn event(request: &str) -> String {
    let data = request
        .split_once("\"data\":")
        .map_or("null}", |(_, data)| data.trim_end());
    format!("42[\"quote\",{}]", data.strip_suffix('}').unwrap_or(data))
}

/// An unmasked text frame.
fn frame(payload: &str) -> Vec<u8> {
    let length = payload.len() as u16;
    let mut frame = match length {
        0..126 => vec![0x81, length as u8],
        _ => vec![0x81, 126, (length >> 8) as u8, length as u8],
    };
    frame.extend_from_slice(payload.as_bytes());
    frame
}
