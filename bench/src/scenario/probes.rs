//! Other clients, who ask something of the server while it is busy. They have a thread and a fleet
//! of their own, so that what they wait for is the server and not the generator's own reading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Serialize;

use super::{ScenarioError, resumed};
use crate::{
    client::Transport,
    clock,
    fleet::{Fleet, FleetConfig, FleetError},
    histogram::Quantiles,
    template::{PerClient, Values},
};

/// The longest sleep of a thread that must also notice that it is to stop.
const TICK: Duration = Duration::from_millis(5);

/// Which clients ask what, and how often.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// How many; none is allowed.
    pub clients: usize,
    /// JSON array of the event that each sends.
    pub event: PerClient,
    /// Time from one event of a client to its next, if the acknowledgement came by then.
    pub interval: Duration,
}

/// What the probes showed.
#[derive(Debug, Serialize)]
pub struct Probed {
    /// Clients that probed.
    pub clients: usize,
    /// Acknowledgements that they got.
    pub acks: u64,
    /// Acknowledgements that said `ok: false`; any makes the run invalid.
    pub refused: u64,
    /// Events that were not acknowledged; any makes the run invalid.
    pub missing: u64,
    /// Clients lost, with the first one's reason; any makes the run invalid.
    pub lost: Option<(usize, String)>,
    /// From a probe's event to its acknowledgement, in microseconds. An event that waits for the
    /// acknowledgement before counts from when it was due.
    pub ack_us: Option<Quantiles>,
}

/// The probes at work.
pub(super) struct Probing {
    thread: JoinHandle<Result<Fleet, FleetError>>,
    stop: Arc<AtomicBool>,
}

/// Connected probes that are silent yet.
pub(super) struct Probes {
    fleet: Fleet,
    config: ProbeConfig,
}

impl Probed {
    /// Whether every event was acknowledged.
    pub fn is_valid(&self) -> bool {
        self.refused == 0 && self.missing == 0 && self.lost.is_none()
    }
}

impl Probes {
    /// Connects probes that subscribe to nothing, beside the clients of `fleet`.
    pub(super) fn connect(
        config: &ProbeConfig,
        fleet: &FleetConfig,
    ) -> Result<Option<Self>, FleetError> {
        if config.clients == 0 {
            return Ok(None);
        }
        let mut own = FleetConfig {
            first: fleet.first + fleet.clients,
            clients: config.clients,
            ..fleet.clone()
        };
        own.plan.subscribe = None;
        own.plan.transport = Transport::WebSocket;
        Ok(Some(Self {
            fleet: Fleet::connect(own)?,
            config: config.clone(),
        }))
    }

    /// Starts to ask.
    pub(super) fn start(self) -> Probing {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || ask_until(self, &stopped));
        Probing { thread, stop }
    }
}

impl Probing {
    /// Stops to ask and waits for the acknowledgements that are due.
    pub(super) fn finish(self) -> Result<Probed, ScenarioError> {
        self.stop.store(true, Ordering::Relaxed);
        let fleet = resumed(self.thread.join())?;
        Ok(Probed {
            clients: fleet.clients().count(),
            acks: fleet.tally.acks.total(),
            refused: fleet.tally.refused_acks,
            missing: waiting(&fleet) as u64,
            lost: fleet.losses(),
            ack_us: fleet.tally.acks.quantiles(),
        })
    }
}

fn ask_until(probes: Probes, stop: &AtomicBool) -> Result<Fleet, FleetError> {
    let Probes { mut fleet, config } = probes;
    let first = fleet.first();
    let events: Vec<String> = (first..first + config.clients)
        .map(|client| {
            let values = Values {
                client,
                ..Values::default()
            };
            config.event.text(values).into_owned()
        })
        .collect();
    let (start, interval) = (clock::now(), config.interval.as_nanos() as u64);
    // Spread over the interval, so that they do not ask all at once.
    let mut due: Vec<u64> = (0..config.clients as u64)
        .map(|index| start + interval * index / config.clients as u64)
        .collect();
    while !stop.load(Ordering::Relaxed) && fleet.lost.is_empty() {
        let mut wait = TICK;
        for (index, event) in events.iter().enumerate() {
            let now = clock::now();
            match fleet.answered(index) {
                Some(answered) if due[index] <= now => {
                    // The thread's own oversleeping is not the server's fault.
                    let since = if answered > due[index] {
                        due[index]
                    } else {
                        now
                    };
                    fleet.ask(index, event, since);
                    due[index] += interval;
                }
                Some(_) => wait = wait.min(Duration::from_nanos(due[index] - now)),
                None => {}
            }
        }
        fleet.turn(wait)?;
    }
    fleet.serve_out(|fleet| waiting(fleet) == 0 || !fleet.lost.is_empty())?;
    Ok(fleet)
}

/// How many probes wait for an acknowledgement.
fn waiting(fleet: &Fleet) -> usize {
    fleet
        .clients()
        .filter(|client| client.answered().is_none())
        .count()
}
