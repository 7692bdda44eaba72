//! All clients: their sockets, and the one loop that connects, reads and answers for them.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};
use thiserror::Error;

use crate::{
    client::{Client, ClientError, Plan, Tally},
    clock,
    emitter::Progress,
    template::PerClientError,
};

mod connection;
mod gather;
mod link;
mod tls;

use connection::Connection;
use link::Link;

pub use gather::{Gathered, OnRefusal};
pub use tls::{Tls, TlsError};

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
    /// Number of the first, for another fleet has those before it.
    pub first: usize,
    /// How many may be on their way at once.
    pub concurrency: usize,
    /// Loopback source addresses to spread over, from 127.0.0.2 on.
    pub sources: u8,
    /// When connecting all of them has failed.
    pub deadline: Duration,
    /// How long events and acknowledgements that are missing are waited for.
    pub grace: Duration,
    /// How clients speak TLS, if they do.
    pub tls: Option<Tls>,
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
    /// A fleet without clients; [`Fleet::gather`] makes them.
    pub fn new(config: FleetConfig) -> Result<Self, FleetError> {
        config.plan.check(config.first + config.clients)?;
        let poll = Poll::new().map_err(io_error("making an epoll"))?;
        Ok(Self {
            connections: Vec::with_capacity(config.clients),
            poll,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; READ],
            tally: Tally::default(),
            progress: Arc::default(),
            lost: Vec::new(),
            config,
        })
    }

    /// Connects all clients and waits until each is ready.
    pub fn connect(config: FleetConfig) -> Result<Self, FleetError> {
        let mut fleet = Self::new(config)?;
        fleet.gather(OnRefusal::Fail)?;
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

    /// All clients, in the order of their numbers.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.connections.iter().map(|connection| &connection.client)
    }

    /// Number of the first client.
    pub fn first(&self) -> usize {
        self.config.first
    }

    /// Serves until `done`, but not longer than what is missing is waited for; whether it was done.
    pub fn serve_out(&mut self, done: impl FnMut(&Self) -> bool) -> Result<bool, FleetError> {
        self.serve_until(self.config.grace, done)
    }

    /// When the probe at `index` got its latest acknowledgement, or none while it waits for one.
    pub fn answered(&self, index: usize) -> Option<u64> {
        self.connections[index].client.answered()
    }

    /// The fewest and the most events that any client has seen.
    pub fn events_per_client(&self) -> (u64, u64) {
        let events = || self.clients().map(Client::events);
        (events().min().unwrap_or(0), events().max().unwrap_or(0))
    }

    /// How many clients were lost, with the first one's reason.
    pub fn losses(&self) -> Option<(usize, String)> {
        let (_, loss) = self.lost.first()?;
        Some((self.lost.len(), loss.to_string()))
    }

    /// Sends a probe's event from the client at `index`, whose acknowledgement is waited for from
    /// `since` on.
    pub fn ask(&mut self, index: usize, event: &str, since: u64) {
        let connection = &mut self.connections[index];
        if connection.is_open {
            let outcome = connection.ask(event, since);
            self.note(index, outcome);
        }
    }

    /// One wait for readiness and all that follows from it.
    pub fn turn(&mut self, wait: Duration) -> Result<(), FleetError> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(wait)) {
            match error.kind() {
                io::ErrorKind::Interrupted => return Ok(()),
                _ => return Err(io_error("waiting for the server")(error)),
            }
        }
        for event in &self.events {
            let Token(index) = event.token();
            let connection = &mut self.connections[index];
            if !connection.is_open {
                continue;
            }
            let mut outcome = Ok(());
            if event.is_readable() || event.is_error() {
                outcome = connection.read(
                    &mut self.buffer,
                    event.is_read_closed(),
                    &self.config.plan,
                    &mut self.tally,
                );
            }
            if let Err(loss) = outcome.and_then(|()| connection.write()) {
                connection.close();
                self.lost.push((index, loss));
            }
        }
        self.progress.set(self.tally.events);
        Ok(())
    }

    fn note(&mut self, index: usize, outcome: Result<(), Loss>) {
        if let Err(loss) = outcome {
            self.connections[index].close();
            self.lost.push((index, loss));
        }
    }

    /// A client's socket on its way; it first tried at `since`.
    fn open(&self, index: usize, since: u64) -> Result<Connection, FleetError> {
        let number = self.config.first + index;
        let mut link =
            Link::connect(number, &self.config).map_err(io_error("opening a client's socket"))?;
        link.watch(self.poll.registry(), Token(index))
            .map_err(io_error("watching a client's socket"))?;
        let plan = &self.config.plan;
        Ok(Connection::new(
            link,
            Client::new(number, since, plan),
            plan,
        ))
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> FleetError {
    move |source| FleetError::Io { doing, source }
}
