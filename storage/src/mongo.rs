//! MongoDB, where an application keeps sessions and data that this node shares.
//!
//! | module | holds |
//! |---|---|
//! | `error` | why an operation was not done, and what that says of MongoDB |
//! | `health` | PURE: what works and what does not, since when |
//! | `figures` | counts for metrics |
//! | `changes`, `lease` | changes of a collection; who reads them, and how far it has come |
//! | `find` | an application's documents, for snapshots |
//! | `indexes` | indexes, and what was seen to |
//! | `rights` | what the server is, and what may be done there |
//! | `plain` | PURE: documents as JSON |
//! | [`session`] | PURE: a session's document, taken apart |
//! | `sessions` | an application's sessions: one, many, what changes |
//! | `uri` | PURE: whether a connection string can be one |
//!
//! **Invariant:** opening waits for nothing, and every operation has a deadline: a MongoDB that is
//! away, slow or refusing costs its callers that long and nobody else anything.

mod changes;
mod error;
mod figures;
mod find;
mod health;
mod indexes;
mod lease;
mod plain;
mod rights;
pub mod session;
mod sessions;
mod uri;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mongodb::bson::doc;
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};
use tokio::sync::{OnceCell, Semaphore};

pub use changes::{Change, Changes, ChangesError, READING_CHANGES, Row, Step, Watch};
pub use error::MongoError;
pub use figures::MongoFigures;
pub use find::{Find, FindError, FindValue};
pub use health::MongoHealth;
pub use indexes::{Index, MIGRATIONS};
pub use lease::{LEASES, LeaseKeep, LeaseRow, Token};
pub use mongodb::change_stream::event::ResumeToken;
pub use rights::{About, Rights};
pub use sessions::{MongoSessions, ReadError, SessionChange, SessionStream, WatchError};
pub use uri::{UriError, read_uri};

use figures::Counts;
use health::Ledger;

/// The share of the connections that operations may take; further ones wait. The rest is for what
/// must not wait behind what many clients ask for.
const SHARE: (usize, usize) = (4, 5);

/// Taken for the number of connections where the connection string sets no bound.
const UNBOUNDED: usize = 512;

/// Operations that may wait; further ones are refused.
const WAITING: usize = 16_384;

/// Operations under way at once that do not wait behind those: there are never more of them.
const FIRST: usize = 64;

/// Connections to one server unless the connection string says otherwise. The driver's default of
/// 10 would make sessions wait for snapshots.
const POOL: u32 = 50;

/// How often the driver looks at a server. After an error it may take so long until it uses the server
/// again; its default is 10 s.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What MongoDB's log calls this program, unless the connection string names it.
const APP_NAME: &str = "tidings";

/// How often MongoDB is asked whether it is there: it is known to be away, or back, without anybody
/// needing it.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What a [`Mongo`] needs to know.
#[derive(Clone)]
pub struct MongoConfig {
    /// The connection string: hosts, user, TLS, and any option of the driver.
    pub uri: String,
    /// The database; one must be named here or in `uri`.
    pub database: Option<String>,
    /// The longest time that an operation may take.
    pub timeout: Duration,
}

/// A cheap handle; clones share connections, health and counts.
#[derive(Clone)]
pub struct Mongo(Arc<Inner>);

struct Inner {
    config: MongoConfig,
    database: String,
    /// Made at the first use: `mongodb+srv` asks name servers, which may be away too.
    client: OnceCell<Client>,
    /// Has room once there is a client, which knows how much.
    room: Semaphore,
    at_once: OnceLock<usize>,
    waiting: Semaphore,
    first: Semaphore,
    ledger: Mutex<Ledger>,
    counts: Counts,
}

impl Mongo {
    /// A handle to the MongoDB of a connection string, which need not be there yet.
    pub fn open(config: MongoConfig) -> Result<Mongo, UriError> {
        let named = read_uri(&config.uri)?;
        let database = config.database.clone().or(named);
        let database = database.ok_or(UriError::NoDatabase)?;
        Ok(Mongo(Arc::new(Inner {
            config,
            database,
            client: OnceCell::new(),
            room: Semaphore::new(0),
            at_once: OnceLock::new(),
            waiting: Semaphore::new(WAITING),
            first: Semaphore::new(FIRST),
            ledger: Mutex::default(),
            counts: Counts::default(),
        })))
    }

