//! Sessions that were made or asked for a short while ago, in memory: whoever comes back finds its
//! session without a call to the storage thread.
//!
//! Only that thread changes what is in here, in the call that changes the row, so that a session
//! cannot be found here after the call that removed it. One that expired may be found after it was
//! swept: whoever finds it looks at its time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept by a key of its own.
pub(crate) trait Keyed: Clone {
    fn key(&self) -> &str;
}

/// Locks that share the load; shards look at the same time.
const STRIPES: usize = 16;

/// Sessions kept at most, over all stripes: about 20 MB.
const CAPACITY: usize = 64 << 10;

/// Sessions in one generation of a stripe.
const GENERATION: usize = CAPACITY / STRIPES / 2;

/// The sessions of one stripe. When the young generation is full the old one goes, and what was
/// not asked for meanwhile with it.
struct Stripe<T> {
    young: HashMap<String, T>,
    old: HashMap<String, T>,
}

impl<T> Default for Stripe<T> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<T: Keyed> Stripe<T> {
    fn put(&mut self, session: T) {
        let key = session.key();
        self.old.remove(key);
        if self.young.len() >= GENERATION && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_owned(), session);
    }

    fn find(&mut self, id: &str) -> Option<T> {
        if let Some(session) = self.young.get(id) {
            return Some(session.clone());
        }
        let session = self.old.get(id)?.clone();
        self.put(session.clone());
        Some(session)
    }
}

/// The recent sessions of a store.
pub(crate) struct Recent<T> {
    stripes: [Mutex<Stripe<T>>; STRIPES],
    hasher: RandomState,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            stripes: Default::default(),
            hasher: RandomState::new(),
        }
    }
}

impl<T: Keyed> Recent<T> {
    pub(crate) fn put(&self, session: &T) {
        self.stripe(session.key()).put(session.clone());
    }

    pub(crate) fn find(&self, id: &str) -> Option<T> {
        self.stripe(id).find(id)
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut stripe = self.stripe(id);
        stripe.young.remove(id);
        stripe.old.remove(id);
    }

    /// Forgets all, where it is not known which are gone.
    pub(crate) fn clear(&self) {
        for stripe in &self.stripes {
            *lock(stripe) = Stripe::default();
        }
    }

    fn stripe(&self, id: &str) -> MutexGuard<'_, Stripe<T>> {
        lock(&self.stripes[self.hasher.hash_one(id) as usize % STRIPES])
    }
}

fn lock<T>(stripe: &Mutex<Stripe<T>>) -> MutexGuard<'_, Stripe<T>> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::sessions::Session;

    fn session(id: impl ToString) -> Session {
        Session {
            id: id.to_string(),
            user: "u".into(),
            created_ms: 1,
            expires_ms: 2,
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_number_is_bounded() {
        let recent = Recent::<Session>::default();
        recent.put(&session("mine"));
        for number in 0..CAPACITY * 2 {
            recent.put(&session(number));
            if number % 16 == 0 {
                assert!(recent.find("mine").is_some());
            }
        }
        assert!(recent.find("0").is_none());
        let kept = |stripe: &Mutex<Stripe<Session>>| {
            let stripe = lock(stripe);
            stripe.young.len() + stripe.old.len()
        };
        assert!(recent.stripes.iter().map(kept).sum::<usize>() <= CAPACITY);
        recent.remove("mine");
        assert!(recent.find("mine").is_none());
        recent.clear();
        assert_eq!(recent.stripes.iter().map(kept).sum::<usize>(), 0);
    }
}
