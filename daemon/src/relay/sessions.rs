//! Sessions that were made on another node. A node tells the others of each that it makes; one that
//! a node does not know all the same is asked for, and kept like its own.
//!
//! Many who ask for the same session share one question, and that nobody has it is remembered for a
//! moment.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tidings_storage::{Session, Store, StoreError};
use tokio::{sync::watch, task::JoinSet};

use super::{
    Relay,
    question::{Question, ask_every, encode},
    revoking::Debts,
};
use crate::node::{Node, now_ms};

/// How long a peer may take to say whether it has a session.
const LOOK: Duration = Duration::from_secs(1);

/// Questions under way at once, each for another session; those beyond are to be tried again.
const FLIGHTS: usize = 1024;

/// How long it is remembered that nobody has a session. One that is made meanwhile is told.
const MISSED_FOR: Duration = Duration::from_secs(2);

/// Of how many sessions that is remembered.
const MISSES: usize = 4096;

/// Why it is not known whether there is such a session. Worth trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A node that may have it did not answer.
    #[error("not every node answered: {}", .0.join(", "))]
    Silent(Vec<Arc<str>>),
    /// An application's sessions cannot be read from MongoDB.
    #[error("MongoDB: {0}")]
    Shared(String),
    /// Too many are being asked for.
    #[error("too many sessions are being asked for")]
    Busy,
}

/// What came of asking.
type Looked = Result<Option<Session>, LookError>;

/// What this node keeps of the cluster's sessions.
#[derive(Default)]
pub(super) struct Sessions {
    store: OnceLock<Store>,
    /// Sessions that the peers are being asked for.
    flights: Mutex<HashMap<Arc<str>, watch::Receiver<Option<Looked>>>>,
    misses: Mutex<Misses>,
    /// Peers that must be told of what ended.
    pub(super) debts: Debts,
}

/// Sessions that nobody has, and when that was found.
#[derive(Default)]
struct Misses {
    at: HashMap<Arc<str>, Instant>,
    /// The same in order.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Misses {
    fn has(&self, id: &str, now: Instant) -> bool {
        let at = self.at.get(id);
        at.is_some_and(|at| now < *at + MISSED_FOR)
    }

    fn add(&mut self, id: Arc<str>, now: Instant) {
        while let Some((at, first)) = self.order.front()
            && (self.order.len() >= MISSES || now >= *at + MISSED_FOR)
        {
            if self.at.get(first) == Some(at) {
                self.at.remove(first);
            }
            self.order.pop_front();
        }
        self.at.insert(id.clone(), now);
        self.order.push_back((now, id));
    }

    fn forget(&mut self, id: &str) {
        self.at.remove(id);
    }
}

impl Relay {
    /// Where the node's sessions are. To be called before clients come.
    pub(crate) fn keep_sessions(&self, store: Store) {
        let _ = self.sessions.store.set(store);
    }

    /// The store, if sessions are kept.
    pub(super) fn store(&self) -> Option<&Store> {
        self.sessions.store.get()
    }

    /// The session of this id, wherever it was made. One that has expired is given if no other is
    /// found; the caller judges.
    pub async fn session(self: &Arc<Self>, id: &str) -> Looked {
        let Some(store) = self.store() else {
            return Ok(None);
        };
        let own = store.session(id).await?;
        let is_good = own.as_ref().is_some_and(|own| own.expires_ms > now_ms());
        if is_good || self.cluster().is_none() {
            return Ok(own);
        }
        match self.look(id).await {
            Ok(None) => Ok(own),
            Err(_) if own.is_some() => Ok(own),
            looked => looked,
        }
    }

    /// A session was made, or given another end: the peers keep it too, and their sockets that live
    /// under it learn their new end.
    pub async fn session_made(&self, node: &Node, session: &Session) {
        let Session {
            user,
            id,
            expires_ms,
            ..
        } = session;
        let here = node.hub.renew_session(user, id, *expires_ms);
        let there = async {
            if let Some(cluster) = self.cluster() {
                ask_every::<()>(cluster, &Question::Made(session.clone())).await;
            }
        };
        tokio::join!(here, there);
    }

    /// A peer made a session.
    pub(super) async fn take_session(&self, session: Session) {
        if let Err(error) = self.keep(session).await {
            tracing::warn!(%error, "a peer's session could not be kept");
        }
    }

