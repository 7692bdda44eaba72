//! All clients: their sockets, and the one loop that connects, reads and answers for them.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::{
    client::{Client, ClientError, Plan, Tally},
    clock,
    emitter::Progress,
    template::PerClientError,
};

/// Readiness reports taken in one turn.
const EVENTS: usize = 1024;
/// One buffer serves all reads; what is left of a frame after one moves to its connection.
const READ: usize = 256 * 1024;
/// How often a condition is looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(10);

/// Which clients to make.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The server.
    pub target: SocketAddr,
    /// How many.
    pub clients: usize,
    /// How many may be on their way at once.
    pub concurrency: usize,
    /// Loopback source addresses to spread over, from 127.0.0.2 on.
    pub sources: u8,
    /// When connecting all of them has failed.
    pub deadline: Duration,
    /// What each does once connected.
    pub plan: Plan,
}

/// The clients did not come or stay as planned.
#[derive(Debug, Error)]
pub enum FleetError {
    /// The system refused a socket or a wait; most likely the limit of open files.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file of texts per client does not fit.
    #[error(transparent)]
    Plan(#[from] PerClientError),
    /// A client was lost before all were ready.
    #[error("client {client} was lost after {ready} were ready: {loss}")]
    Lost {
        /// Which.
        client: usize,
        /// How many had got through.
        ready: usize,
        /// Why.
        loss: Loss,
    },
    /// Not all were ready in time.
    #[error("{ready} of {clients} clients were ready after {deadline:?}")]
    Slow {
        /// How many had got through.
        ready: usize,
        /// How many there should be.
        clients: usize,
        /// The time that they had.
        deadline: Duration,
    },
}

/// Why a client is no longer connected.
#[derive(Debug, Error)]
pub enum Loss {
    /// The server said so or spoke otherwise than it should.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server closed without a word.
    #[error("the connection ended")]
    Ended,
}

/// A socket and what is said on it.
struct Connection {
    stream: TcpStream,
    client: Client,
    /// Start of a frame that has not arrived whole.
    partial: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    open: bool,
}

/// All clients and what they have seen.
pub struct Fleet {
    config: FleetConfig,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Sum over all clients.
    pub tally: Tally,
    /// The same number of events, for the emitter's thread.
    pub progress: Arc<Progress>,
    /// Clients lost since they were all ready, with the reason.
    pub lost: Vec<(usize, Loss)>,
}

impl Fleet {
    /// Connects all clients and waits until each is ready.
    pub fn connect(config: FleetConfig) -> Result<Self, FleetError> {
        config.plan.check(config.clients)?;
        let poll = Poll::new().map_err(io_error("making an epoll"))?;
        let mut fleet = Self {
            connections: Vec::with_capacity(config.clients),
            poll,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; READ],
            tally: Tally::default(),
            progress: Arc::default(),
            lost: Vec::new(),
            config,
        };
        fleet.connect_all()?;
        Ok(fleet)
    }

