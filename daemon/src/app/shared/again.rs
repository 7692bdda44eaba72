//! Sessions that changed and are to be read again. Until that has worked, what was known of them lets
//! nobody in unasked.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::lock;

/// Sessions that may wait; when there are more, the sessions of all connected clients are looked at.
const MOST: usize = 10_000;

/// How long a read that failed waits at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The sessions, by their documents.
#[derive(Default)]
pub(super) struct Again {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Waiting>,
    /// Those to be read now, in the order in which they came.
    queue: VecDeque<String>,
    /// How often there were too many, if they are still to be looked at for that.
    all: Option<u64>,
    times: u64,
}

struct Waiting {
    /// When it is tried; never while it is being read or is in the queue.
    at: Option<Instant>,
    pause: Duration,
    reading: bool,
    /// It changed since the read began.
    changed: bool,
}

impl Again {
    /// A session changed.
    pub(super) fn add(&self, document: &str) {
        let mut state = self.state();
        if let Some(waiting) = state.sessions.get_mut(document) {
            waiting.changed = waiting.reading;
        } else if state.sessions.len() >= MOST {
            state.overflow();
        } else {
            state.put(document.to_owned());
        }
        drop(state);
        self.added.notify_one();
    }

    /// Whether a session waits.
    pub(super) fn waits(&self, document: &str) -> bool {
        let state = self.state();
        state.all.is_some() || state.sessions.contains_key(document)
    }

    /// The next session to read, if one is due.
    pub(super) fn next(&self, now: Instant) -> Option<String> {
        let mut state = self.state();
        if state.queue.is_empty() {
            state.requeue(now);
        }
        // Those that were given up for all are not there any more.
        while let Some(document) = state.queue.pop_front() {
            if let Some(waiting) = state.sessions.get_mut(&document) {
                waiting.reading = true;
                waiting.changed = false;
                return Some(document);
            }
        }
        None
    }

    /// A session was read, or could not be and is to be tried later.
    pub(super) fn done(&self, document: &str, is_read: bool, now: Instant) {
        let mut state = self.state();
        let Some(waiting) = state.sessions.get_mut(document) else {
            return;
        };
        waiting.reading = false;
        if !is_read {
            waiting.at = Some(now + waiting.pause);
            waiting.pause = PAUSES.1.min(waiting.pause * 2);
        } else if waiting.changed {
            waiting.changed = false;
            state.queue.push_back(document.to_owned());
        } else {
            state.sessions.remove(document);
        }
    }

    /// Whether all sessions of connected clients are to be looked at: then what to tell
    /// [`Again::looked`].
    pub(super) fn all(&self) -> Option<u64> {
        self.state().all
    }

    /// All were looked at, as was asked for that time.
    pub(super) fn looked(&self, time: u64) {
        let mut state = self.state();
        if state.all == Some(time) {
            state.all = None;
        }
    }

    /// Waits until a session changed.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn put(&mut self, document: String) {
        let waiting = Waiting {
            at: None,
            pause: PAUSES.0,
            reading: false,
            changed: false,
        };
        self.sessions.insert(document.clone(), waiting);
        self.queue.push_back(document);
    }

    fn overflow(&mut self) {
        self.sessions.clear();
        self.queue.clear();
        self.times += 1;
        self.all = Some(self.times);
    }

    fn requeue(&mut self, now: Instant) {
        for (document, waiting) in &mut self.sessions {
            if waiting.at.is_some_and(|at| at <= now) {
                waiting.at = None;
                self.queue.push_back(document.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_not_be_read_is_tried_later_and_waits_until_then() {
        let (again, now) = (Again::default(), Instant::now());
        again.add("a");
        assert!(again.waits("a") && !again.waits("b"));
        assert_eq!(again.next(now).as_deref(), Some("a"));
        assert_eq!(again.next(now), None);
        again.done("a", false, now);
        assert_eq!(again.next(now), None);
        assert!(again.waits("a"));
        let later = now + PAUSES.0;
        assert_eq!(again.next(later).as_deref(), Some("a"));
        // It changes while it is read.
        again.add("a");
        again.done("a", true, later);
        assert_eq!(again.next(later).as_deref(), Some("a"));
        again.done("a", true, later);
        assert_eq!(again.next(later + PAUSES.1), None);
        assert!(!again.waits("a"));
    }

    #[test]
    fn of_too_many_none_is_forgotten() {
        let again = Again::default();
        for n in 0..=MOST {
            assert_eq!(again.all(), None);
            again.add(&n.to_string());
        }
        assert!(again.waits("anybody"));
        let first = again.all().unwrap();
        for n in 0..=MOST {
            again.add(&n.to_string());
        }
        again.looked(first);
        let second = again.all().unwrap();
        again.looked(second);
        assert!(!again.waits("anybody"));
    }
}
