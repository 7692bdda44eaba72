//! CPU time of both sides over a stretch of time.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{ProcessError, Usage};

/// CPU time of both sides at one moment.
pub(super) struct Reading {
    pids: Vec<u32>,
    at: Instant,
    server: Usage,
    load: Usage,
}

/// What was used from one reading to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) server: Usage,
    pub(super) load: Usage,
}

/// How busy both sides were.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cores {
    /// Cores that the server kept busy.
    pub server_cores: f64,
    /// Cores that this process kept busy; near 1 in any of its threads it may be the limit.
    pub load_cores: f64,
}

impl Reading {
    /// Reads now; the server is all of `pids`.
    pub(super) fn take(pids: &[u32]) -> Result<Self, ProcessError> {
        let mut server = Usage::default();
        for pid in pids {
            server = server.and(Usage::of(*pid)?);
        }
        let load = Usage::of(std::process::id())?;
        Ok(Self {
            pids: pids.to_vec(),
            at: Instant::now(),
            server,
            load,
        })
    }

    /// What was used from then until now.
    pub(super) fn spent(&self) -> Result<Spent, ProcessError> {
        self.spent_until(Instant::now())
    }

    /// What was used from then until now, taken as the work of the time until `end`: nothing
    /// happened after it.
    pub(super) fn spent_until(&self, end: Instant) -> Result<Spent, ProcessError> {
        let now = Self::take(&self.pids)?;
        Ok(Spent {
            seconds: (end - self.at).as_secs_f64(),
            server: now.server.since(self.server),
            load: now.load.since(self.load),
        })
    }
}

impl Spent {
    /// How busy both sides were.
    pub(super) fn cores(&self) -> Cores {
        let busy = |usage: Usage| usage.total().as_secs_f64() / self.seconds;
        Cores {
            server_cores: busy(self.server),
            load_cores: busy(self.load),
        }
    }

    /// The server's CPU time in microseconds for each of `count`.
    pub(super) fn server_each(&self, count: u64) -> f64 {
        micros(self.server.total()) / count as f64
    }
}

/// A time as reports state it.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
