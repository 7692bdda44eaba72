//! CPU time of both sides over a stretch of time.

use std::time::{Duration, Instant};

use crate::process::{ProcessError, Usage};

/// CPU time of both sides at one moment.
pub(super) struct Reading {
    pid: u32,
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

impl Reading {
    /// Reads now; the server is `pid`.
    pub(super) fn take(pid: u32) -> Result<Self, ProcessError> {
        let (server, load) = (Usage::of(pid)?, Usage::of(std::process::id())?);
        Ok(Self {
            pid,
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
        let now = Self::take(self.pid)?;
        Ok(Spent {
            seconds: (end - self.at).as_secs_f64(),
            server: now.server.since(self.server),
            load: now.load.since(self.load),
        })
    }
}

impl Spent {
    /// Cores that the server kept busy.
    pub(super) fn server_cores(&self) -> f64 {
        self.server.total().as_secs_f64() / self.seconds
    }

    /// Cores that this process kept busy.
    pub(super) fn load_cores(&self) -> f64 {
        self.load.total().as_secs_f64() / self.seconds
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
