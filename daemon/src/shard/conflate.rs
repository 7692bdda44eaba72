//! PURE: at most one value per interval for each conflated room, always the newest.
//!
//! The first value passes at once and opens an interval; what arrives within it waits, each newer
//! value taking the place of the one before, and the last is due when the interval ends. Values
//! carry the node's stamp, so that one that was overtaken on its way is dropped, never delivered
//! after a newer one.
//!
//! The first interval of a row is a little longer than the others, so that the ends of many rooms'
//! intervals fall together: values that are due together are written together, and the kernel does
//! one thing for many clients at a time rather than many things one at a time.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;

use super::rooms::NamespaceId;

/// Ends of intervals fall on so many points of each, but not closer than `FINEST` or farther apart
/// than `COARSEST`.
const POINTS: u32 = 8;
const FINEST: Duration = Duration::from_millis(1);
const COARSEST: Duration = Duration::from_millis(50);

/// The part of an interval by which a delivery may be late and the next one still on time.
const LATE: u32 = 16;

#[derive(Debug)]
struct State<T> {
    namespace: NamespaceId,
    room: Arc<str>,
    /// The stamp of the newest value seen.
    stamp: u64,
    /// The value that members have.
    delivered: Option<T>,
    interval: Duration,
    /// When the interval ends that the last delivery opened.
    ends: Option<Instant>,
    /// The value that waits for that.
    waiting: Option<T>,
}

/// What to do with a value that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Deliver it now.
    Now,
    /// It waits; arm the room's timer.
    Later {
        /// The room's number for its timer.
        room: u64,
        /// When its interval ends.
        at: Instant,
    },
    /// It waits in the place of an older one; the timer is armed already.
    Replaced,
    /// A newer one was seen already.
    Stale,
}

/// The conflated rooms of one shard that have members.
#[derive(Debug)]
pub(crate) struct Conflations<T> {
    /// Where the points are counted from.
    origin: Instant,
    states: Slab<State<T>>,
    by_name: HashMap<NamespaceId, HashMap<Arc<str>, usize>>,
}

impl<T> Conflations<T> {
    /// No rooms yet; ends of intervals are counted from `origin`.
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            states: Slab::new(),
            by_name: HashMap::new(),
        }
    }
}

impl<T: Clone> Conflations<T> {
    /// Takes in a value.
    pub(crate) fn arrive(
        &mut self,
        (namespace, room): (NamespaceId, &Arc<str>),
        stamp: u64,
        value: &T,
        interval: Duration,
        now: Instant,
    ) -> Arrival {
        let number = self.number(namespace, room);
        let state = &mut self.states[number];
        if stamp <= state.stamp {
            return Arrival::Stale;
        }
        state.stamp = stamp;
        state.interval = interval;
        if let Some(waiting) = &mut state.waiting {
            *waiting = value.clone();
            return Arrival::Replaced;
        }
        match state.ends {
            Some(at) if at > now => {
                state.waiting = Some(value.clone());
                Arrival::Later {
                    room: number as u64,
                    at,
                }
            }
            _ => {
                state.delivered = Some(value.clone());
                state.ends = Some(point(self.origin, now + interval, interval));
                Arrival::Now
            }
        }
    }

    /// The interval of a room ended: the value to deliver.
    pub(crate) fn due(&mut self, room: u64, now: Instant) -> Option<(NamespaceId, Arc<str>, T)> {
        let state = self.states.get_mut(room as usize)?;
        let value = state.waiting.take()?;
        // From when it ended, as the shard looks a little late; not if that made the next one short.
        let ends = match state.ends {
            Some(ended) if now < ended + state.interval / LATE => ended + state.interval,
            _ => point(self.origin, now + state.interval, state.interval),
        };
        state.delivered = Some(value.clone());
        state.ends = Some(ends);
        Some((state.namespace, state.room.clone(), value))
    }

    /// The value that the room's members have.
    pub(crate) fn delivered(&self, namespace: NamespaceId, room: &str) -> Option<&T> {
        let number = *self.by_name.get(&namespace)?.get(room)?;
        self.states[number].delivered.as_ref()
    }

    /// Forgets a room without members; returns its number and armed timer.
    pub(crate) fn forget(&mut self, namespace: NamespaceId, room: &str) -> Option<(u64, Instant)> {
        let names = self.by_name.get_mut(&namespace)?;
        let number = names.remove(room)?;
        if names.is_empty() {
            self.by_name.remove(&namespace);
        }
        let state = self.states.remove(number);
        state.waiting.and(state.ends).map(|at| (number as u64, at))
    }

