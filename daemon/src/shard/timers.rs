//! PURE: when what is due. One ordered set for the whole shard, so that ten thousand idle
//! connections cost no timer each.

use std::{collections::BTreeSet, time::Instant};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A connection's next deadline, by its key.
    Connection(u64),
    /// A conflated room's next value, by its number in `Conflations`.
    Room(u64),
}

/// The ordered set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Instant, Due)>,
}

impl Timers {
    /// Moves a timer from `from` (if it was armed) to `to` (if it shall be).
    pub(crate) fn rearm(&mut self, due: Due, from: Option<Instant>, to: Option<Instant>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.set.remove(&(at, due));
        }
        if let Some(at) = to {
            self.set.insert((at, due));
        }
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        let (at, due) = *self.set.first()?;
        if at > now {
            return None;
        }
        self.set.pop_first();
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pops_in_order_and_only_what_is_due() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.rearm(Due::Connection(1), None, at(20));
        timers.rearm(Due::Connection(2), None, at(10));
        timers.rearm(Due::Room(1), None, at(30));
        timers.rearm(Due::Connection(1), at(20), at(5));
        timers.rearm(Due::Room(1), at(30), None);
        assert_eq!(timers.next(), at(5));
        let now = start + Duration::from_millis(7);
        assert_eq!(timers.pop(now), Some(Due::Connection(1)));
        assert_eq!(timers.pop(now), None);
        assert_eq!(timers.next(), at(10));
    }
}
