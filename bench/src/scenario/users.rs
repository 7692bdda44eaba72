//! Emits to single users: what one costs, and how many the server takes.

use serde::Serialize;

use super::{
    Connected, Cores, Delays, EmitConfig, Reading, ScenarioError, Subject, micros, run, warm_up,
};
use crate::{
    client::Expect,
    emitter::{Burst, UserPlan, Users},
    fleet::Fleet,
};

/// Which emits, and how much of them.
#[derive(Clone, Debug)]
pub struct UsersConfig {
    /// Where emits go.
    pub emit: EmitConfig,
    /// How that is called in the report.
    pub mode: &'static str,
    /// What they are.
    pub plan: UserPlan,
    /// Emits before measuring, so that the server is at its pace.
    pub warm_up: Burst,
    /// Emits while measuring.
    pub measured: Burst,
    /// Serving this much longer shows deliveries that nobody should have got.
    pub surplus_watch: std::time::Duration,
}

/// What the emits showed.
#[derive(Debug, Serialize)]
pub struct Served {
    /// Always `users`.
    pub scenario: &'static str,
    /// `post`, `batch` or `stream`.
    pub mode: &'static str,
    /// Clients connected, each a user of its own.
    pub clients: usize,
    /// Emits in one POST, or in one write of the stream.
    pub batch_size: u64,
    /// Whether each client received each of its emits once and in order, and no other, and none was
    /// lost. If not, the other figures mean nothing.
    pub valid: bool,
    /// Clients lost, with the first one's reason; any makes the run invalid.
    pub lost: Option<(usize, String)>,
    /// Events older than the one before on the same client; any makes the run invalid.
    pub out_of_order: u64,
    /// Events that were the same as the one before on the same client; any makes the run invalid.
    pub repeated: u64,
    /// Events without `"seq"`; any makes the run invalid.
    pub foreign: u64,
    /// Clients that did not get just the emits that were for them, each once; any makes the run
    /// invalid.
    pub inexact_clients: usize,
    /// Emits accepted.
    pub emits: u64,
    /// Emits accepted each second.
    pub emits_per_second: f64,
    /// Events that clients received.
    pub deliveries: u64,
    /// From the first emit to the last delivery.
    pub seconds: f64,
    /// CPU time of the server in microseconds for each emit, its delivery included.
    pub cpu_us_per_emit: f64,
    /// The part of that in its own code.
    pub user_us_per_emit: f64,
    /// Emits for each second of the server's CPU time.
    pub emits_per_server_cpu_second: f64,
    /// How busy both sides were.
    #[serde(flatten)]
    pub cores: Cores,
    /// How long emits took.
    #[serde(flatten)]
    pub delays: Delays,
    /// What connecting cost.
    pub connect: Connected,
}

/// Connects, warms up, measures.
pub fn measure(subject: &Subject, config: UsersConfig) -> Result<Served, ScenarioError> {
    let mut subject = subject.clone();
    subject.fleet.plan.expect = Expect::Sequence;
    let (mut fleet, connect) = subject.connect()?;
    let batch_size = config.plan.batch;
    let emitter = config.emit.connect(Users::new(config.plan), &fleet)?;
    let (emitter, warm) = warm_up(&mut fleet, emitter, config.warm_up)?;

    let before = Reading::take(&subject.pids())?;
    let (emitter, emitted) = run(&mut fleet, emitter, config.measured)?;
    let spent = before.spent()?;
    fleet.serve_for(config.surplus_watch)?;

    let inexact_clients = inexact(&fleet, emitter.source());
    let faults = fleet.tally.faults;
    Ok(Served {
        scenario: "users",
        mode: config.mode,
        clients: subject.fleet.clients,
        batch_size,
        valid: inexact_clients == 0 && faults.are_none() && fleet.lost.is_empty(),
        lost: fleet.losses(),
        out_of_order: faults.out_of_order,
        repeated: faults.repeated,
        foreign: faults.foreign,
        inexact_clients,
        emits: emitted.count,
        emits_per_second: emitted.count as f64 / spent.seconds,
        deliveries: fleet.tally.events - warm.deliveries,
        seconds: spent.seconds,
        cpu_us_per_emit: spent.server_each(emitted.count),
        user_us_per_emit: micros(spent.server.user) / emitted.count as f64,
        emits_per_server_cpu_second: emitted.count as f64
            / spent.server.total().as_secs_f64().max(f64::MIN_POSITIVE),
        cores: spent.cores(),
        delays: Delays::of(&fleet, &emitted),
        connect,
    })
}

/// How many clients did not get what was sent to them.
fn inexact(fleet: &Fleet, source: &Users) -> usize {
    fleet
        .clients()
        .zip(source.sent())
        .filter(|(client, sent)| (client.events(), client.digest()) != (sent.count, sent.digest))
        .count()
}
