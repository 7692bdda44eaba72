//! Answers to emits that carried an idempotency key, so that a repeat gets the first answer instead
//! of being sent again.
//!
//! Keys are the node's, not the API key's: a repeat counts as one also under a rotated key. What
//! failed is forgotten, so a repeat tries again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::answer::Answer;

/// How long an answer is remembered.
const WINDOW: Duration = Duration::from_secs(120);

/// Answers remembered at most; beyond it the oldest are forgotten.
const MAX_ANSWERS: usize = 100_000;

/// Bytes of answers and their keys remembered at most; beyond it the oldest are forgotten.
const MAX_BYTES: usize = 64 << 20;

/// The memory of answers; a cheap handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<Arc<str>, Entry>,
    /// The settled ones, oldest first.
    settled: VecDeque<(Instant, Arc<str>)>,
    /// What the settled ones take.
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    /// The first is under way.
    Open(watch::Receiver<Option<Answer>>),
    /// The first was answered.
    Settled(Answer),
}

/// What a key means now.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is new, and the caller's to settle.
    First(Ticket),
    /// The answer to the first.
    Answered(Answer),
    /// The first is under way.
    Wait(Waiter),
}

/// The right to settle a key. Dropped unsettled, the key is free again.
#[derive(Debug)]
pub(super) struct Ticket {
    repeats: Repeats,
    id: Arc<str>,
    done: watch::Sender<Option<Answer>>,
    is_settled: bool,
}

/// Waits for the first.
#[derive(Debug)]
pub(super) struct Waiter(watch::Receiver<Option<Answer>>);

impl Repeats {
    /// Whether a key was seen before; if not, it is the caller's.
    pub(super) fn claim(&self, id: &str, now: Instant) -> Claim {
        let mut memory = self.memory();
        memory.forget(now);
        match memory.entries.get(id) {
            Some(Entry::Settled(answer)) => Claim::Answered(answer.clone()),
            Some(Entry::Open(first)) => Claim::Wait(Waiter(first.clone())),
            None => {
                let (done, first) = watch::channel(None);
                let id: Arc<str> = id.into();
                memory.entries.insert(id.clone(), Entry::Open(first));
                Claim::First(Ticket {
                    repeats: self.clone(),
                    id,
                    done,
                    is_settled: false,
                })
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Forgets what is too old or too much.
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.settled.front() {
            let old = now.saturating_duration_since(*at) >= WINDOW;
            if !old && self.settled.len() <= MAX_ANSWERS && self.bytes <= MAX_BYTES {
                break;
            }
            let Some((_, id)) = self.settled.pop_front() else {
                break;
            };
            if let Some(Entry::Settled(answer)) = self.entries.remove(&id) {
                self.bytes -= cost(&id, &answer);
            }
        }
    }
}

impl Ticket {
    /// Remembers the answer and gives it to those who wait.
    pub(super) fn settle(mut self, answer: Answer, now: Instant) {
        let mut memory = self.repeats.memory();
        memory.bytes += cost(&self.id, &answer);
        memory.settled.push_back((now, self.id.clone()));
        memory
            .entries
            .insert(self.id.clone(), Entry::Settled(answer.clone()));
        memory.forget(now);
        drop(memory);
        self.is_settled = true;
        self.done.send_replace(Some(answer));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_settled {
            self.repeats.memory().entries.remove(&self.id);
        }
    }
}

impl Waiter {
    /// The first's answer, or nothing if it failed. Cancel-safe.
    pub(super) async fn wait(mut self) -> Option<Answer> {
        let answered = self.0.wait_for(Option::is_some).await;
        answered.ok().and_then(|answer| answer.clone())
    }
}

/// Bytes that an answer takes, with what the tables need.
fn cost(id: &str, answer: &Answer) -> usize {
    const TABLES: usize = 200;
    id.len() + answer.body.len() + TABLES
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::new(StatusCode::ACCEPTED, text.to_owned())
    }

    fn first(repeats: &Repeats, id: &str, now: Instant) -> Ticket {
        match repeats.claim(id, now) {
            Claim::First(ticket) => ticket,
            other => panic!("{id} is not new: {other:?}"),
        }
    }

    fn is_remembered(repeats: &Repeats, id: &str, now: Instant) -> bool {
        matches!(repeats.claim(id, now), Claim::Answered(_))
    }

    #[test]
    fn a_repeat_gets_the_first_answer_until_the_window_has_passed() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        first(&repeats, "a", start).settle(answer("1"), start);
        let late = start + WINDOW - Duration::from_millis(1);
        match repeats.claim("a", late) {
            Claim::Answered(first) => assert_eq!(first, answer("1")),
            other => panic!("{other:?}"),
        }
        first(&repeats, "b", late);
        first(&repeats, "a", start + WINDOW);
        assert_eq!(repeats.memory().bytes, 0);
    }

    #[tokio::test]
    async fn a_second_waits_for_the_first() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let ticket = first(&repeats, "a", now);
        let Claim::Wait(waiter) = repeats.claim("a", now) else {
            panic!("the first is under way")
        };
        let waiting = tokio::spawn(waiter.wait());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        ticket.settle(answer("1"), now);
        assert_eq!(waiting.await.unwrap(), Some(answer("1")));
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let ticket = first(&repeats, "a", now);
        let Claim::Wait(waiter) = repeats.claim("a", now) else {
            panic!("the first is under way")
        };
        drop(ticket);
        assert_eq!(waiter.wait().await, None);
        first(&repeats, "a", now);
        assert!(repeats.memory().entries.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let large = "x".repeat(MAX_BYTES / 4);
        for id in ["a", "b", "c", "d"] {
            first(&repeats, id, now).settle(answer(&large), now);
        }
        assert!(!is_remembered(&repeats, "a", now));
        assert!(is_remembered(&repeats, "b", now) && is_remembered(&repeats, "d", now));
        for nth in 0..=MAX_ANSWERS {
            first(&repeats, &nth.to_string(), now).settle(answer(""), now);
        }
        assert!(!is_remembered(&repeats, "d", now) && !is_remembered(&repeats, "0", now));
        let memory = repeats.memory();
        assert_eq!(
            (memory.entries.len(), memory.settled.len()),
            (MAX_ANSWERS, MAX_ANSWERS)
        );
        assert!(memory.bytes <= MAX_BYTES);
    }
}
