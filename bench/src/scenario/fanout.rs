//! One room, all clients in it: what a delivery costs the server.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Connected, ScenarioError, Subject, micros, run};
use crate::{emitter::Burst, fleet::Fleet, histogram::Quantiles, process::Usage};

/// Serving this much longer shows deliveries that nobody should have got.
const SURPLUS_WATCH: Duration = Duration::from_millis(200);

/// How much load, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct FanoutConfig {
    /// Emits before measuring, so that the server is at its pace.
    pub warm_up: Burst,
    /// Emits while measuring.
    pub measured: Burst,
}

/// What a fan-out showed.
#[derive(Debug, Serialize)]
pub struct Fanout {
    /// Always `fanout`.
    pub scenario: &'static str,
    /// Clients in the room.
    pub clients: usize,
    /// Emits accepted.
    pub emits: u64,
    /// Events that clients received.
    pub deliveries: u64,
    /// Whether each client received each event once and in order, and none was lost. If not, the
    /// other figures mean nothing.
    pub exact: bool,
    /// Clients lost, with the first one's reason.
    pub lost: Option<(usize, String)>,
    /// Events that were not newer than the one before on the same client.
    pub out_of_order: u64,
    /// From the first emit to the last delivery.
    pub seconds: f64,
    /// Deliveries each second.
    pub deliveries_per_second: f64,
    /// Mean size of an event's packet.
    pub bytes_per_delivery: f64,
    /// CPU time of the server in microseconds for each delivery.
    pub cpu_us_per_delivery: f64,
    /// The part of that in its own code.
    pub user_us_per_delivery: f64,
    /// Cores that the server kept busy.
    pub server_cores: f64,
    /// Cores that this process kept busy; near 1 it may be the limit.
    pub load_cores: f64,
    /// From emit to delivery, in microseconds; none when the body holds no `"ts":{now}`.
    pub latency_us: Option<Quantiles>,
    /// From emit to its answer, in microseconds.
    pub answer_us: Option<Quantiles>,
    /// How much the latest emit was behind its time, in microseconds.
    pub late_us: f64,
    /// What connecting cost.
    pub connect: Connected,
}

/// CPU time of both sides at one moment.
struct Reading {
    at: Instant,
    server: Usage,
    load: Usage,
}

/// Connects, warms up, measures.
pub fn measure(subject: &Subject, config: FanoutConfig) -> Result<Fanout, ScenarioError> {
    let (mut fleet, emitter, connect) = subject.connect()?;
    let (emitter, warm) = run(&mut fleet, emitter, config.warm_up)?;
    let expected = warm.count * emitter.clients();
    if fleet.tally.events != expected {
        return Err(ScenarioError::WarmUp {
            got: fleet.tally.events,
            expected,
        });
    }
    fleet.tally.latency.clear();
    let bytes = fleet.tally.bytes;

    let before = Reading::take(subject.pid)?;
    let (_, emitted) = run(&mut fleet, emitter, config.measured)?;
    let after = Reading::take(subject.pid)?;
    fleet.serve_for(SURPLUS_WATCH)?;

    let deliveries = fleet.tally.events - expected;
    let per_delivery = |time: Duration| micros(time) / deliveries as f64;
    let server = after.server.since(before.server);
    let load = after.load.since(before.load).total();
    let seconds = (after.at - before.at).as_secs_f64();
    Ok(Fanout {
        scenario: "fanout",
        clients: subject.fleet.clients,
        emits: emitted.count,
        deliveries,
        exact: is_exact(&fleet, warm.count + emitted.count),
        lost: fleet
            .lost
            .first()
            .map(|(_, loss)| (fleet.lost.len(), loss.to_string())),
        out_of_order: fleet.tally.out_of_order,
        seconds,
        deliveries_per_second: deliveries as f64 / seconds,
        bytes_per_delivery: (fleet.tally.bytes - bytes) as f64 / deliveries as f64,
        cpu_us_per_delivery: per_delivery(server.total()),
        user_us_per_delivery: per_delivery(server.user),
        server_cores: server.total().as_secs_f64() / seconds,
        load_cores: load.as_secs_f64() / seconds,
        latency_us: fleet.tally.latency.quantiles(),
        answer_us: emitted.answer.quantiles(),
        late_us: micros(emitted.late),
        connect,
    })
}

impl Reading {
    fn take(pid: u32) -> Result<Self, ScenarioError> {
        let (server, load) = (Usage::of(pid)?, Usage::of(std::process::id())?);
        Ok(Self {
            at: Instant::now(),
            server,
            load,
        })
    }
}

fn is_exact(fleet: &Fleet, emits: u64) -> bool {
    fleet.lost.is_empty()
        && fleet.tally.out_of_order == 0
        && fleet.events_per_client() == (emits, emits)
}