    /// Keeps a peer's session, if it counts here; says whether it does.
    async fn keep(&self, session: Session) -> Result<bool, StoreError> {
        let (Some(store), Some(node)) = (self.store(), self.node()) else {
            return Ok(false);
        };
        let counts = store.copy_session(session.clone()).await?;
        if counts {
            let Session {
                user,
                id,
                expires_ms,
                ..
            } = session;
            lock(&self.sessions.misses).forget(&id);
            // Also where one of the same id has just been ended.
            node.hub.renew_session(&user, &id, expires_ms).await;
        }
        Ok(counts)
    }

    /// Answers a peer that looks for a session; no answer if the store fails.
    pub(super) async fn show_session(&self, id: &str) -> bytes::Bytes {
        let Some(store) = self.store() else {
            return encode(&None::<Session>);
        };
        match store.session(id).await {
            Ok(session) => encode(&session.filter(|session| session.expires_ms > now_ms())),
            Err(_) => bytes::Bytes::new(),
        }
    }

    /// Asks the peers, once for all who ask at the same time.
    async fn look(self: &Arc<Self>, id: &str) -> Looked {
        if lock(&self.sessions.misses).has(id, Instant::now()) {
            return Ok(None);
        }
        let mut looked = self.flight(id)?;
        let looked = looked.wait_for(Option::is_some).await;
        // The question's task says something before it ends, unless it panicked.
        let looked = looked.ok().and_then(|looked| looked.clone());
        looked.unwrap_or(Err(LookError::Busy))
    }

    fn flight(self: &Arc<Self>, id: &str) -> Result<watch::Receiver<Option<Looked>>, LookError> {
        let mut flights = lock(&self.sessions.flights);
        if let Some(looked) = flights.get(id) {
            return Ok(looked.clone());
        }
        if flights.len() >= FLIGHTS {
            return Err(LookError::Busy);
        }
        let (tell, looked) = watch::channel(None);
        let id: Arc<str> = id.into();
        flights.insert(id.clone(), looked.clone());
        tracing::debug!("asking the peers for a session");
        let relay = self.clone();
        tokio::spawn(async move {
            let asked = relay.ask_around(&id).await;
            // Remembered before the flight is gone, so that nobody asks in between.
            if asked == Ok(None) {
                lock(&relay.sessions.misses).add(id.clone(), Instant::now());
            }
            lock(&relay.sessions.flights).remove(&id);
            let _ = tell.send(Some(asked));
        });
        Ok(looked)
    }

    /// Asks all live peers; the first that has a session that counts is enough.
    async fn ask_around(&self, id: &str) -> Looked {
        let Some(cluster) = self.cluster() else {
            return Ok(None);
        };
        let question = encode(&Question::Session { id: id.to_owned() });
        let mut asked = JoinSet::new();
        for peer in cluster.peers() {
            let (cluster, question) = (cluster.clone(), question.clone());
            asked.spawn(async move {
                let answer = cluster.ask(&peer, question, LOOK).await;
                let answer = answer.ok();
                let found = answer.map(|found| serde_json::from_slice::<Option<Session>>(&found));
                (peer, found)
            });
        }
        let mut silent = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((_, Some(Ok(Some(session))))) if *session.id == *id => {
                    // One that was ended here is not let in by a peer that has not heard of it.
                    if self.keep(session.clone()).await? {
                        return Ok(Some(session));
                    }
                }
                Ok((_, Some(Ok(_)))) | Err(_) => {}
                Ok((peer, _)) => silent.push(peer),
            }
        }
        silent.sort();
        match silent.is_empty() {
            true => Ok(None),
            false => Err(LookError::Silent(silent)),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_remembered_for_a_moment_and_bounded() {
        let (mut misses, now) = (Misses::default(), Instant::now());
        misses.add("a".into(), now);
        assert!(misses.has("a", now) && !misses.has("b", now));
        assert!(!misses.has("a", now + MISSED_FOR));
        misses.forget("a");
        assert!(!misses.has("a", now));
        for number in 0..2 * MISSES {
            misses.add(number.to_string().into(), now);
        }
        assert_eq!((misses.at.len(), misses.order.len()), (MISSES, MISSES));
        assert!(misses.has(&(2 * MISSES - 1).to_string(), now));
        misses.add("b".into(), now + MISSED_FOR);
        assert_eq!((misses.at.len(), misses.order.len()), (1, 1));
    }
}
