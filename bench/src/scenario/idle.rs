//! Many clients that say nothing: what a connection costs in resident memory, before and after a
//! flood has gone through all of them.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Connected, EmitConfig, ScenarioError, Subject, run};
use crate::{
    emitter::{Burst, Length, OneRoom, Pace},
    process::{resident, resident_peak},
    template::Template,
};

/// How long to wait, and how much to flood.
#[derive(Clone, Debug)]
pub struct IdleConfig {
    /// Where emits of the flood go.
    pub emit: EmitConfig,
    /// What is emitted to all clients.
    pub body: Template,
    /// Time in silence before memory is read.
    pub settle: Duration,
    /// Emits to all clients in the flood; none skips it.
    pub flood: u64,
    /// Flood emits under way at once.
    pub in_flight: u64,
}

/// What idle connections showed.
#[derive(Debug, Serialize)]
pub struct Idle {
    /// Always `idle`.
    pub scenario: &'static str,
    /// Clients connected.
    pub clients: usize,
    /// Clients lost, with the first one's reason. If any, the other figures mean nothing.
    pub lost: Option<(usize, String)>,
    /// Resident memory of the server with no client, in KiB.
    pub empty_kib: f64,
    /// Resident memory for each idle connection, in KiB.
    pub kib_per_connection: f64,
    /// The same when the flood is over.
    pub after_flood: Option<Flood>,
    /// What connecting cost.
    pub connect: Connected,
}

/// What the flood did.
#[derive(Debug, Serialize)]
pub struct Flood {
    /// Whether each client received each event.
    pub exact: bool,
    /// Events that clients received.
    pub deliveries: u64,
    /// How long it took.
    pub seconds: f64,
    /// The most resident memory for each connection at any time, in KiB.
    pub peak_kib_per_connection: f64,
    /// Resident memory for each connection after it, in KiB.
    pub kib_per_connection: f64,
}

/// Connects, waits, reads; then floods, waits, reads.
pub fn measure(subject: &Subject, config: IdleConfig) -> Result<Idle, ScenarioError> {
    let empty = resident(subject.pid)?;
    let clients = subject.fleet.clients;
    let kib_each = |bytes: u64| bytes.saturating_sub(empty) as f64 / 1024.0 / clients as f64;
    let (mut fleet, connect) = subject.connect()?;
    fleet.serve_for(config.settle)?;
    let idle = resident(subject.pid)?;

    let mut after_flood = None;
    if config.flood > 0 {
        let burst = Burst {
            pace: Pace::Delivered(config.in_flight),
            length: Length::Batches(config.flood),
        };
        let source = OneRoom::new(config.body, clients);
        let emitter = config.emit.connect(source, &fleet)?;
        let start = Instant::now();
        run(&mut fleet, emitter, burst)?;
        let seconds = start.elapsed().as_secs_f64();
        fleet.serve_for(config.settle)?;
        after_flood = Some(Flood {
            exact: fleet.events_per_client() == (config.flood, config.flood),
            deliveries: fleet.tally.events,
            seconds,
            peak_kib_per_connection: kib_each(resident_peak(subject.pid)?),
            kib_per_connection: kib_each(resident(subject.pid)?),
        });
    }
    Ok(Idle {
        scenario: "idle",
        clients,
        lost: fleet.losses(),
        empty_kib: empty as f64 / 1024.0,
        kib_per_connection: kib_each(idle),
        after_flood,
        connect,
    })
}
