//! Clients that only count what somebody else emits: beside another run, they show whether its
//! generator is the limit.

use std::time::Duration;

use serde::Serialize;

use super::{Connected, Cores, Reading, ScenarioError, Subject};
use crate::histogram::Quantiles;

/// What the clients saw.
#[derive(Debug, Serialize)]
pub struct Listened {
    /// Always `fanout`, of which it is a part.
    pub scenario: &'static str,
    /// Always true.
    pub external_emits: bool,
    /// Clients in the room.
    pub clients: usize,
    /// Events that clients received since all were ready.
    pub deliveries: u64,
    /// The fewest events that any client received.
    pub events_least: u64,
    /// The most. They are the same if emits began after all were ready and ended before the end.
    pub events_most: u64,
    /// Whether events came in order, none twice, and no client was lost. If not, the other figures
    /// mean nothing.
    pub exact: bool,
    /// Clients lost, with the first one's reason.
    pub lost: Option<(usize, String)>,
    /// Events that were not newer than the one before on the same client.
    pub out_of_order: u64,
    /// How long was listened.
    pub seconds: f64,
    /// Deliveries each second of that.
    pub deliveries_per_second: f64,
    /// How busy both sides were, the server with all its clients.
    #[serde(flatten)]
    pub cores: Cores,
    /// From when the emit was due to delivery, in microseconds, by the stamps of the other process.
    pub latency_us: Option<Quantiles>,
    /// What connecting cost.
    pub connect: Connected,
}

/// Connects, and counts for `time`.
pub fn measure(subject: &Subject, time: Duration) -> Result<Listened, ScenarioError> {
    let (mut fleet, connect) = subject.connect()?;
    let events = fleet.tally.events;
    let before = Reading::take(&subject.pids())?;
    fleet.serve_for(time)?;
    let spent = before.spent()?;
    let deliveries = fleet.tally.events - events;
    let (events_least, events_most) = fleet.events_per_client();
    Ok(Listened {
        scenario: "fanout",
        external_emits: true,
        clients: subject.fleet.clients,
        deliveries,
        events_least,
        events_most,
        exact: fleet.lost.is_empty() && fleet.tally.faults.are_none(),
        lost: fleet.losses(),
        out_of_order: fleet.tally.faults.not_newer(),
        seconds: spent.seconds,
        deliveries_per_second: deliveries as f64 / spent.seconds,
        cores: spent.cores(),
        latency_us: fleet.tally.latency.quantiles(),
        connect,
    })
}