    /// Does something with the database, within the deadline. `what` names it in health, such as
    /// `"find a session"`; few different texts, as each is remembered.
    ///
    /// At the deadline the work is dropped where it is. The driver closes a connection that was
    /// waiting for an answer, so this leaves nothing behind; whether a write took place is unknown.
    pub async fn run<T, F>(
        &self,
        what: &'static str,
        work: impl FnOnce(Database) -> F,
    ) -> Result<T, MongoError>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let begun = Instant::now();
        let Ok(waiting) = self.0.waiting.try_acquire() else {
            return self.busy();
        };
        let taking = async {
            self.database().await?;
            self.0.room.acquire().await.map_err(|_| MongoError::Busy)
        };
        let room = tokio::time::timeout(self.timeout(), taking).await;
        drop(waiting);
        let _room = match room {
            Ok(Ok(room)) => room,
            Ok(Err(error)) => {
                self.note(what, Err(&error));
                return Err(error);
            }
            Err(_) => return self.busy(),
        };
        let rest = self.timeout().saturating_sub(begun.elapsed());
        self.run_within(rest, what, work).await
    }

    /// As [`Mongo::run`], but does not wait behind what many clients ask for.
    pub(super) async fn run_first<T, F>(
        &self,
        what: &'static str,
        work: impl FnOnce(Database) -> F,
    ) -> Result<T, MongoError>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let Ok(_room) = self.0.first.try_acquire() else {
            return self.busy();
        };
        self.run_within(self.timeout(), what, work).await
    }

    async fn run_within<T, F>(
        &self,
        time: Duration,
        what: &'static str,
        work: impl FnOnce(Database) -> F,
    ) -> Result<T, MongoError>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let doing = async { Ok(work(self.database().await?).await?) };
        let done = tokio::time::timeout(time, doing).await;
        let outcome = done.unwrap_or(Err(MongoError::Deadline(self.timeout())));
        self.note(what, outcome.as_ref().map(|_| ()));
        outcome
    }

    /// Too much is under way. That says nothing of MongoDB: what is under way does.
    fn busy<T>(&self) -> Result<T, MongoError> {
        self.0.counts.count(Err(&MongoError::Busy));
        Err(MongoError::Busy)
    }

    /// The database, for work that has no end, such as reading a change stream: whoever does it
    /// sees to deadlines, and tells [`Mongo::note`] how it went.
    pub async fn database(&self) -> Result<Database, MongoError> {
        let inner = &self.0;
        let client = inner.client.get_or_try_init(|| async {
            let (client, pool) = connect(&inner.config).await?;
            let at_once = inner
                .at_once
                .get_or_init(|| (pool * SHARE.0 / SHARE.1).max(1));
            inner.room.add_permits(*at_once);
            Ok::<_, MongoError>(client)
        });
        Ok(client.await?.database(&inner.database))
    }

    /// Notes how something went, for health and metrics; [`Mongo::run`] does it by itself.
    pub fn note(&self, what: &'static str, outcome: Result<(), &MongoError>) {
        self.0.counts.count(outcome);
        match outcome {
            Err(error) if error.is_trouble() => self.trouble(what, &error.to_string()),
            _ => self.works(what),
        }
    }

    /// Notes that something does not work, for health alone.
    pub fn trouble(&self, what: &'static str, why: &str) {
        let changed = self.ledger().failed(what, why, now_ms());
        self.tell_if(changed);
    }

    /// Notes that it works, for health alone.
    pub fn works(&self, what: &'static str) {
        let changed = self.ledger().worked(what);
        self.tell_if(changed);
    }

    fn tell_if(&self, changed: bool) {
        if changed {
            match self.health() {
                MongoHealth::Degraded { why, .. } => tracing::warn!(why, "MongoDB is in trouble"),
                MongoHealth::Untried | MongoHealth::Up => tracing::info!("MongoDB is there"),
            }
        }
    }

    /// What is known of MongoDB, without asking it.
    pub fn health(&self) -> MongoHealth {
        self.ledger().health()
    }

    /// What was done, for metrics.
    pub fn figures(&self) -> MongoFigures {
        let free = self.0.room.available_permits() + self.0.first.available_permits();
        let under_way = self.0.at_once.get().unwrap_or(&0) + FIRST;
        // The two are not read in one step.
        let under_way = under_way.saturating_sub(free);
        self.0.counts.figures(under_way)
    }

    /// The database's name.
    pub fn database_name(&self) -> &str {
        &self.0.database
    }

    /// The longest time that an operation may take.
    pub fn timeout(&self) -> Duration {
        self.0.config.timeout
    }

    /// Asks MongoDB again and again whether it is there; has no end.
    pub async fn watch_health(&self) {
        loop {
            let asked = self.run_first("ping", |database| async move {
                database.run_command(doc! { "ping": 1 }).await
            });
            if asked.await.is_ok() {
                self.ledger().is_there(now_ms());
            }
            tokio::time::sleep(PING_EVERY).await;
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // The ledger is whole between any two of its calls.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the connection string, asking name servers if it says so; connects to nothing. Says how many
/// connections there may be, too.
async fn connect(config: &MongoConfig) -> Result<(Client, usize), MongoError> {
    let mut options = ClientOptions::parse(&config.uri).await?;
    // A bit less than the deadline: then the driver can still say which server it did not reach.
    let patience = config.timeout * 3 / 4;
    options.server_selection_timeout.get_or_insert(patience);
    options.connect_timeout.get_or_insert(patience);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    let pool = match *options.max_pool_size.get_or_insert(POOL) {
        // There is no bound.
        0 => UNBOUNDED,
        pool => pool as usize,
    };
    options.app_name.get_or_insert_with(|| APP_NAME.to_owned());
    Ok((Client::with_options(options)?, pool))
}

/// Who is asked, whatever the connection string says: others may not have what was written last.
fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
