//! Arguments of `fanout`.

use std::time::Duration;

use clap::Args;

use super::{
    Report,
    common::{EmitArgs, PaceArgs, SubjectArgs, rate},
};
use crate::{
    client::Expect,
    emitter::Pace,
    http::Framing,
    scenario::{
        ScenarioError,
        fanout::{self, FanoutConfig},
        listen,
        probes::ProbeConfig,
    },
    template::{PerClient, Template},
};

/// Arguments of `fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    emit: EmitArgs,
    /// Emits under way at once when nothing else sets the pace.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// Emits each second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    #[command(flatten)]
    pace: PaceArgs,
    /// Further clients that subscribe to nothing, and each ask something of the server over and
    /// over while it is measured.
    #[arg(long, default_value_t = 0)]
    probes: usize,
    /// JSON array of the event that they send; {n} and @FILE too. By default the one of
    /// --subscribe; better one that joins no room.
    #[arg(long, value_name = "JSON")]
    probe_event: Option<PerClient>,
    /// Time from one event of a probe to its next, unless that waits for the acknowledgement.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    probe_interval_ms: u64,
    /// Emit nothing: only count, for --seconds, what another process emits to the same room.
    #[arg(long)]
    external_emits: bool,
}

impl FanoutArgs {
    pub(super) fn run(self) -> Result<Report, ScenarioError> {
        if self.external_emits {
            let subject = self.subject.subject(Expect::Stamps)?;
            let listened = listen::measure(&subject, self.pace.time())?;
            return Ok(Report::Listened(Box::new(listened)));
        }
        let config = self.config();
        let subject = self.subject.subject(Expect::Stamps)?;
        Ok(Report::Fanout(Box::new(fanout::measure(&subject, config)?)))
    }

    fn config(&self) -> FanoutConfig {
        let flat = Pace::Delivered(self.in_flight);
        let (measured, warm_up) = self.pace.bursts(self.rate, flat);
        let event = self.probe_event.as_ref().or(self.subject.subscribe());
        let probes = ProbeConfig {
            clients: self.probes,
            event: event.cloned().unwrap_or_else(default_probe),
            interval: Duration::from_millis(self.probe_interval_ms),
        };
        FanoutConfig {
            emit: self.emit.config(Framing::Requests),
            body: Template::parse(&self.emit.emit_body),
            warm_up,
            measured,
            probes,
        }
    }
}

/// What a probe asks where nothing is said: servers acknowledge what they do not know, too.
fn default_probe() -> PerClient {
    PerClient::Template(Template::parse("[\"probe\"]"))
}
