//! What is measured. Each scenario connects a fleet, does one thing, and returns its report.

use std::{
    io,
    path::PathBuf,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    emitter::{Burst, EmitError, Emitted, Emitter, Source},
    fleet::{Fleet, FleetConfig, FleetError, OnRefusal, TlsError},
    histogram::Quantiles,
    http::{Framing, HttpError, Poster, Url},
    process::ProcessError,
};

pub mod connect;
pub mod fanout;
pub mod idle;
pub mod listen;
pub mod probes;
pub mod quotes;
mod reading;
pub mod users;

pub use reading::Cores;
use reading::{Reading, micros};

/// A measurement could not be made; nothing is reported of it.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The clients could not connect or be served.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The emitter could not reach the server.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An emit failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The server's process cannot be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A warm-up that does not arrive would leak into what is measured.
    #[error("{got} of {expected} warm-up events arrived")]
    WarmUp {
        /// Events that arrived.
        got: u64,
        /// Events that should have.
        expected: u64,
    },
    /// The file of the authority cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in it cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What is emitted lacks what it is checked by.
    #[error("the body has no {place}, by which deliveries are checked")]
    Unchecked {
        /// What must be in it.
        place: &'static str,
    },
}

/// The server under test, and the clients that it gets.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its process, whose CPU time and memory are read.
    pub pid: u32,
    /// Further processes that it needs for its work: their CPU time counts as its own.
    pub beside: Vec<u32>,
    /// The clients.
    pub fleet: FleetConfig,
}

/// Where a server takes emits.
#[derive(Clone, Debug)]
pub struct EmitConfig {
    /// Where to post to.
    pub url: Url,
    /// Headers, as whole lines.
    pub headers: Vec<String>,
    /// How emits are put on the connection.
    pub framing: Framing,
}

/// What connecting cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connected {
    /// Wall time until all were ready.
    pub seconds: f64,
    /// CPU time of the server for each, in microseconds.
    pub cpu_us_per_client: f64,
}

/// How long emits took, in microseconds. One of a batch is due with it; without a pace, it is due
/// when it leaves.
#[derive(Debug, Serialize)]
pub struct Delays {
    /// From when an emit was due to its delivery; none when the body holds no `"ts":{now}`.
    pub latency_us: Option<Quantiles>,
    /// From when an emit was due to its answer; in a stream, to the line for it.
    pub answer_us: Option<Quantiles>,
    /// How much later than due the latest one left; it is part of the other two.
    pub late_us: f64,
}

impl Delays {
    fn of(fleet: &Fleet, emitted: &Emitted) -> Self {
        Self {
            latency_us: fleet.tally.latency.quantiles(),
            answer_us: emitted.answer.quantiles(),
            late_us: micros(emitted.late),
        }
    }
}

impl Subject {
    /// All processes whose CPU time is read.
    fn pids(&self) -> Vec<u32> {
        [&[self.pid], &self.beside[..]].concat()
    }

    /// Connects the clients, each of which must get through at once.
    fn connect(&self) -> Result<(Fleet, Connected), ScenarioError> {
        let before = Reading::take(&self.pids())?;
        let mut fleet = Fleet::new(self.fleet.clone())?;
        fleet.gather(OnRefusal::Fail)?;
        let spent = before.spent()?;
        let connected = Connected {
            seconds: spent.seconds,
            cpu_us_per_client: spent.server_each(self.fleet.clients as u64),
        };
        Ok((fleet, connected))
    }
}

impl EmitConfig {
    /// Connects a backend that emits what `source` says to the clients of `fleet`.
    fn connect<S: Source>(&self, source: S, fleet: &Fleet) -> Result<Emitter<S>, HttpError> {
        let poster = Poster::connect(&self.url, &self.headers, self.framing)?;
        Ok(Emitter::new(poster, source, fleet.progress.clone()))
    }
}

/// Runs a burst on a thread of its own while the fleet is served.
fn burst<S: Source>(
    fleet: &mut Fleet,
    mut emitter: Emitter<S>,
    burst: Burst,
) -> Result<(Emitter<S>, Emitted), ScenarioError> {
    let emitting: JoinHandle<Result<_, EmitError>> = thread::spawn(move || {
        let emitted = emitter.run(burst)?;
        Ok((emitter, emitted))
    });
    fleet.serve_until(Duration::MAX, |_| emitting.is_finished())?;
    Ok(resumed(emitting.join())?)
}

/// Runs a burst, then serves on until every client has every event, some are lost, or the grace is
/// over.
fn run<S: Source>(
    fleet: &mut Fleet,
    emitter: Emitter<S>,
    wanted: Burst,
) -> Result<(Emitter<S>, Emitted), ScenarioError> {
    let before = fleet.tally.events;
    let (emitter, emitted) = burst(fleet, emitter, wanted)?;
    let expected = before + emitted.deliveries;
    fleet.serve_out(|fleet| fleet.tally.events >= expected || !fleet.lost.is_empty())?;
    Ok((emitter, emitted))
}

/// The same as [`run`] before measuring: what is missing would leak into what is measured.
fn warm_up<S: Source>(
    fleet: &mut Fleet,
    emitter: Emitter<S>,
    wanted: Burst,
) -> Result<(Emitter<S>, Emitted), ScenarioError> {
    let (emitter, emitted) = run(fleet, emitter, wanted)?;
    let (got, expected) = (fleet.tally.events, emitted.deliveries);
    if got != expected {
        return Err(ScenarioError::WarmUp { got, expected });
    }
    fleet.tally.latency.clear();
    Ok((emitter, emitted))
}

/// What a thread returned; its panic goes on here.
fn resumed<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
