//! Emits at a stated pace, or as fast as the clients take them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    clock,
    histogram::Histogram,
    http::{HttpError, Poster},
    template::{Template, Values},
};

/// How often the number of deliveries is looked at while waiting for it.
const LOOK: Duration = Duration::from_micros(50);
/// Clients that take nothing for this long end a burst.
const STALL: Duration = Duration::from_secs(20);

/// How far the clients are, told by the thread that reads to the one that emits.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that all clients together have received.
    events: AtomicU64,
}

impl Progress {
    /// Events that all clients together have received.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Tells the emitter how far the clients are.
    pub fn set(&self, events: u64) {
        self.events.store(events, Ordering::Relaxed);
    }
}

/// When a burst is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// After so many emits.
    Emits(u64),
    /// After so long.
    Time(Duration),
}

/// A stretch of emits.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Time from one emit to the next; zero is as fast as it goes.
    pub interval: Duration,
    /// When it is over.
    pub length: Length,
    /// Emits that may be under way before the next one waits until all clients have the oldest.
    pub in_flight: Option<u64>,
}

impl Burst {
    /// `per_second` emits each second; 0 is as fast as it goes, with `in_flight` of them under way.
    pub fn new(per_second: f64, time: Duration, in_flight: u64) -> Self {
        if per_second <= 0.0 {
            let (interval, length) = (Duration::ZERO, Length::Time(time));
            return Self {
                interval,
                length,
                in_flight: Some(in_flight),
            };
        }
        let emits = (per_second * time.as_secs_f64()).round() as u64;
        let interval = Duration::from_secs_f64(per_second.recip());
        Self {
            interval,
            length: Length::Emits(emits),
            in_flight: None,
        }
    }
}

/// What a burst did.
#[derive(Default)]
pub struct Emitted {
    /// Emits that the server accepted.
    pub count: u64,
    /// From writing an emit to its whole answer.
    pub answer: Histogram,
    /// How much later than planned the latest emit left: the emitter's own fault or the server's.
    pub late: Duration,
}

/// A burst ended early.
#[derive(Debug, Error)]
pub enum EmitError {
    /// The server did not accept an emit.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Deliveries stopped.
    #[error("clients got {got} of {expected} events and then nothing for {STALL:?}")]
    Stalled {
        /// Events received.
        got: u64,
        /// Events that the next emit waited for.
        expected: u64,
    },
}

/// The backend: one connection, one body.
pub struct Emitter {
    /// Where emits go.
    poster: Poster,
    /// What is posted.
    body: Template,
    /// The body being put together.
    rendered: String,
    /// How many clients each emit reaches.
    clients: u64,
    /// Emits so far, over all bursts.
    sequence: u64,
    /// How far the clients are.
    progress: Arc<Progress>,
}

impl Emitter {
    /// An emitter whose emits each reach `clients` clients, which tell by `progress`.
    pub fn new(poster: Poster, body: Template, clients: usize, progress: Arc<Progress>) -> Self {
        Self {
            poster,
            body,
            rendered: String::new(),
            clients: clients as u64,
            sequence: 0,
            progress,
        }
    }

    /// How many clients each emit reaches.
    pub fn clients(&self) -> u64 {
        self.clients
    }

    /// Emits until the burst is over and every emit is answered. The pace holds however late the
    /// answers are.
    pub fn run(&mut self, burst: Burst) -> Result<Emitted, EmitError> {
        let mut emitted = Emitted::default();
        let delivered = self.progress.events();
        let start = Instant::now();
        let mut due = start;
        while !is_over(burst.length, emitted.count, start) {
            if let Some(in_flight) = burst.in_flight {
                let settled = (emitted.count + 1).saturating_sub(in_flight);
                self.wait_for(delivered + settled * self.clients, &mut emitted.answer)?;
            } else {
                self.wait_until(due, &mut emitted.answer)?;
                emitted.late = emitted.late.max(due.elapsed());
            }
            self.emit()?;
            emitted.count += 1;
            due += burst.interval;
        }
        self.poster.settle(&mut emitted.answer)?;
        Ok(emitted)
    }

    fn emit(&mut self) -> Result<(), HttpError> {
        self.rendered.clear();
        let values = Values {
            sequence: self.sequence,
            now: clock::now(),
            client: 0,
        };
        self.body.render(values, &mut self.rendered);
        self.sequence += 1;
        self.poster.post(&self.rendered)
    }

    /// Takes answers until the time has come.
    fn wait_until(&mut self, due: Instant, answer: &mut Histogram) -> Result<(), HttpError> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.poster.receive(left, answer)?;
        }
    }

    /// Takes answers until the clients have so many events.
    fn wait_for(&mut self, expected: u64, answer: &mut Histogram) -> Result<(), EmitError> {
        let mut got = self.progress.events();
        let mut since = Instant::now();
        while got < expected {
            if since.elapsed() > STALL {
                return Err(EmitError::Stalled { got, expected });
            }
            self.poster.receive(LOOK, answer)?;
            let next = self.progress.events();
            if next != got {
                (got, since) = (next, Instant::now());
            }
        }
        Ok(())
    }
}

fn is_over(length: Length, count: u64, start: Instant) -> bool {
    match length {
        Length::Emits(emits) => count >= emits,
        Length::Time(time) => start.elapsed() >= time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_burst_has_a_count_and_a_flat_one_a_bound() {
        let paced = Burst::new(50.0, Duration::from_secs(10), 4);
        assert_eq!(paced.interval, Duration::from_millis(20));
        assert_eq!((paced.length, paced.in_flight), (Length::Emits(500), None));
        let flat = Burst::new(0.0, Duration::from_secs(10), 4);
        assert_eq!(flat.interval, Duration::ZERO);
        assert_eq!(flat.length, Length::Time(Duration::from_secs(10)));
        assert_eq!(flat.in_flight, Some(4));
    }
}
