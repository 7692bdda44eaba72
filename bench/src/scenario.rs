//! What is measured. Each scenario connects a fleet, does one thing, and returns its report.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    emitter::{Burst, EmitError, Emitted, Emitter},
    fleet::{Fleet, FleetConfig, FleetError},
    http::{HttpError, Poster, Url},
    process::{ProcessError, Usage},
    template::Template,
};

pub mod fanout;
pub mod idle;

/// Deliveries may trail the last emit by this much before they count as missing.
const GRACE: Duration = Duration::from_secs(20);

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
}

/// The server under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its process, whose CPU time and memory are read.
    pub pid: u32,
    /// The clients that it gets.
    pub fleet: FleetConfig,
    /// How it is told to emit.
    pub emit: EmitConfig,
}

/// How a server is told to emit to all clients.
#[derive(Clone, Debug)]
pub struct EmitConfig {
    /// Where to post to.
    pub url: Url,
    /// Headers, as whole lines.
    pub headers: Vec<String>,
    /// What to post.
    pub body: Template,
}

/// What connecting cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connected {
    /// Wall time until all were ready.
    pub seconds: f64,
    /// CPU time of the server for each, in microseconds.
    pub cpu_us_per_client: f64,
}

impl Subject {
    /// Connects the clients and opens the emitter's connection.
    fn connect(&self) -> Result<(Fleet, Emitter, Connected), ScenarioError> {
        let before = Usage::of(self.pid)?;
        let start = Instant::now();
        let fleet = Fleet::connect(self.fleet.clone())?;
        let cpu = Usage::of(self.pid)?.since(before).total();
        let connected = Connected {
            seconds: start.elapsed().as_secs_f64(),
            cpu_us_per_client: micros(cpu) / self.fleet.clients as f64,
        };
        let EmitConfig { url, headers, body } = &self.emit;
        let poster = Poster::connect(url, headers)?;
        let progress = fleet.progress.clone();
        let emitter = Emitter::new(poster, body.clone(), self.fleet.clients, progress);
        Ok((fleet, emitter, connected))
    }
}

/// Runs a burst on a thread of its own while the fleet is served, then serves on until every
/// client has every event, some are lost, or the grace is over.
fn run(
    fleet: &mut Fleet,
    mut emitter: Emitter,
    burst: Burst,
) -> Result<(Emitter, Emitted), ScenarioError> {
    let before = fleet.tally.events;
    let emitting: JoinHandle<Result<_, EmitError>> = thread::spawn(move || {
        let emitted = emitter.run(burst)?;
        Ok((emitter, emitted))
    });
    while !fleet.serve_until(GRACE, |_| emitting.is_finished())? {}
    let (emitter, emitted) = emitting
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let expected = before + emitted.count * emitter.clients();
    fleet.serve_until(GRACE, |fleet| {
        fleet.tally.events >= expected || !fleet.lost.is_empty()
    })?;
    Ok((emitter, emitted))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
