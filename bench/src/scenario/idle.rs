//! Many clients that say nothing: what a connection costs in resident memory, before and after a
//! flood has gone through all of them.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Connected, EmitConfig, ScenarioError, Subject, run};
use crate::{
    emitter::{Burst, Length, OneRoom, Pace},
    fleet::Fleet,
    process::{Memory, resident, resident_peak},
    template::Template,
};

/// Readings of memory while it settles.
const POINTS: u32 = 8;

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
    /// Time in silence after the flood before memory is read.
    pub flood_settle: Duration,
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
    /// Resident memory for each idle connection, in KiB: what came since the server was empty.
    pub kib_per_connection: f64,
    /// The part of that which is backed by no file: heap and stacks.
    pub anonymous_kib_per_connection: f64,
    /// The same as `kib_per_connection` on the way, from all being connected on.
    pub settling: Vec<Settling>,
    /// The server's memory with no client.
    pub memory_empty: Memory,
    /// The server's memory with idle clients.
    pub memory_idle: Memory,
    /// The same when the flood is over.
    pub after_flood: Option<Flood>,
    /// What connecting cost.
    pub connect: Connected,
}

/// Memory at one moment of silence.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settling {
    /// Seconds since silence began.
    pub seconds: f64,
    /// Resident memory for each connection, in KiB.
    pub kib_per_connection: f64,
}

/// What the flood did.
#[derive(Debug, Serialize)]
pub struct Flood {
    /// Whether each client received each event once and in order.
    pub exact: bool,
    /// Events that clients received.
    pub deliveries: u64,
    /// How long it took.
    pub seconds: f64,
    /// The most resident memory for each connection at any time, in KiB.
    pub peak_kib_per_connection: f64,
    /// Resident memory for each connection after it, in KiB.
    pub kib_per_connection: f64,
    /// The part of that which is backed by no file: heap and stacks.
    pub anonymous_kib_per_connection: f64,
    /// The same as `kib_per_connection` on the way, from the last delivery on.
    pub settling: Vec<Settling>,
    /// The server's memory after it.
    pub memory: Memory,
}

/// A server's memory against what it had when empty.
struct Gauge {
    pid: u32,
    clients: usize,
    empty: u64,
    memory: Memory,
}

/// Connects, waits, reads; then floods, waits, reads.
pub fn measure(subject: &Subject, config: IdleConfig) -> Result<Idle, ScenarioError> {
    let gauge = Gauge::empty(subject)?;
    let (mut fleet, connect) = subject.connect()?;
    let settling = gauge.settle(&mut fleet, config.settle)?;
    let (kib, memory) = gauge.read()?;
    let after_flood = match config.flood {
        0 => None,
        _ => Some(flood(&gauge, &mut fleet, config)?),
    };
    Ok(Idle {
        scenario: "idle",
        clients: gauge.clients,
        lost: fleet.losses(),
        empty_kib: gauge.empty as f64 / 1024.0,
        kib_per_connection: kib,
        anonymous_kib_per_connection: gauge.anonymous(memory),
        settling,
        memory_empty: gauge.memory,
        memory_idle: memory,
        after_flood,
        connect,
    })
}

fn flood(gauge: &Gauge, fleet: &mut Fleet, config: IdleConfig) -> Result<Flood, ScenarioError> {
    let burst = Burst {
        pace: Pace::Delivered(config.in_flight),
        length: Length::Batches(config.flood),
    };
    let source = OneRoom::new(config.body, gauge.clients);
    let emitter = config.emit.connect(source, fleet)?;
    let start = Instant::now();
    run(fleet, emitter, burst)?;
    let seconds = start.elapsed().as_secs_f64();
    let settling = gauge.settle(fleet, config.flood_settle)?;
    let (kib_per_connection, memory) = gauge.read()?;
    Ok(Flood {
        exact: fleet.events_per_client() == (config.flood, config.flood)
            && fleet.tally.faults.are_none(),
        deliveries: fleet.tally.events,
        seconds,
        peak_kib_per_connection: gauge.kib_each(resident_peak(gauge.pid)?),
        kib_per_connection,
        anonymous_kib_per_connection: gauge.anonymous(memory),
        settling,
        memory,
    })
}

impl Gauge {
    /// Reads a server that has no clients yet.
    fn empty(subject: &Subject) -> Result<Self, ScenarioError> {
        let pid = subject.pid;
        Ok(Self {
            pid,
            clients: subject.fleet.clients,
            // First, for the other takes memory to tell of memory.
            empty: resident(pid)?,
            memory: Memory::of(pid)?,
        })
    }

    /// Memory for each connection in KiB, and where it is.
    fn read(&self) -> Result<(f64, Memory), ScenarioError> {
        Ok((self.kib_each(resident(self.pid)?), Memory::of(self.pid)?))
    }

    /// Serves in silence and reads several times; the last time at its end.
    fn settle(&self, fleet: &mut Fleet, time: Duration) -> Result<Vec<Settling>, ScenarioError> {
        let start = Instant::now();
        let mut points = Vec::new();
        for point in 0..=POINTS {
            let due = time * point / POINTS;
            fleet.serve_for(due.saturating_sub(start.elapsed()))?;
            points.push(Settling {
                seconds: due.as_secs_f64(),
                kib_per_connection: self.kib_each(resident(self.pid)?),
            });
        }
        Ok(points)
    }

    fn kib_each(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(self.empty) as f64 / 1024.0 / self.clients as f64
    }

    fn anonymous(&self, memory: Memory) -> f64 {
        let more = memory
            .anonymous_kib
            .saturating_sub(self.memory.anonymous_kib);
        more as f64 / self.clients as f64
    }
}
