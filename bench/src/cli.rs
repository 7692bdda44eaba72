//! Arguments of `tidings-load`.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    client::Plan,
    emitter::Burst,
    fleet::FleetConfig,
    http::Url,
    scenario::{
        EmitConfig, ScenarioError, Subject,
        fanout::{self, Fanout, FanoutConfig},
        idle::{self, Idle, IdleConfig},
    },
    template::{PerClient, Template},
};

/// Loads a Socket.IO server and reports what it took, as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "tidings-load", version)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// All clients in one room: CPU time of the server for each delivery, and latency.
    Fanout(FanoutArgs),
    /// Clients that say nothing: resident memory of the server for each, before and after a flood.
    Idle(IdleArgs),
}

/// A report of any scenario.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of `fanout`.
    Fanout(Fanout),
    /// Of `idle`.
    Idle(Idle),
}

/// The server and its clients.
#[derive(Debug, Args)]
struct SubjectArgs {
    /// Address that clients connect to.
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,
    /// Process of the server, on this machine.
    #[arg(long)]
    pid: u32,
    /// Path of Socket.IO.
    #[arg(long, default_value = "/socket.io/")]
    path: String,
    /// How many clients.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// How many may be connecting at once.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Source addresses to spread over, 127.0.0.2 and up.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=250))]
    sources: u8,
    /// Seconds until all must be connected.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    connect_timeout: f64,
    /// JSON object sent with CONNECT; {n} is the client's number, @FILE has a line for each.
    #[arg(long)]
    auth: Option<PerClient>,
    /// JSON array sent as an event once connected, its acknowledgement awaited; {n} and @FILE too.
    #[arg(long)]
    subscribe: Option<PerClient>,
    /// Where an emit to all clients is posted.
    #[arg(long, value_name = "URL")]
    emit_url: Url,
    /// A header for it, as a whole line; may be given again.
    #[arg(long, value_name = "HEADER")]
    emit_header: Vec<String>,
    /// Its body. {now} in `"ts":{now}` makes latency known, {seq} is the emit's number.
    #[arg(long)]
    emit_body: String,
    /// Emits under way at once when nothing else sets the pace.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
}

/// Arguments of `fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Emits each second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds of the same load before that.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    warm_up: f64,
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Seconds of silence before memory is read.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    settle: f64,
    /// Emits to all clients in the flood; 0 skips it.
    #[arg(long, default_value_t = 100)]
    flood: u64,
}

impl Scenario {
    /// Measures.
    pub fn run(self) -> Result<Report, ScenarioError> {
        match self {
            Self::Fanout(args) => args.run().map(Report::Fanout),
            Self::Idle(args) => args.run().map(Report::Idle),
        }
    }
}

impl Report {
    /// Whether every client got what it should; if not, the figures mean nothing.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Fanout(report) => report.exact,
            Self::Idle(report) => {
                report.lost.is_none() && report.after_flood.as_ref().is_none_or(|flood| flood.exact)
            }
        }
    }
}

impl FanoutArgs {
    fn run(self) -> Result<Fanout, ScenarioError> {
        let burst = |seconds| {
            Burst::new(
                self.rate,
                Duration::from_secs_f64(seconds),
                self.subject.in_flight,
            )
        };
        let config = FanoutConfig {
            warm_up: burst(self.warm_up),
            measured: burst(self.seconds),
        };
        fanout::measure(&self.subject.into(), config)
    }
}

impl IdleArgs {
    fn run(self) -> Result<Idle, ScenarioError> {
        let config = IdleConfig {
            settle: Duration::from_secs_f64(self.settle),
            flood: self.flood,
            in_flight: self.subject.in_flight,
        };
        idle::measure(&self.subject.into(), config)
    }
}

impl From<SubjectArgs> for Subject {
    fn from(args: SubjectArgs) -> Self {
        let plan = Plan {
            host: args.target.to_string(),
            path: args.path,
            auth: args.auth,
            subscribe: args.subscribe,
        };
        let fleet = FleetConfig {
            target: args.target,
            clients: args.clients,
            concurrency: args.concurrency,
            sources: args.sources,
            deadline: Duration::from_secs_f64(args.connect_timeout),
            plan,
        };
        let emit = EmitConfig {
            url: args.emit_url,
            headers: args.emit_header,
            body: Template::parse(&args.emit_body),
        };
        Self {
            pid: args.pid,
            fleet,
            emit,
        }
    }
}

/// A time that is not negative and not absurd.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("2.5"), Ok(2.5));
        for bad in ["-1", "NaN", "inf", "x", "86401"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
