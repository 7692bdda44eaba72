//! The distinct rooms of each user, over all of the user's sockets and threads.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

const STRIPES: usize = 16;

/// The user has as many subscriptions as it may; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscription limit reached: at most {limit} rooms for one user")]
pub struct SubscriptionLimit {
    /// The limit.
    pub limit: u32,
}

/// How many sockets of each user are in each room.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// 0 counts, but never refuses.
    limit: u32,
    hasher: RandomState,
    stripes: [Mutex<HashMap<Box<str>, Rooms>>; STRIPES],
}

/// Room → sockets of one user in it; never 0.
type Rooms = HashMap<Box<str>, u32>;

impl Subscriptions {
    pub(super) fn new(limit: u32) -> Self {
        let stripes = std::array::from_fn(|_| Mutex::default());
        Self {
            limit,
            hasher: RandomState::new(),
            stripes,
        }
    }

    pub(super) fn add(&self, user: &str, room: &str) -> Result<bool, SubscriptionLimit> {
        let mut users = self.stripe(user);
        let Some(rooms) = users.get_mut(user) else {
            users.insert(user.into(), Rooms::from([(room.into(), 1)]));
            return Ok(true);
        };
        if let Some(sockets) = rooms.get_mut(room) {
            *sockets += 1;
            return Ok(false);
        }
        if self.limit > 0 && rooms.len() >= self.limit as usize {
            return Err(SubscriptionLimit { limit: self.limit });
        }
        rooms.insert(room.into(), 1);
        Ok(true)
    }

    pub(super) fn remove(&self, user: &str, room: &str) {
        let mut users = self.stripe(user);
        let Some(rooms) = users.get_mut(user) else {
            return;
        };
        let Some(sockets) = rooms.get_mut(room) else {
            return;
        };
        *sockets -= 1;
        if *sockets == 0 {
            rooms.remove(room);
        }
        if rooms.is_empty() {
            users.remove(user);
        }
    }

    pub(super) fn count(&self, user: &str) -> usize {
        self.stripe(user).get(user).map_or(0, HashMap::len)
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| stripe.lock().unwrap().len())
            .sum()
    }

    fn stripe(&self, user: &str) -> MutexGuard<'_, HashMap<Box<str>, Rooms>> {
        let hash = self.hasher.hash_one(user) >> 32;
        let stripe = &self.stripes[hash as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
