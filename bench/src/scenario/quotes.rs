//! Many rooms, some of them hot, and many of them for each client: what a quote costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Connected, Cores, Delays, EmitConfig, Reading, ScenarioError, Subject, burst, micros, run,
    warm_up,
};
use crate::{
    client::Expect,
    emitter::{Burst, Emitted, Emitter, QuotePlan, Quotes},
    fleet::{Fleet, FleetError},
};

/// Which quotes, and how much of them.
#[derive(Clone, Debug)]
pub struct QuotesConfig {
    /// Where quotes are posted.
    pub emit: EmitConfig,
    /// What they are.
    pub plan: QuotePlan,
    /// Whether every client must get every quote of its symbols; else the newest at the end.
    pub exact: bool,
    /// Quotes before measuring, so that the server is at its pace.
    pub warm_up: Burst,
    /// Quotes while measuring.
    pub measured: Burst,
    /// Silence after which nothing more is expected, where not every quote comes.
    pub quiet: Duration,
}

/// What the quotes showed.
#[derive(Debug, Serialize)]
pub struct Quoted {
    /// Always `quotes`.
    pub scenario: &'static str,
    /// Clients connected.
    pub clients: usize,
    /// Symbols, each a room.
    pub rooms: u32,
    /// Symbols that each client watches.
    pub rooms_per_client: u32,
    /// Whether every quote had to be delivered (`--exact`), or the newest of each symbol at the
    /// end.
    pub exact: bool,
    /// Whether each client received what it had to, and none was lost. If not, the other figures
    /// mean nothing.
    pub valid: bool,
    /// Clients lost, with the first one's reason; any makes the run invalid.
    pub lost: Option<(usize, String)>,
    /// Quotes older than one of the same symbol that the same client had before; any makes the run
    /// invalid.
    pub older_after_newer: u64,
    /// Quotes that the same client had just before; with `exact` any makes the run invalid.
    pub repeated: u64,
    /// Events that are no quote of a symbol that the client watches; any makes the run invalid.
    pub foreign: u64,
    /// How often a client lacked at the end the newest quote of one of its symbols, summed over
    /// clients and symbols; any makes the run invalid.
    pub newest_missing: u64,
    /// Clients that did not get just the quotes that they should, each once; with `exact` any makes
    /// the run invalid, else it is not looked at (none).
    pub inexact_clients: Option<usize>,
    /// Quotes accepted.
    pub quotes: u64,
    /// Quotes accepted each second.
    pub quotes_per_second: f64,
    /// Deliveries if every quote went to each client that watches its symbol.
    pub deliveries_unconflated: u64,
    /// Events that clients received.
    pub deliveries: u64,
    /// From the first quote to the last delivery.
    pub seconds: f64,
    /// Deliveries each second.
    pub deliveries_per_second: f64,
    /// Mean size of a quote's packet.
    pub bytes_per_delivery: f64,
    /// CPU time of the server in microseconds for each quote accepted.
    pub cpu_us_per_quote: f64,
    /// CPU time of the server in microseconds for each delivery.
    pub cpu_us_per_delivery: f64,
    /// The part of that in its own code.
    pub user_us_per_delivery: f64,
    /// How busy both sides were.
    #[serde(flatten)]
    pub cores: Cores,
    /// How long quotes took; what conflation holds back is in it.
    #[serde(flatten)]
    pub delays: Delays,
    /// What connecting and subscribing cost.
    pub connect: Connected,
}

/// What must be known to judge the deliveries.
struct Verdict {
    newest_missing: u64,
    inexact_clients: Option<usize>,
    is_valid: bool,
}

