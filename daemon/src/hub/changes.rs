//! Changes that this node has delivered already: two nodes may emit one, when one takes a stream over
//! from the other. Recoverable rooms know the ids of what they hold by themselves.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::IDEMPOTENCY;

/// Ids remembered at most; beyond it the oldest are forgotten.
const MAX_IDS: usize = 100_000;

/// The ids of the last two minutes.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<Arc<str>>,
    /// Oldest first.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Changes {
    /// Notes a change; false if it was noted before.
    pub(crate) fn is_first(&self, id: &str, now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, _)) = seen.order.front() {
            let old = now.saturating_duration_since(*at) >= IDEMPOTENCY;
            if !old && seen.order.len() < MAX_IDS {
                break;
            }
            if let Some((_, id)) = seen.order.pop_front() {
                seen.ids.remove(&id);
            }
        }
        let id: Arc<str> = id.into();
        let is_first = seen.ids.insert(id.clone());
        if is_first {
            seen.order.push_back((now, id));
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_known_for_as_long_as_a_repeat_may_come() {
        let (changes, now) = (Changes::default(), Instant::now());
        assert!(changes.is_first("a", now));
        assert!(!changes.is_first("a", now));
        assert!(changes.is_first("b", now));
        assert!(changes.is_first("a", now + IDEMPOTENCY));
    }
}