    fn number(&mut self, namespace: NamespaceId, room: &Arc<str>) -> usize {
        let names = self.by_name.entry(namespace).or_default();
        if let Some(number) = names.get(&**room) {
            return *number;
        }
        let number = self.states.insert(State {
            namespace,
            room: room.clone(),
            stamp: 0,
            delivered: None,
            interval: Duration::ZERO,
            ends: None,
            waiting: None,
        });
        names.insert(room.clone(), number);
        number
    }
}

/// The first point that is not before `time`; points are counted from `origin`.
fn point(origin: Instant, time: Instant, interval: Duration) -> Instant {
    let apart = (interval / POINTS).clamp(FINEST, COARSEST).as_nanos();
    let since = time.saturating_duration_since(origin).as_nanos();
    let to_go = since.next_multiple_of(apart) - since;
    time + Duration::from_nanos(to_go as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    fn room() -> Arc<str> {
        Arc::from("quote:AAPL")
    }

    #[test]
    fn first_at_once_then_the_newest_per_interval() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let room = room();
        let mut rooms = Conflations::new(start);
        let arrive = |rooms: &mut Conflations<_>, stamp, ms| {
            rooms.arrive((0, &room), stamp, &stamp, INTERVAL, at(ms))
        };
        assert_eq!(arrive(&mut rooms, 1, 0), Arrival::Now);
        assert_eq!(
            arrive(&mut rooms, 2, 100),
            Arrival::Later {
                room: 0,
                at: at(250)
            }
        );
        assert_eq!(arrive(&mut rooms, 4, 150), Arrival::Replaced);
        assert_eq!(arrive(&mut rooms, 3, 160), Arrival::Stale);
        assert_eq!(rooms.delivered(0, "quote:AAPL"), Some(&1));
        assert_eq!(rooms.due(0, at(250)).map(|(_, _, value)| value), Some(4));
        assert_eq!(rooms.due(0, at(251)), None);
        assert_eq!(
            arrive(&mut rooms, 5, 499),
            Arrival::Later {
                room: 0,
                at: at(500)
            }
        );
        assert_eq!(rooms.due(0, at(500)).map(|(_, _, value)| value), Some(5));
        assert_eq!(arrive(&mut rooms, 6, 750), Arrival::Now);
    }

    #[test]
    fn ends_of_intervals_fall_together() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rooms = Conflations::new(start);
        let mut ends = Vec::new();
        for (room, ms) in [("a", 0), ("b", 3), ("c", 20), ("d", 40)] {
            let room = Arc::from(room);
            rooms.arrive((0, &room), 1, &1, INTERVAL, at(ms));
            match rooms.arrive((0, &room), 2, &2, INTERVAL, at(ms + 1)) {
                Arrival::Later { at, .. } => ends.push(at - start),
                other => panic!("{other:?}"),
            }
        }
        // Points are an eighth of the interval apart: 31.25 ms.
        let points = [8, 9, 9, 10].map(|point| Duration::from_micros(31_250) * point);
        assert_eq!(ends, points);
        // From there on each interval has its own length, though the shard looks a little late.
        rooms.due(1, at(284));
        match rooms.arrive((0, &Arc::from("b")), 3, &3, INTERVAL, at(290)) {
            Arrival::Later { at, .. } => assert_eq!(at - start, points[1] + INTERVAL),
            other => panic!("{other:?}"),
        }
        // After a stall a whole interval passes.
        rooms.due(1, at(2000));
        match rooms.arrive((0, &Arc::from("b")), 4, &4, INTERVAL, at(2001)) {
            Arrival::Later { at: ends, .. } => assert!(ends >= at(2250)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_forgotten_room_returns_its_timer() {
        let start = Instant::now();
        let mut rooms = Conflations::new(start);
        rooms.arrive((0, &room()), 1, &1, INTERVAL, start);
        rooms.arrive((0, &room()), 2, &2, INTERVAL, start);
        assert_eq!(rooms.forget(0, "quote:AAPL"), Some((0, start + INTERVAL)));
        assert_eq!(rooms.forget(0, "quote:AAPL"), None);
        assert_eq!(rooms.delivered(0, "quote:AAPL"), None);
    }
}