/// Connects, warms up, measures.
pub fn measure(subject: &Subject, config: QuotesConfig) -> Result<Quoted, ScenarioError> {
    let mut subject = subject.clone();
    let symbols = config.plan.symbols;
    subject.fleet.plan.expect = Expect::Quotes(Arc::new(symbols));
    let (mut fleet, connect) = subject.connect()?;
    let source = Quotes::new(config.plan.clone(), subject.fleet.clients);
    let emitter = config.emit.connect(source, &fleet)?;
    let emitter = match config.exact {
        true => warm_up(&mut fleet, emitter, config.warm_up)?.0,
        false => until_quiet(&mut fleet, emitter, config.warm_up, config.quiet)?.0,
    };
    fleet.tally.latency.clear();
    let (bytes, events) = (fleet.tally.bytes, fleet.tally.events);

    let before = Reading::take(&subject.pids())?;
    let (emitter, emitted, spent) = match config.exact {
        true => {
            let (emitter, emitted) = run(&mut fleet, emitter, config.measured)?;
            (emitter, emitted, before.spent()?)
        }
        false => {
            let (emitter, emitted, last) =
                until_quiet(&mut fleet, emitter, config.measured, config.quiet)?;
            (emitter, emitted, before.spent_until(last)?)
        }
    };
    if config.exact {
        // Deliveries that nobody should have got.
        fleet.serve_for(config.quiet / 4)?;
    }

    let verdict = judge(&fleet, emitter.source(), config.exact);
    let deliveries = fleet.tally.events - events;
    let faults = fleet.tally.faults;
    Ok(Quoted {
        scenario: "quotes",
        clients: subject.fleet.clients,
        rooms: symbols.rooms,
        rooms_per_client: symbols.each,
        exact: config.exact,
        valid: verdict.is_valid,
        lost: fleet.losses(),
        older_after_newer: faults.out_of_order,
        repeated: faults.repeated,
        foreign: faults.foreign,
        newest_missing: verdict.newest_missing,
        inexact_clients: verdict.inexact_clients,
        quotes: emitted.count,
        quotes_per_second: emitted.count as f64 / spent.seconds,
        deliveries_unconflated: emitted.deliveries,
        deliveries,
        seconds: spent.seconds,
        deliveries_per_second: deliveries as f64 / spent.seconds,
        bytes_per_delivery: (fleet.tally.bytes - bytes) as f64 / deliveries as f64,
        cpu_us_per_quote: spent.server_each(emitted.count),
        cpu_us_per_delivery: spent.server_each(deliveries),
        user_us_per_delivery: micros(spent.server.user) / deliveries as f64,
        cores: spent.cores(),
        delays: Delays::of(&fleet, &emitted),
        connect,
    })
}

/// Runs a burst, then serves on until nothing has come for `quiet`; also tells when the last event
/// came.
fn until_quiet(
    fleet: &mut Fleet,
    emitter: Emitter<Quotes>,
    wanted: Burst,
    quiet: Duration,
) -> Result<(Emitter<Quotes>, Emitted, Instant), ScenarioError> {
    let (emitter, emitted) = burst(fleet, emitter, wanted)?;
    let last = serve_until_quiet(fleet, quiet)?;
    Ok((emitter, emitted, last))
}

fn serve_until_quiet(fleet: &mut Fleet, quiet: Duration) -> Result<Instant, FleetError> {
    let (mut events, mut last) = (fleet.tally.events, Instant::now());
    fleet.serve_out(|fleet| {
        if fleet.tally.events != events {
            (events, last) = (fleet.tally.events, Instant::now());
        }
        last.elapsed() >= quiet
    })?;
    Ok(last)
}

fn judge(fleet: &Fleet, source: &Quotes, exact: bool) -> Verdict {
    let faults = fleet.tally.faults;
    let newest_missing = fleet
        .clients()
        .map(|client| client.newest_missing(source.newest()))
        .sum();
    let inexact_clients = exact.then(|| {
        let got = fleet
            .clients()
            .map(|client| (client.events(), client.digest()));
        got.enumerate()
            .filter(|(number, got)| {
                let sent = source.sent_to(*number);
                *got != (sent.count, sent.digest)
            })
            .count()
    });
    let came_right = match inexact_clients {
        Some(inexact) => inexact == 0 && faults.repeated == 0,
        None => true,
    };
    Verdict {
        newest_missing,
        inexact_clients,
        is_valid: came_right
            && newest_missing == 0
            && fleet.lost.is_empty()
            && (faults.out_of_order, faults.foreign) == (0, 0),
    }
}
