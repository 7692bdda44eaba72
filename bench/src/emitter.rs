//! Emits at a stated pace, or as fast as the server or the clients take them.

use std::{
    collections::VecDeque,
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
};

mod quotes;
mod source;
mod users;

pub use quotes::{QuotePlan, Quotes};
pub use source::{Batch, OneRoom, Sent, Source, Wrapping};
pub use users::{Order, UserPlan, Users};

/// How often the number of deliveries is looked at while waiting for it.
const LOOK: Duration = Duration::from_micros(50);
/// Clients that take nothing for this long end a burst.
const STALL: Duration = Duration::from_secs(20);
/// Events that may be on their way to clients when answers set the pace. With many more the server
/// would give up some clients as too slow.
pub const MAX_UNDELIVERED: u64 = 1 << 16;

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
    /// After so many batches.
    Batches(u64),
    /// After so long.
    Time(Duration),
}

/// What the next batch waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Its time, this long after that of the one before, whatever became of that.
    Every(Duration),
    /// Until all clients have all but so many of the batches.
    Delivered(u64),
    /// Until enough is answered.
    Answered {
        /// Emits that may be unanswered with it.
        emits: u64,
        /// Events that clients may miss before it; no bound where not every event comes.
        undelivered: Option<u64>,
    },
}

/// A stretch of emits, in batches of one or more.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// What each batch waits for.
    pub pace: Pace,
    /// When it is over.
    pub length: Length,
}

impl Burst {
    /// `per_second` batches each second; 0 is as fast as it goes, by `flat`.
    pub fn new(per_second: f64, time: Duration, flat: Pace) -> Self {
        if per_second <= 0.0 {
            return Self {
                pace: flat,
                length: Length::Time(time),
            };
        }
        let batches = (per_second * time.as_secs_f64()).round() as u64;
        Self {
            pace: Pace::Every(Duration::from_secs_f64(per_second.recip())),
            length: Length::Batches(batches),
        }
    }
}

/// What a burst did.
#[derive(Default)]
pub struct Emitted {
    /// Batches that the server accepted.
    pub batches: u64,
    /// Emits in them.
    pub count: u64,
    /// Events that clients get of them, if none is replaced by a newer one.
    pub deliveries: u64,
    /// From when an emit was due to its whole answer.
    pub answer: Histogram,
    /// How much later than due the latest emit left, the emitter's own fault or the server's. It
    /// is part of all latencies, which count from when the emit was due.
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

/// The backend: one connection, and what it sends.
pub struct Emitter<S> {
    /// Where emits go.
    poster: Poster,
    /// What is emitted.
    source: S,
    /// The body being put together.
    body: String,
    /// How far the clients are.
    progress: Arc<Progress>,
    /// Events that clients have when they have all of each batch that they may be missing.
    undelivered: VecDeque<u64>,
}

impl<S: Source> Emitter<S> {
    /// An emitter to clients that tell by `progress` what they got.
    pub fn new(poster: Poster, source: S, progress: Arc<Progress>) -> Self {
        Self {
            poster,
            source,
            body: String::new(),
            progress,
            undelivered: VecDeque::new(),
        }
    }

    /// What was emitted.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Emits until the burst is over and every emit is answered. A pace holds however late the
    /// answers are.
    pub fn run(&mut self, burst: Burst) -> Result<Emitted, EmitError> {
        let mut emitted = Emitted::default();
        let (start, before) = (clock::now(), self.progress.events());
        let mut due = start;
        self.undelivered.clear();
        while !is_over(burst.length, emitted.batches, start) {
            match burst.pace {
                Pace::Every(interval) => {
                    self.wait_until(due, &mut emitted.answer)?;
                    let late = Duration::from_nanos(clock::now().saturating_sub(due));
                    emitted.late = emitted.late.max(late);
                    self.emit(due, &mut emitted)?;
                    due += interval.as_nanos() as u64;
                }
                Pace::Delivered(batches) => {
                    self.wait_for_clients(batches, &mut emitted.answer)?;
                    self.emit(clock::now(), &mut emitted)?;
                    self.undelivered.push_back(before + emitted.deliveries);
                }
                Pace::Answered { emits, undelivered } => {
                    self.wait_for_answers(emits, &mut emitted.answer)?;
                    if let Some(undelivered) = undelivered {
                        let all = before + emitted.deliveries;
                        self.wait_for(all.saturating_sub(undelivered), &mut emitted.answer)?;
                    }
                    self.emit(clock::now(), &mut emitted)?;
                }
            }
        }
        self.poster.settle(&mut emitted.answer)?;
        Ok(emitted)
    }

    fn emit(&mut self, due: u64, emitted: &mut Emitted) -> Result<(), HttpError> {
        self.body.clear();
        let batch = self.source.next(due, &mut self.body);
        self.poster
            .send(&self.body, batch.items, due, &mut emitted.answer)?;
        emitted.batches += 1;
        emitted.count += batch.items;
        emitted.deliveries += batch.deliveries;
        Ok(())
    }

    /// Takes answers until the time has come, and at least what is there.
    fn wait_until(&mut self, due: u64, answer: &mut Histogram) -> Result<(), HttpError> {
        loop {
            let left = due.saturating_sub(clock::now());
            let came = self.poster.receive(Duration::from_nanos(left), answer)?;
            if left == 0 || (!came && clock::now() >= due) {
                return Ok(());
            }
        }
    }

    /// Takes answers until few enough are missing for one more batch.
    fn wait_for_answers(&mut self, emits: u64, answer: &mut Histogram) -> Result<(), EmitError> {
        self.poster.receive(Duration::ZERO, answer)?;
        while self.poster.unanswered() > emits.saturating_sub(self.source.batch()) {
            if !self.poster.receive(STALL, answer)? {
                let source = std::io::ErrorKind::TimedOut.into();
                let doing = "waiting for an emit's answer";
                return Err(HttpError::Io { doing, source }.into());
            }
        }
        Ok(())
    }

    /// Takes answers until the clients miss few enough batches for one more.
    fn wait_for_clients(&mut self, batches: u64, answer: &mut Histogram) -> Result<(), EmitError> {
        while self.undelivered.len() as u64 >= batches.max(1) {
            if let Some(oldest) = self.undelivered.pop_front() {
                self.wait_for(oldest, answer)?;
            }
        }
        Ok(())
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

fn is_over(length: Length, batches: u64, start: u64) -> bool {
    match length {
        Length::Batches(all) => batches >= all,
        Length::Time(time) => clock::now().saturating_sub(start) >= time.as_nanos() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_burst_has_a_count_and_a_flat_one_a_time() {
        let flat = Pace::Delivered(4);
        let paced = Burst::new(50.0, Duration::from_secs(10), flat);
        assert_eq!(paced.pace, Pace::Every(Duration::from_millis(20)));
        assert_eq!(paced.length, Length::Batches(500));
        let fast = Burst::new(0.0, Duration::from_secs(10), flat);
        assert_eq!(fast.pace, flat);
        assert_eq!(fast.length, Length::Time(Duration::from_secs(10)));
    }
}
