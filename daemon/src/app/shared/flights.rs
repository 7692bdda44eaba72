//! One read for all who ask for the same session at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_storage::SharedSession;
use tokio::sync::watch;

/// Reads under way at once, each of another session; those beyond are to be tried again.
const AT_ONCE: usize = 16_384;

/// How often a read is repeated because the session changed meanwhile.
const REPEATS: usize = 3;

/// What came of a read.
type Outcome = Result<Option<SharedSession>, Unread>;

/// Why a session was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) why: String,
    /// It may be read later although it does not change.
    pub(super) for_now: bool,
}

/// The reads under way, by their documents.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Arc<str>, Flight>>>);

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    /// The session changed since the read began: what it says may be from before.
    overtaken: bool,
}

impl Unread {
    fn for_now(why: &str) -> Self {
        let why = why.to_owned();
        Self { why, for_now: true }
    }
}

impl Flights {
    /// Reads a document, or waits for a read of it that is under way. `read` is told whether it is
    /// asked again, as what it found was overtaken. A read goes on although whoever
    /// asked for it stops waiting: others may wait too.
    pub(super) async fn one<F>(
        &self,
        document: &str,
        read: impl Fn(Arc<str>, bool) -> F + Send + 'static,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send,
    {
        let mut outcome = match self.join(document) {
            Joined::Other(outcome) => outcome,
            Joined::Full => return Err(Unread::for_now("too many sessions are being read")),
            Joined::First(document, tell, outcome) => {
                let flights = self.clone();
                tokio::spawn(async move {
                    let mut found = read(document.clone(), false).await;
                    for repeat in 1.. {
                        if flights.lands(&document, repeat > REPEATS) {
                            break;
                        }
                        found = read(document.clone(), true).await;
                    }
                    let _ = tell.send(Some(found));
                });
                outcome
            }
        };
        let said = outcome.wait_for(Option::is_some).await;
        // The task says something before it ends, unless it panicked.
        let said = said.ok().and_then(|said| said.clone());
        said.unwrap_or_else(|| Err(Unread::for_now("a session could not be read")))
    }

    /// A session changed. What is being read of it is read again; says whether there is such a read.
    pub(super) fn overtake(&self, document: &str) -> bool {
        let mut flights = self.lock();
        let flight = flights.get_mut(document);
        flight.map(|flight| flight.overtaken = true).is_some()
    }

    /// All sessions changed.
    pub(super) fn overtake_all(&self) {
        for flight in self.lock().values_mut() {
            flight.overtaken = true;
        }
    }

    fn join(&self, document: &str) -> Joined {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(document) {
            return Joined::Other(flight.outcome.clone());
        }
        if flights.len() >= AT_ONCE {
            return Joined::Full;
        }
        let (tell, outcome) = watch::channel(None);
        let document: Arc<str> = document.into();
        let flight = Flight {
            outcome: outcome.clone(),
            overtaken: false,
        };
        flights.insert(document.clone(), flight);
        Joined::First(document, tell, outcome)
    }

    /// Ends a read that was not overtaken, or in any case; says whether it has ended.
    fn lands(&self, document: &str, in_any_case: bool) -> bool {
        let mut flights = self.lock();
        if let Some(flight) = flights.get_mut(document)
            && !in_any_case
            && std::mem::take(&mut flight.overtaken)
        {
            return false;
        }
        flights.remove(document);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight>> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Joined {
    Other(watch::Receiver<Option<Outcome>>),
    First(
        Arc<str>,
        watch::Sender<Option<Outcome>>,
        watch::Receiver<Option<Outcome>>,
    ),
    Full,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_thousand_who_ask_at_once_cost_one_read() {
        let (flights, reads) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(Notify::new());
        let ask = || {
            let (reads, go) = (reads.clone(), go.clone());
            flights.one("a", move |_, _| {
                reads.fetch_add(1, SeqCst);
                let go = go.clone();
                async move {
                    go.notified().await;
                    Ok(None)
                }
            })
        };
        let all = futures_util::future::join_all((0..1000).map(|_| ask()));
        let (outcomes, ()) = tokio::join!(all, async { go.notify_one() });
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(None)));
        assert_eq!(reads.load(SeqCst), 1);
        go.notify_one();
        assert_eq!(ask().await, Ok(None));
        assert_eq!(reads.load(SeqCst), 2, "the next one reads anew");
    }

    #[tokio::test]
    async fn a_read_that_was_overtaken_is_repeated_and_not_without_end() {
        let (flights, reads) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
        assert!(!flights.overtake("a"));
        let (again, count) = (flights.clone(), reads.clone());
        let asked = flights.one("a", move |document, repeated| {
            let is_first = count.fetch_add(1, SeqCst) == 0;
            assert_eq!(repeated, !is_first);
            if is_first {
                assert!(again.overtake(&document));
            }
            async move {
                match is_first {
                    true => Err(Unread::for_now("from before")),
                    false => Ok(None),
                }
            }
        });
        assert_eq!(asked.await, Ok(None));
        assert_eq!(reads.load(SeqCst), 2);
        let (again, count) = (flights.clone(), reads.clone());
        let asked = flights.one("b", move |_, _| {
            again.overtake_all();
            count.fetch_add(1, SeqCst);
            async { Ok(None) }
        });
        assert_eq!(asked.await, Ok(None));
        assert_eq!(reads.load(SeqCst), 2 + 1 + REPEATS);
    }
}
