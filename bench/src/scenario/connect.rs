//! Everybody connects, authenticates and subscribes: what that costs, and how long it takes.

use std::time::Duration;

use serde::Serialize;

use super::{Cores, Reading, ScenarioError, Subject, micros};
use crate::{
    fleet::{Fleet, OnRefusal},
    histogram::Quantiles,
};

/// How connecting goes on.
#[derive(Clone, Copy, Debug)]
pub struct ConnectConfig {
    /// Whether a client that was refused or lost tries again after 100 to 1000 ms, as real ones do;
    /// else it stays away, and the run is invalid.
    pub retry: bool,
    /// Serving this much longer shows clients that are thrown out again.
    pub watch: Duration,
}

/// What connecting showed.
#[derive(Debug, Serialize)]
pub struct Arrived {
    /// Always `connect`.
    pub scenario: &'static str,
    /// Clients that were to connect.
    pub clients: usize,
    /// How many might be on their way at once.
    pub concurrency: usize,
    /// Clients that were connected, authenticated and subscribed.
    pub ready: usize,
    /// Whether all got ready and none was lost after that. If not, the other figures are of those
    /// that did.
    pub valid: bool,
    /// How often a client was refused or lost on its way; more than clients, if some were again.
    pub refused: u64,
    /// The reason given the first time.
    pub refusal: Option<String>,
    /// Clients lost after all were ready, with the first one's reason; any makes the run invalid.
    pub lost: Option<(usize, String)>,
    /// From the first connection's start until the last client was ready.
    pub seconds: f64,
    /// Clients that got ready each second of that.
    pub connections_per_second: f64,
    /// CPU time of the server for each client that got ready, in microseconds.
    pub cpu_us_per_client: f64,
    /// The part of that in its own code.
    pub user_us_per_client: f64,
    /// How busy both sides were.
    #[serde(flatten)]
    pub cores: Cores,
    /// From a client's first try to connect until it was ready, in microseconds. A connection that
    /// the kernel dropped from a full backlog shows as a second or more, a retry by its wait.
    pub ready_us: Option<Quantiles>,
}

/// Connects.
pub fn measure(subject: &Subject, config: ConnectConfig) -> Result<Arrived, ScenarioError> {
    let on_refusal = match config.retry {
        true => OnRefusal::Retry,
        false => OnRefusal::GiveUp,
    };
    let mut fleet = Fleet::new(subject.fleet.clone())?;
    let before = Reading::take(&subject.pids())?;
    let gathered = fleet.gather(on_refusal)?;
    let spent = before.spent()?;
    fleet.serve_for(config.watch)?;
    Ok(Arrived {
        scenario: "connect",
        clients: subject.fleet.clients,
        concurrency: subject.fleet.concurrency,
        ready: gathered.ready,
        valid: gathered.ready == subject.fleet.clients && fleet.lost.is_empty(),
        refused: gathered.refused,
        refusal: gathered.refusal,
        lost: fleet.losses(),
        seconds: gathered.time.as_secs_f64(),
        connections_per_second: gathered.ready as f64 / gathered.time.as_secs_f64(),
        cpu_us_per_client: spent.server_each(gathered.ready as u64),
        user_us_per_client: micros(spent.server.user) / gathered.ready as f64,
        cores: spent.cores(),
        ready_us: fleet.tally.ready_after.quantiles(),
    })
}
