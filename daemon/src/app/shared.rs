//! Logins that an application keeps in MongoDB, as `express-session` with `connect-mongo` stores
//! them.
//!
//! | module | what it does |
//! |---|---|
//! | `flights` | one read for all who ask for the same session at the same time |
//! | `again` | PURE: sessions that changed and are to be read again |
//! | `figures` | what was asked and what ended, counted |
//! | `watch` | notices sessions that end: by change stream, else by looking again and again |
//!
//! What was read is kept in the store and, of those asked for lately, in memory. It lets its user in
//! for [`Ages::cache`] while changes are told, else for [`Ages::recheck`]; beyond that it is read
//! again. If MongoDB cannot be read then, what is known goes on until the session's own end.

mod again;
mod figures;
mod flights;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tidings_storage::{
    Session, SharedSession, Store,
    mongo::{MongoSessions, ReadError, SessionChange, session::StoredSession},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{app::accounts::is_user, node::now_ms};
use again::Again;
use figures::Figures;
pub use figures::{SharedFigures, Watching};
use flights::{Flights, Unread};

/// How long what was read is good.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// While MongoDB tells of changes.
    pub cache: Duration,
    /// While it does not; also how often sessions of connected clients are looked at then.
    pub recheck: Duration,
}

/// An application's logins; a cheap handle.
#[derive(Clone)]
pub struct SharedSessions(Arc<Inner>);

struct Inner {
    sessions: MongoSessions,
    store: Store,
    ages: Ages,
    flights: Flights,
    figures: Figures,
    /// Since when changes are told, unix milliseconds; 0 while they are not.
    told_since_ms: AtomicU64,
    watching: Mutex<Watching>,
    /// Sessions that ended a short while ago, which shards let nobody in with.
    ended: Mutex<HashMap<String, Instant>>,
    again: Again,
    /// What ended or changed, on its way to the shards; the other end is taken by the watcher. It
    /// has no bound, as reads must never wait for who makes them: of changes, those that have room
    /// are in it, and what reads find is no more than there are sessions here that changed.
    told: (
        mpsc::UnboundedSender<Told>,
        Mutex<Option<mpsc::UnboundedReceiver<Told>>>,
    ),
    room: Arc<Semaphore>,
}

/// What is on its way to the shards.
enum Told {
    /// The change stream told it. Its room is free once it is carried out.
    Change(SessionChange, OwnedSemaphorePermit),
    /// A read found that this session has ended, although it was known.
    Over(String),
    /// A session that ended is a login again, until this time.
    Back(String, u64),
    /// A session that changed is the same user's login, until this time.
    Moved(String, u64),
}

/// How long a session that ended is remembered: longer than shards do.
const ENDED_FOR: Duration = Duration::from_secs(120);

/// Changes that wait to be carried out; when they are this many, no more are taken from the stream.
const CHANGES: usize = 1024;

impl SharedSessions {
    /// The logins in a collection; what is read of them is kept in `store`.
    pub fn new(sessions: MongoSessions, store: Store, ages: Ages) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self(Arc::new(Inner {
            told: (tell, Mutex::new(Some(told))),
            room: Arc::new(Semaphore::new(CHANGES)),
            again: Again::default(),
            sessions,
            store,
            ages,
            flights: Flights::default(),
            figures: Figures::default(),
            told_since_ms: AtomicU64::new(0),
            watching: Mutex::default(),
            ended: Mutex::default(),
        }))
    }

    /// The login of a session if that is known without waiting. `None` says nothing.
    pub fn recent(&self, sid: &str, now_ms: u64) -> Option<Session> {
        let inner = &*self.0;
        let row = inner.store.recent_shared(&inner.document(sid))?;
        let row = inner.usable(row, sid, now_ms)?;
        inner.figures.cached.fetch_add(1, Relaxed);
        Some(row)
    }

    /// The login of a session; nothing if there is none, or if nobody has logged in under it.
    pub async fn session(&self, sid: &str) -> Result<Option<Session>, String> {
        let inner = &self.0;
        let document = inner.document(sid);
        let known = inner.known(&document, sid).await;
        let now_ms = now_ms();
        if let Some(row) = &known
            && let Some(session) = inner.usable(row.clone(), sid, now_ms)
        {
            inner.figures.cached.fetch_add(1, Relaxed);
            return Ok(Some(session));
        }
        match self.read(&document, sid, false).await {
            Ok(found) => Ok(found.map(|row| session(&row))),
            Err(why) => match known.filter(|row| row.expires_ms > now_ms) {
                Some(row) => {
                    inner.figures.stale.fetch_add(1, Relaxed);
                    Ok(Some(session(&row)))
                }
                None => {
                    inner.figures.unavailable.fetch_add(1, Relaxed);
                    Err(why.why)
                }
            },
        }
    }

    /// What was asked and what ended.
    pub fn figures(&self) -> SharedFigures {
        self.0.figures.now()
    }

    /// How ends of sessions are noticed just now.
    pub fn watching(&self) -> Watching {
        self.0.watching().clone()
    }

    /// Reads a session, once for all who ask meanwhile, and keeps what was read. Unless it is to be
    /// read `anew`, what another one has just read is enough.
    async fn read(
        &self,
        document: &str,
        sid: &str,
        anew: bool,
    ) -> Result<Option<SharedSession>, Unread> {
        let (shared, sid) = (self.clone(), sid.to_owned());
        let flights = &self.0.flights;
        flights
            .one(document, move |document, repeated| {
                let (inner, sid) = (shared.0.clone(), sid.clone());
                async move {
                    let known = inner.store.recent_shared(&document);
                    let known = known.filter(|_| !anew && !repeated);
                    match known.filter(|row| inner.is_usable(row, &sid, now_ms())) {
                        Some(row) => Ok(Some(row)),
                        None => inner.read_now(&document, &sid).await,
                    }
                }
            })
            .await
    }
}

