//! Getting all clients connected, as many at once as allowed.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use super::{Fleet, FleetError, TICK, clock};
use crate::random::Random;

/// A client that was refused waits so many milliseconds at least before it tries again,
const RETRY_MIN_MS: u64 = 100;
/// and less than so many.
const RETRY_MAX_MS: u64 = 1000;

/// What follows when a client is refused or lost before all are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// Connecting has failed.
    Fail,
    /// It stays away.
    GiveUp,
    /// It tries again after a random time, as real clients do.
    Retry,
}

/// How connecting went.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Clients that are ready.
    pub ready: usize,
    /// How often a client was refused or lost.
    pub refused: u64,
    /// The reason given the first time.
    pub refusal: Option<String>,
    /// Until all were ready, or it was given up.
    pub time: Duration,
}

/// Clients that are neither ready nor on their way.
struct Absent {
    /// Clients that stay away.
    gone: usize,
    /// When which client tries again.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Chooses when.
    random: Random,
}

impl Fleet {
    /// Connects all clients and waits until each is ready or stays away, or the deadline is over.
    /// Where a refusal is a failure, so is a deadline that is missed.
    pub fn gather(&mut self, on_refusal: OnRefusal) -> Result<Gathered, FleetError> {
        let start = Instant::now();
        let mut gathered = Gathered::default();
        let mut absent = Absent {
            gone: 0,
            waiting: BinaryHeap::new(),
            random: Random::new(0),
        };
        while self.tally.ready + absent.gone < self.config.clients {
            if start.elapsed() > self.config.deadline {
                if on_refusal == OnRefusal::Fail {
                    return Err(self.too_slow());
                }
                break;
            }
            self.open_next(&mut absent)?;
            self.turn(TICK)?;
            self.settle_losses(on_refusal, &mut absent, &mut gathered)?;
        }
        (gathered.ready, gathered.time) = (self.tally.ready, start.elapsed());
        Ok(gathered)
    }

    /// Opens as many sockets as may be on their way, those whose time has come again first.
    fn open_next(&mut self, absent: &mut Absent) -> Result<(), FleetError> {
        let now = clock::now();
        while let Some(&Reverse((due, index))) = absent.waiting.peek()
            && due <= now
        {
            absent.waiting.pop();
            let since = self.connections[index].client.since();
            self.connections[index] = self.open(index, since)?;
        }
        let settled = self.tally.ready + absent.gone + absent.waiting.len();
        let allowed = self.config.clients.min(settled + self.config.concurrency);
        while self.connections.len() < allowed {
            let connection = self.open(self.connections.len(), clock::now())?;
            self.connections.push(connection);
        }
        Ok(())
    }

    fn settle_losses(
        &mut self,
        on_refusal: OnRefusal,
        absent: &mut Absent,
        gathered: &mut Gathered,
    ) -> Result<(), FleetError> {
        for (index, loss) in std::mem::take(&mut self.lost) {
            gathered.refused += 1;
            gathered.refusal.get_or_insert_with(|| loss.to_string());
            self.tally.ready -= usize::from(self.connections[index].client.is_ready());
            match on_refusal {
                OnRefusal::Fail => {
                    return Err(FleetError::Lost {
                        client: self.config.first + index,
                        ready: self.tally.ready,
                        loss,
                    });
                }
                OnRefusal::GiveUp => absent.gone += 1,
                OnRefusal::Retry => {
                    let wait = RETRY_MIN_MS + absent.random.below(RETRY_MAX_MS - RETRY_MIN_MS);
                    let due = clock::now() + wait * 1_000_000;
                    absent.waiting.push(Reverse((due, index)));
                }
            }
        }
        Ok(())
    }

    fn too_slow(&self) -> FleetError {
        FleetError::Slow {
            ready: self.tally.ready,
            clients: self.config.clients,
            deadline: self.config.deadline,
        }
    }
}
