//! The last value of each conflated room, for those who subscribe later, and the stamps that put
//! the values of a room in one order.
//!
//! A node without members of a room is not told its values by the peers, so what it has may be old:
//! it asks them when the first member comes, and takes what was accepted later than its own.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    event::{Emit, Event},
    shard::rooms::NamespaceId,
};

const STRIPES: usize = 64;

/// Rooms remembered in each stripe, 128 Ki in all. Beyond it the one that was written to the
/// longest ago gives way: its next subscriber starts without a last value.
const ROOMS_PER_STRIPE: usize = 2048;

#[derive(Debug, Default)]
struct Stripe {
    /// The last stamp given out. Stamps rise within a stripe, and so within a room, even for a
    /// room that was forgotten and came back.
    stamp: u64,
    rooms: HashMap<(NamespaceId, Arc<str>), Value>,
}

/// A room's last value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Its place among the room's values on this node.
    stamp: u64,
    /// When a node accepted it.
    pub(crate) at: Instant,
    pub(crate) emit: Arc<Emit>,
}

/// The last values.
#[derive(Debug)]
pub(crate) struct Latest {
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
}

impl Default for Latest {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self {
            stripes,
            hasher: RandomState::new(),
        }
    }
}

impl Latest {
    /// Stamps a room's next value and remembers it.
    pub(crate) fn put(
        &self,
        namespace: NamespaceId,
        room: &Arc<str>,
        make: impl FnOnce(u64) -> Emit,
    ) -> Arc<Emit> {
        self.stripe(room).put(namespace, room, Instant::now(), make)
    }

    /// The same for a value that another node accepted a while ago, unless a later one is known, or
    /// the same: nodes measure an age from when a value reached them, so two that have one value
    /// disagree a little on its age.
    pub(crate) fn put_late(
        &self,
        namespace: NamespaceId,
        room: &Arc<str>,
        (event, at): (&Event, Instant),
        make: impl FnOnce(u64) -> Emit,
    ) -> Option<Arc<Emit>> {
        let mut stripe = self.stripe(room);
        if let Some(known) = stripe.rooms.get_mut(&(namespace, room.clone())) {
            if known.at >= at {
                return None;
            }
            if known.emit.body.carries(event) {
                known.at = at;
                return None;
            }
        }
        Some(stripe.put(namespace, room, at, make))
    }

    /// A room's last value.
    pub(crate) fn find(&self, namespace: NamespaceId, room: &Arc<str>) -> Option<Value> {
        let stripe = self.stripe(room);
        stripe.rooms.get(&(namespace, room.clone())).cloned()
    }

    fn stripe(&self, room: &str) -> MutexGuard<'_, Stripe> {
        self.stripes[self.hasher.hash_one(room) as usize % STRIPES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stripe {
    fn put(
        &mut self,
        namespace: NamespaceId,
        room: &Arc<str>,
        at: Instant,
        make: impl FnOnce(u64) -> Emit,
    ) -> Arc<Emit> {
        self.stamp += 1;
        let stamp = self.stamp;
        let emit = Arc::new(make(stamp));
        let value = Value {
            stamp,
            at,
            emit: emit.clone(),
        };
        self.rooms.insert((namespace, room.clone()), value);
        if self.rooms.len() > ROOMS_PER_STRIPE {
            self.forget_oldest();
        }
        emit
    }

    /// Forgets the older half of a sixteenth: one look at all rooms for many insertions.
    fn forget_oldest(&mut self) {
        let mut stamps: Vec<u64> = self.rooms.values().map(|value| value.stamp).collect();
        let (_, bound, _) = stamps.select_nth_unstable(ROOMS_PER_STRIPE / 32);
        let bound = *bound;
        self.rooms.retain(|_, value| value.stamp > bound);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Body, Delivery};

    fn price(value: &str) -> Event {
        Event {
            name: "price".into(),
            args: vec![serde_json::from_str(value).unwrap()],
            attachments: Vec::new(),
        }
    }

    fn emit(event: &Event) -> impl FnOnce(u64) -> Emit {
        let body = Body::new("/", event, None);
        move |stamp| Emit {
            namespace: 0,
            rooms: vec!["x".into()],
            except: Vec::new(),
            body,
            delivery: Delivery::Conflated {
                stamp,
                interval: Duration::from_millis(250),
                key: 1,
            },
        }
    }

    #[test]
    fn takes_a_peers_value_only_if_it_is_another_and_a_later_one() {
        let latest = Latest::default();
        let room: Arc<str> = "x".into();
        let (one, two) = (price("1"), price("2"));
        let late = |event, at| {
            latest
                .put_late(0, &room, (event, at), emit(event))
                .is_some()
        };
        latest.put(0, &room, emit(&one));
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        assert!(!late(&one, later(2)), "the same value, measured at a peer");
        assert!(!late(&two, later(1)), "an older value");
        assert!(late(&two, later(3)));
        assert!(!late(&one, later(2)));
    }
}
