//! The floor: the least that a server can do for a fan-out. One thread, no protocol beyond what one
//! client of `tidings-load` needs, and for each emit a bare loop that writes one ready frame to
//! every socket. What it costs is the kernel's price for the sends; no server can be cheaper
//! without sending less often.
//!
//! `--join N` sends less often: the frames of N emits go out in one write to each socket, and what
//! is left of a burst goes out once no emit has come for 2 ms. It is the least that a server which
//! joins frames can do.
//!
//! Prints `{"port": …, "version": …}` once it serves. Errors end it: it is for measuring only.

use std::{
    env,
    io::{self, Read, Write},
    net::Ipv4Addr,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;
const BACKLOG: i32 = 4096;
/// Joined frames wait this long for the next emit.
const LINGER: Duration = Duration::from_millis(2);

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
    /// Frames that are yet to be written, of so many emits.
    joined: (Vec<u8>, usize),
    /// How many emits make a write.
    join: usize,
}

fn main() -> io::Result<()> {
    let mut listener = listen()?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let port = listener.local_addr()?.port();
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        io::stdout(),
        "{{\"port\": {port}, \"version\": \"{version}\"}}"
    )?;
    Floor {
        poll,
        listener,
        peers: Vec::new(),
        buffer: vec![0; BUFFER],
        joined: (Vec::new(), 0),
        join: emits_per_write()?,
    }
    .serve()
}

/// The number behind `--join`, 1 without it.
fn emits_per_write() -> io::Result<usize> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = match arguments.as_slice() {
        [] => Some(1),
        [option, number] if option == "--join" => number.parse().ok().filter(|number| *number > 0),
        _ => None,
    };
    number.ok_or_else(|| io::Error::other("usage: tidings-floor [--join N]"))
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Floor {
    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let (_, waiting) = self.joined;
            self.poll
                .poll(&mut events, (waiting > 0).then_some(LINGER))?;
            if events.is_empty() {
                self.flush()?;
            }
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
        let (frames, emits) = &mut self.joined;
        frames.extend_from_slice(frame);
        *emits += 1;
        if *emits >= self.join {
            self.flush()?;
        }
        self.peers[emitter]
            .0
            .write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    }

    /// One write to each socket.
    fn flush(&mut self) -> io::Result<()> {
        let (frames, emits) = &mut self.joined;
        for (stream, peer) in &mut self.peers {
            if let Peer::WebSocket { .. } = peer {
                stream.write_all(frames)?;
            }
        }
        frames.clear();
        *emits = 0;
        Ok(())
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