impl Inner {
    fn document(&self, sid: &str) -> String {
        self.sessions.format().document_id.of(sid)
    }

    /// What is known of a session, however old.
    async fn known(&self, document: &str, sid: &str) -> Option<SharedSession> {
        let row = match self.store.recent_shared(document) {
            Some(row) => Some(row),
            // A store that fails is no reason not to ask MongoDB.
            None => self.store.shared(document).await.ok().flatten(),
        };
        row.filter(|row| row.id == sid)
    }

    /// What was read, as a login, if it is new enough to let somebody in.
    fn usable(&self, row: SharedSession, sid: &str, now_ms: u64) -> Option<Session> {
        self.is_usable(&row, sid, now_ms).then(|| session(&row))
    }

    fn is_usable(&self, row: &SharedSession, sid: &str, now_ms: u64) -> bool {
        let told_since_ms = self.told_since_ms.load(Relaxed);
        let age = now_ms.saturating_sub(row.read_ms);
        let is_told = told_since_ms > 0 && row.read_ms >= told_since_ms;
        let limit = match is_told {
            true => self.ages.cache,
            false => self.ages.recheck,
        };
        let is_new = row.read_ms <= now_ms && u128::from(age) < limit.as_millis();
        let is_good = row.id == sid && row.expires_ms > now_ms && is_new;
        is_good && !self.again.waits(&row.document)
    }

    async fn read_now(&self, document: &str, sid: &str) -> Result<Option<SharedSession>, Unread> {
        // Before the read: what it says may be as old as that.
        let read_ms = now_ms();
        self.figures.read.fetch_add(1, Relaxed);
        let found = self.sessions.one(document).await;
        let found = found.map_err(|error| {
            let is_malformed = matches!(error, ReadError::Malformed(_));
            if is_malformed {
                self.figures.malformed.fetch_add(1, Relaxed);
            }
            Unread {
                why: error.to_string(),
                for_now: !is_malformed,
            }
        })?;
        let row = found.and_then(|found| login(found, document, sid, read_ms));
        let before = self.known(document, sid).await.map(|before| before.user);
        if before.is_some() && before.as_deref() != row.as_ref().map(|row| &*row.user) {
            // Others may have been let in by what was known: also by a read that was overtaken.
            self.tell(Told::Over(sid.to_owned()));
        }
        if let Some(row) = &row
            && lock(&self.ended).remove(sid).is_some()
        {
            self.tell(Told::Back(sid.to_owned(), row.expires_ms));
        }
        let kept = match &row {
            Some(row) => self.store.put_shared(row.clone()).await,
            None => self.store.forget_shared(document).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "what was read of a session could not be kept");
        }
        Ok(row)
    }

    fn tell(&self, told: Told) {
        // Without a watcher there is nobody to be told.
        let _ = self.told.0.send(told);
    }

    fn watching(&self) -> MutexGuard<'_, Watching> {
        lock(&self.watching)
    }

    /// Remembers that sessions ended.
    fn have_ended(&self, sids: &HashSet<String>) {
        let now = Instant::now();
        let mut ended = lock(&self.ended);
        ended.retain(|_, at| now < *at + ENDED_FOR);
        ended.extend(sids.iter().map(|sid| (sid.clone(), now)));
    }
}

/// Each change under these locks is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a session's document says, if somebody has logged in under it.
fn login(found: StoredSession, document: &str, sid: &str, read_ms: u64) -> Option<SharedSession> {
    let user = found.user.filter(|user| is_user(user))?;
    Some(SharedSession {
        document: document.to_owned(),
        id: sid.to_owned(),
        user,
        expires_ms: found.expires_ms,
        read_ms,
        content: found.content,
    })
}

fn session(row: &SharedSession) -> Session {
    Session {
        id: row.id.clone(),
        user: row.user.clone(),
        created_ms: row.read_ms,
        expires_ms: row.expires_ms,
    }
}
