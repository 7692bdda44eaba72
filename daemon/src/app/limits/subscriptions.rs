//! The distinct rooms of each user, over all of the user's sockets and threads.
//!
//! Other nodes are told how many there are here, for a while that is prolonged as long as there are
//! any. Which rooms they are is not told: one that a user is in on two nodes counts twice.

use super::exchange::{Told, heard};
use crate::app::window::{Elsewhere, elsewhere};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) const STRIPES: usize = 16;
/// How long other nodes go by what they were told; what a node that died had is held against its
/// users for so long. Told again three times meanwhile ([`Subscriptions::prolong`]).
const TOLD_FOR_MS: u32 = 30_000;

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
    hasher: RandomState,
    stripes: [Mutex<Stripe>; STRIPES],
}

#[derive(Debug, Default)]
struct Stripe {
    /// One without rooms goes as soon as the other nodes are told.
    users: HashMap<Box<str>, User>,
    /// Users of whom the other nodes are to be told; none where there are no other nodes.
    untold: Option<HashSet<Box<str>>>,
}

#[derive(Debug, Default)]
struct User {
    /// Room → sockets of the user in it; never 0.
    rooms: HashMap<Box<str>, u32>,
    /// What other nodes have told.
    others: Box<[Elsewhere]>,
    /// Whether the other nodes were told of rooms.
    told: bool,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        let stripes = std::array::from_fn(|_| Mutex::default());
        Self {
            hasher: RandomState::new(),
            stripes,
        }
    }

    /// A `limit` of 0 counts, but never refuses.
    pub(super) fn add(
        &self,
        user: &str,
        room: &str,
        limit: u32,
        now_ms: u64,
    ) -> Result<bool, SubscriptionLimit> {
        let mut guard = self.stripe(user);
        let stripe = &mut *guard;
        match stripe.users.get_mut(user) {
            Some(known) => {
                if let Some(sockets) = known.rooms.get_mut(room) {
                    *sockets += 1;
                    return Ok(false);
                }
                let others = elsewhere(&known.others, now_ms) as usize;
                if limit > 0 && known.rooms.len() + others >= limit as usize {
                    return Err(SubscriptionLimit { limit });
                }
                known.rooms.insert(room.into(), 1);
            }
            None => {
                let rooms = HashMap::from([(room.into(), 1)]);
                let fresh = User {
                    rooms,
                    ..User::default()
                };
                stripe.users.insert(user.into(), fresh);
            }
        }
        stripe.must_tell(user);
        Ok(true)
    }

    pub(super) fn remove(&self, user: &str, room: &str) {
        let mut guard = self.stripe(user);
        let stripe = &mut *guard;
        let Some(known) = stripe.users.get_mut(user) else {
            return;
        };
        let Some(sockets) = known.rooms.get_mut(room) else {
            return;
        };
        *sockets -= 1;
        if *sockets > 0 {
            return;
        }
        known.rooms.remove(room);
        // Where there are other nodes the user goes once they are told: until then what they told
        // must not be forgotten.
        if known.rooms.is_empty() && stripe.untold.is_none() {
            stripe.users.remove(user);
        }
        stripe.must_tell(user);
    }

    pub(super) fn count(&self, user: &str) -> usize {
        let stripe = self.stripe(user);
        stripe.users.get(user).map_or(0, |user| user.rooms.len())
    }

    /// There are other nodes from here on, which are to be told.
    pub(super) fn share(&self) {
        for stripe in &self.stripes {
            let mut stripe = lock(stripe);
            if stripe.untold.is_none() {
                stripe.untold = Some(stripe.users.keys().cloned().collect());
            }
        }
    }

    /// Has the users of one stripe told again.
    pub(super) fn prolong(&self, stripe: usize) {
        let mut guard = lock(&self.stripes[stripe % STRIPES]);
        let Stripe { users, untold } = &mut *guard;
        if let Some(untold) = untold {
            untold.extend(users.keys().cloned());
        }
    }

    /// Adds what the other nodes do not know yet.
    pub(super) fn take_untold(&self, kind: u8, told: &mut Vec<Told>) {
        for stripe in &self.stripes {
            let mut guard = lock(stripe);
            let Stripe { users, untold } = &mut *guard;
            for user in untold.as_mut().map(std::mem::take).unwrap_or_default() {
                let Some(known) = users.get_mut(&user) else {
                    continue;
                };
                let key = [&[kind], user.as_bytes()].concat();
                if !known.rooms.is_empty() {
                    known.told = true;
                    told.push((key, vec![(TOLD_FOR_MS, known.rooms.len() as u32)]));
                } else if users.remove(&user).is_some_and(|known| known.told) {
                    told.push((key, Vec::new()));
                }
            }
        }
    }

    /// Takes up what the other nodes have, if the user has subscriptions here.
    pub(super) fn hear(&self, user: &str, parts: &[(u32, u32)], now_ms: u64) {
        if let Some(known) = self.stripe(user).users.get_mut(user) {
            known.others = heard(parts, now_ms);
        }
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| stripe.lock().unwrap().users.len())
            .sum()
    }

    fn stripe(&self, user: &str) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(user) >> 32;
        lock(&self.stripes[hash as usize % STRIPES])
    }
}

impl Stripe {
    fn must_tell(&mut self, user: &str) {
        if let Some(untold) = self.untold.as_mut().filter(|it| !it.contains(user)) {
            untold.insert(user.into());
        }
    }
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}
