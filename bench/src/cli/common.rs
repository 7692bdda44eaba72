//! Arguments that several scenarios have.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    client::{Expect, Plan, Transport},
    emitter::{Burst, Pace},
    fleet::{FleetConfig, Tls},
    http::{Framing, Url},
    scenario::{EmitConfig, ScenarioError, Subject},
    template::PerClient,
};

/// Deliveries may trail the last emit by this much before they count as missing.
const GRACE: Duration = Duration::from_secs(20);

/// The server and its clients.
#[derive(Debug, Args)]
pub(super) struct SubjectArgs {
    /// Address that clients connect to.
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,
    /// Process of the server, on this machine.
    #[arg(long)]
    pid: u32,
    /// A further process whose CPU time counts as the server's; may be given again.
    #[arg(long, value_name = "PID")]
    beside: Vec<u32>,
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
    /// How clients are connected; probes always by WebSocket.
    #[arg(long, value_enum, default_value_t = Transport::WebSocket)]
    transport: Transport,
    /// Clients speak TLS; emits do not. Each shakes hands in full.
    #[arg(long, requires = "ca")]
    tls: bool,
    /// PEM file of the authority that vouches for the address in --target, or of the server's own
    /// certificate.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// JSON object sent with CONNECT; {n} is the client's number, @FILE has a line for each.
    #[arg(long)]
    auth: Option<PerClient>,
    /// JSON array sent as an event once connected, its acknowledgement awaited; {n} and @FILE too.
    #[arg(long)]
    subscribe: Option<PerClient>,
}

/// Where emits go.
#[derive(Debug, Args)]
pub(super) struct EmitArgs {
    /// Where emits are posted.
    #[arg(long, value_name = "URL")]
    emit_url: Url,
    /// A header for it, as a whole line; may be given again.
    #[arg(long, value_name = "HEADER")]
    emit_header: Vec<String>,
    /// Its body. {now} in `"ts":{now}` makes latency known, {seq} is the emit's number.
    #[arg(long)]
    pub(super) emit_body: String,
}

/// How much is emitted, and for how long.
#[derive(Debug, Args)]
pub(super) struct PaceArgs {
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds of the same load before that.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    warm_up: f64,
}

impl PaceArgs {
    /// What is measured, and the warm-up before: `rate` batches each second, or by `flat`.
    pub(super) fn bursts(&self, rate: f64, flat: Pace) -> (Burst, Burst) {
        let burst = |seconds| Burst::new(rate, Duration::from_secs_f64(seconds), flat);
        (burst(self.seconds), burst(self.warm_up))
    }

    /// Time to measure.
    pub(super) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl SubjectArgs {
    /// How many clients.
    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    /// What each client sends to subscribe.
    pub(super) fn subscribe(&self) -> Option<&PerClient> {
        self.subscribe.as_ref()
    }

    /// The server and clients that check events by `expect`.
    pub(super) fn subject(self, expect: Expect) -> Result<Subject, ScenarioError> {
        let tls = self.tls()?;
        let plan = Plan {
            host: self.target.to_string(),
            path: self.path,
            auth: self.auth,
            subscribe: self.subscribe,
            expect,
            transport: self.transport,
        };
        let fleet = FleetConfig {
            target: self.target,
            clients: self.clients,
            first: 0,
            concurrency: self.concurrency,
            sources: self.sources,
            deadline: Duration::from_secs_f64(self.connect_timeout),
            grace: GRACE,
            tls,
            plan,
        };
        Ok(Subject {
            pid: self.pid,
            beside: self.beside,
            fleet,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ScenarioError> {
        let Some(path) = self.ca.as_ref().filter(|_| self.tls) else {
            return Ok(None);
        };
        let authorities = fs::read(path).map_err(|source| ScenarioError::Authority {
            path: path.clone(),
            source,
        })?;
        Ok(Some(Tls::new(&authorities, self.target)?))
    }
}

impl EmitArgs {
    /// Where emits go, and how they are put there.
    pub(super) fn config(&self, framing: Framing) -> EmitConfig {
        EmitConfig {
            url: self.emit_url.clone(),
            headers: self.emit_header.clone(),
            framing,
        }
    }
}

/// A time that is not negative and not absurd.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
}

/// A rate that is not negative and not absurd.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=10_000_000.0).contains(&value) => Ok(value),
        _ => Err("a number each second from 0 to 10000000 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(seconds("2.5"), Ok(2.5));
        for bad in ["-1", "NaN", "inf", "x", "86401"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("0"), Ok(0.0));
        for bad in ["-1", "NaN", "inf", "x", "1e9"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
