//! One room, all clients in it: what a delivery costs the server.

use std::time::Duration;

use serde::Serialize;

use super::{
    Connected, Cores, Delays, EmitConfig, Reading, ScenarioError, Subject, micros,
    probes::{ProbeConfig, Probed, Probes},
    run, warm_up,
};
use crate::{
    emitter::{Burst, OneRoom},
    fleet::Fleet,
    histogram::Quantiles,
    template::Template,
};

/// Serving this much longer shows deliveries that nobody should have got.
const SURPLUS_WATCH: Duration = Duration::from_millis(200);

/// How much load, and for how long.
#[derive(Clone, Debug)]
pub struct FanoutConfig {
    /// Where emits go.
    pub emit: EmitConfig,
    /// What is emitted to all clients.
    pub body: Template,
    /// Emits before measuring, so that the server is at its pace.
    pub warm_up: Burst,
    /// Emits while measuring.
    pub measured: Burst,
    /// Other clients, outside the room, who ask something of the server meanwhile.
    pub probes: ProbeConfig,
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
    /// Whether each client received each event once and in order, none was lost, and each probe
    /// was answered. If not, the other figures mean nothing.
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
    /// CPU time of the server in microseconds for each delivery; what probes cost is in it.
    pub cpu_us_per_delivery: f64,
    /// The part of that in its own code.
    pub user_us_per_delivery: f64,
    /// How busy both sides were.
    #[serde(flatten)]
    pub cores: Cores,
    /// How long emits took.
    #[serde(flatten)]
    pub delays: Delays,
    /// What the probes showed, where there were any.
    pub probes: Option<Probed>,
    /// From a probe's event to its acknowledgement, in microseconds, where there were any.
    pub ack_us: Option<Quantiles>,
    /// What connecting cost.
    pub connect: Connected,
}

/// Connects, warms up, measures.
pub fn measure(subject: &Subject, config: FanoutConfig) -> Result<Fanout, ScenarioError> {
    let (mut fleet, connect) = subject.connect()?;
    let probes = Probes::connect(&config.probes, &subject.fleet)?;
    let source = OneRoom::new(config.body, subject.fleet.clients);
    let emitter = config.emit.connect(source, &fleet)?;
    let (emitter, warm) = warm_up(&mut fleet, emitter, config.warm_up)?;
    let bytes = fleet.tally.bytes;

    let before = Reading::take(&subject.pids())?;
    let probing = probes.map(Probes::start);
    let (_, emitted) = run(&mut fleet, emitter, config.measured)?;
    let spent = before.spent()?;
    let probes = probing.map(|probing| probing.finish()).transpose()?;
    fleet.serve_for(SURPLUS_WATCH)?;

    let deliveries = fleet.tally.events - warm.deliveries;
    let answered = probes.as_ref().is_none_or(Probed::is_valid);
    Ok(Fanout {
        scenario: "fanout",
        clients: subject.fleet.clients,
        emits: emitted.count,
        deliveries,
        exact: answered && is_exact(&fleet, warm.count + emitted.count),
        lost: fleet.losses(),
        out_of_order: fleet.tally.faults.not_newer(),
        seconds: spent.seconds,
        deliveries_per_second: deliveries as f64 / spent.seconds,
        bytes_per_delivery: (fleet.tally.bytes - bytes) as f64 / deliveries as f64,
        cpu_us_per_delivery: spent.server_each(deliveries),
        user_us_per_delivery: micros(spent.server.user) / deliveries as f64,
        cores: spent.cores(),
        delays: Delays::of(&fleet, &emitted),
        ack_us: probes.as_ref().and_then(|probed| probed.ack_us),
        probes,
        connect,
    })
}

fn is_exact(fleet: &Fleet, emits: u64) -> bool {
    fleet.lost.is_empty()
        && fleet.tally.faults.are_none()
        && fleet.events_per_client() == (emits, emits)
}