    /// Serves until `done` or for `time` at most; whether it was done.
    pub fn serve_until(
        &mut self,
        time: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, FleetError> {
        let start = Instant::now();
        loop {
            if done(self) {
                return Ok(true);
            }
            let Some(left) = time.checked_sub(start.elapsed()) else {
                return Ok(false);
            };
            self.turn(left.min(TICK))?;
        }
    }

    /// Serves for `time`.
    pub fn serve_for(&mut self, time: Duration) -> Result<(), FleetError> {
        self.serve_until(time, |_| false).map(|_| ())
    }

    /// The fewest and the most events that any client has seen.
    pub fn events_per_client(&self) -> (u64, u64) {
        let events = || {
            self.connections
                .iter()
                .map(|connection| connection.client.events())
        };
        (events().min().unwrap_or(0), events().max().unwrap_or(0))
    }

    fn connect_all(&mut self) -> Result<(), FleetError> {
        let FleetConfig {
            clients,
            concurrency,
            deadline,
            ..
        } = self.config;
        let start = Instant::now();
        while self.tally.ready < clients {
            while self.connections.len() < clients.min(self.tally.ready + concurrency) {
                self.open(self.connections.len())?;
            }
            self.turn(TICK)?;
            if let Some((client, loss)) = self.lost.pop() {
                return Err(FleetError::Lost {
                    client,
                    ready: self.tally.ready,
                    loss,
                });
            }
            if start.elapsed() > deadline {
                return Err(FleetError::Slow {
                    ready: self.tally.ready,
                    clients,
                    deadline,
                });
            }
        }
        Ok(())
    }

    fn open(&mut self, number: usize) -> Result<(), FleetError> {
        let source = source_address(number, self.config.sources);
        let mut stream = connecting(source, self.config.target)
            .map_err(io_error("opening a client's socket"))?;
        self.poll
            .registry()
            .register(
                &mut stream,
                Token(number),
                Interest::READABLE | Interest::WRITABLE,
            )
            .map_err(io_error("watching a client's socket"))?;
        let client = Client::new(number);
        let mut unsent = Vec::new();
        client.start(&self.config.plan, &mut unsent);
        self.connections.push(Connection {
            stream,
            client,
            partial: Vec::new(),
            unsent,
            open: true,
        });
        Ok(())
    }

    /// One wait for readiness and all that follows from it.
    fn turn(&mut self, wait: Duration) -> Result<(), FleetError> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(wait)) {
            match error.kind() {
                io::ErrorKind::Interrupted => return Ok(()),
                _ => return Err(io_error("waiting for the server")(error)),
            }
        }
        for event in &self.events {
            let Token(number) = event.token();
            let connection = &mut self.connections[number];
            if !connection.open {
                continue;
            }
            let mut outcome = Ok(());
            if event.is_readable() || event.is_error() {
                outcome = connection.read(&mut self.buffer, &self.config.plan, &mut self.tally);
            }
            if let Err(loss) = outcome.and_then(|()| connection.write()) {
                connection.open = false;
                // A socket that is already shut down is as good as one shut down now.
                let _ = connection.stream.shutdown(std::net::Shutdown::Both);
                self.lost.push((number, loss));
            }
        }
        self.progress.set(self.tally.events);
        Ok(())
    }
}

impl Connection {
    /// Reads until the socket has no more. Readiness is reported once per arrival, but a read that
    /// does not fill the buffer has emptied the socket, which saves one call in two.
    fn read(&mut self, buffer: &mut Vec<u8>, plan: &Plan, tally: &mut Tally) -> Result<(), Loss> {
        loop {
            let kept = self.partial.len();
            if buffer.len() < kept + READ / 2 {
                buffer.resize(kept + READ, 0);
            }
            buffer[..kept].copy_from_slice(&self.partial);
            let count = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(Loss::Ended),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let filled = kept + count;
            let input = &buffer[..filled];
            let used = self
                .client
                .receive(input, clock::now(), plan, tally, &mut self.unsent)?;
            self.partial.clear();
            self.partial.extend_from_slice(&input[used..]);
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }

    fn write(&mut self) -> Result<(), Loss> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The socket is not ready; readiness will be reported. A socket that still connects says so too.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// 127.0.0.1 is the server's and the emitter's; clients have the addresses after it.
fn source_address(number: usize, sources: u8) -> IpAddr {
    let offset = (number % usize::from(sources.clamp(1, 250))) as u8;
    Ipv4Addr::new(127, 0, 0, 2 + offset).into()
}

/// A socket on its way to `target`. Elsewhere than on loopback its source is the system's choice.
fn connecting(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if target.ip().is_loopback() && target.is_ipv4() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> FleetError {
    move |source| FleetError::Io { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_over_their_sources() {
        let address = |number| source_address(number, 100).to_string();
        assert_eq!(address(0), "127.0.0.2");
        assert_eq!(address(99), "127.0.0.101");
        assert_eq!(address(100), "127.0.0.2");
        assert_eq!(source_address(7, 0).to_string(), "127.0.0.2");
    }
}
