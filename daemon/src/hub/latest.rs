//! The last value of each conflated room, for those who subscribe later, and the stamps that put
//! the values of a room in one order.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{event::Emit, shard::rooms::NamespaceId};

const STRIPES: usize = 64;

/// Rooms remembered in each stripe, 128 Ki in all. Beyond it the one that was written to the
/// longest ago gives way: its next subscriber starts without a last value.
const ROOMS_PER_STRIPE: usize = 2048;

#[derive(Debug, Default)]
struct Stripe {
    /// The last stamp given out. Stamps rise within a stripe, and so within a room, even for a
    /// room that was forgotten and came back.
    stamp: u64,
    rooms: HashMap<(NamespaceId, Arc<str>), (u64, Arc<Emit>)>,
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
        let mut stripe = self
            .stripe(room)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        stripe.stamp += 1;
        let stamp = stripe.stamp;
        let emit = Arc::new(make(stamp));
        stripe
            .rooms
            .insert((namespace, room.clone()), (stamp, emit.clone()));
        if stripe.rooms.len() > ROOMS_PER_STRIPE {
            stripe.forget_oldest();
        }
        emit
    }

    /// A room's last value.
    pub(crate) fn find(&self, namespace: NamespaceId, room: &Arc<str>) -> Option<Arc<Emit>> {
        let stripe = self
            .stripe(room)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        stripe
            .rooms
            .get(&(namespace, room.clone()))
            .map(|(_, emit)| emit.clone())
    }

    fn stripe(&self, room: &str) -> &Mutex<Stripe> {
        &self.stripes[self.hasher.hash_one(room) as usize % STRIPES]
    }
}

impl Stripe {
    /// Forgets the older half of a sixteenth: one look at all rooms for many insertions.
    fn forget_oldest(&mut self) {
        let mut stamps: Vec<u64> = self.rooms.values().map(|(stamp, _)| *stamp).collect();
        let (_, bound, _) = stamps.select_nth_unstable(ROOMS_PER_STRIPE / 32);
        let bound = *bound;
        self.rooms.retain(|_, (stamp, _)| *stamp > bound);
    }
}
