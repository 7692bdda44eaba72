//! `tidings migrate`: the indexes that Tidings needs in an application's MongoDB.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tidings_storage::mongo::{Index, LeaseKeep, LeaseRow, Mongo, MongoError};

use super::output;
use crate::config::{Config, Snapshot};
use crate::gateway;

/// What this program knows to do. A database of a later version is left alone.
const VERSION: i64 = 1;

/// The document by which two that migrate at once wait for each other.
const LEASE: &str = "migrate";

/// How often it is written, and looked at.
const BEAT: Duration = Duration::from_secs(1);

/// Without a beat for this long, whoever held it is gone.
const TERM: Duration = Duration::from_secs(6);

/// How long another may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// The settings cannot be used.
    #[error("{0}")]
    Start(String),
    /// MongoDB did not do it. What was made before stays.
    #[error("MongoDB: {0}")]
    Mongo(#[from] MongoError),
    /// A later program was here.
    #[error("the database is of version {0}; this program knows version {VERSION} only")]
    TooNew(i64),
    /// Another is at it.
    #[error("another has been migrating for {PATIENCE:?}; try again when it is done")]
    Busy,
    /// No thread could be had.
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

impl MigrateError {
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Mongo(MongoError::Deadline(_) | MongoError::Unreachable(_)) | Self::Busy
        )
    }
}

/// An index that is needed.
struct Need {
    collection: String,
    wish: Index,
    /// How many of its fields are compared.
    equal: usize,
    what_for: String,
}

/// Makes what is missing, or says what is.
pub(super) fn run(config: &Config, dry: bool) -> Result<String, MigrateError> {
    let opened = gateway::open_mongo(config);
    let opened = opened.map_err(|error| MigrateError::Start(error.to_string()))?;
    let Some(mongo) = opened else {
        // A deployment migrates, whatever it deploys.
        return Ok("no MongoDB is configured: there is nothing to migrate\n".to_owned());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let before = mongo.migrated().await?;
        if before > VERSION {
            return Err(MigrateError::TooNew(before));
        }
        if dry {
            return see_to(config, &mongo, true).await;
        }
        let held = Held::take(&mongo, &config.node.name).await?;
        // The beat goes on until the work is done.
        let done = tokio::select! {
            done = migrate(config, &mongo) => done,
            error = held.keep(&mongo) => Err(error),
        };
        held.release(&mongo).await;
        done
    })
}

async fn migrate(config: &Config, mongo: &Mongo) -> Result<String, MigrateError> {
    let said = see_to(config, mongo, false).await?;
    mongo.set_migrated(VERSION, &config.node.name).await?;
    Ok(said)
}

/// Sees to each index; gives a table of what is and was done.
async fn see_to(config: &Config, mongo: &Mongo, dry: bool) -> Result<String, MigrateError> {
    let mut rows = Vec::new();
    for need in needs(config) {
        let there = mongo.indexes(&need.collection).await?;
        let found = there.iter().find(|it| it.serves(&need.wish, need.equal));
        let state = match found {
            Some(found) => format!("there: {}", found.name),
            None if dry => "would be made".to_owned(),
            None => {
                mongo.make_index(&need.collection, &need.wish).await?;
                "made".to_owned()
            }
        };
        let fields = shown(&need.wish);
        rows.push([need.collection, fields, need.what_for, state]);
    }
    let mut said = match rows.is_empty() {
        true => "no channel needs an index\n".to_owned(),
        false => output::table(["COLLECTION", "INDEX", "FOR", "STATE"], &rows),
    };
    if let Some(warning) = sessions_without_end(config, mongo).await? {
        let _ = writeln!(said, "{warning}");
    }
    Ok(said)
}

/// Sessions are the application's, and so is their end.
async fn sessions_without_end(
    config: &Config,
    mongo: &Mongo,
) -> Result<Option<String>, MigrateError> {
    let sessions = &config.mongodb.sessions;
    if sessions.is_empty() {
        return Ok(None);
    }
    let there = match mongo.indexes(sessions).await {
        // Nothing is made there, so nothing but this needs the right.
        Err(error @ MongoError::Refused(_)) => {
            return Ok(Some(format!(
                "whether {sessions} has an index by which sessions expire cannot be told: {error}"
            )));
        }
        there => there?,
    };
    let ends = |index: &Index| {
        let mut fields = index.keys.iter();
        index.expires && fields.next().is_some_and(|(field, _)| field == "expires")
    };
    Ok((!there.iter().any(ends)).then(|| {
        format!(
            "WARNING: {sessions} has no index by which sessions expire. It is the application's to \
             make: connect-mongo does by itself (autoRemove: \"native\"), or \
             db.{sessions}.createIndex({{expires: 1}}, {{expireAfterSeconds: 0}})"
        )
    }))
}

fn needs(config: &Config) -> Vec<Need> {
    let channels = config.channels.iter();
    let lists = channels.clone().filter_map(|(name, channel)| {
        let stored = channel.stored.as_ref()?;
        let compared = stored.filter.iter();
        let keys: Vec<_> = compared
            .map(|condition| (condition.field.clone(), false))
            .collect();
        Some(Need {
            collection: stored.collection.clone(),
            equal: keys.len(),
            wish: Index::wish(keys),
            what_for: format!("channels.{name}.stored"),
        })
    });
    let of_channel = |(name, snapshot): (&String, &Snapshot)| {
        let compared = snapshot.filter.iter();
        let mut keys: Vec<(String, bool)> = compared
            .map(|condition| (condition.field.clone(), false))
            .collect();
        let equal = keys.len();
        for order in &snapshot.sort {
            if !keys.iter().any(|(field, _)| *field == order.field) {
                keys.push((order.field.clone(), order.descends));
            }
        }
        Need {
            collection: snapshot.collection.clone(),
            wish: Index::wish(keys),
            equal,
            what_for: format!("channels.{name}.snapshot"),
        }
    };
    channels
        .filter_map(|(name, channel)| Some((name, channel.snapshot.as_ref()?)))
        .map(of_channel)
        .chain(lists)
        .filter(|need| need.equal > 0)
        .collect()
}

fn shown(index: &Index) -> String {
    let field = |(field, descends): &(String, bool)| match descends {
        true => format!("-{field}"),
        false => field.clone(),
    };
    index.keys.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// The right to migrate.
struct Held {
    fence: i64,
}

impl Held {
    /// Waits until nobody else has it, or has died with it.
    async fn take(mongo: &Mongo, node: &str) -> Result<Self, MigrateError> {
        let begun = Instant::now();
        let me = format!("{node}/{}", std::process::id());
        let mut seen: Option<(LeaseRow, Instant)> = None;
        while begun.elapsed() < PATIENCE {
            let row = mongo.lease(LEASE).await?;
            let version = (row.fence, row.beat);
            let since = match &seen {
                Some((before, since)) if (before.fence, before.beat) == version => *since,
                _ => Instant::now(),
            };
            let is_free = row.free || since.elapsed() >= TERM;
            seen = Some((row, since));
            if is_free && let Some(taken) = mongo.claim_lease(LEASE, version, &me).await? {
                return Ok(Self { fence: taken.fence });
            }
            tokio::time::sleep(BEAT).await;
        }
        Err(MigrateError::Busy)
    }

    /// Says again and again that it is held; ends if it is not any more.
    async fn keep(&self, mongo: &Mongo) -> MigrateError {
        loop {
            tokio::time::sleep(BEAT).await;
            match mongo.keep_lease(LEASE, self.write(false)).await {
                Ok(true) => {}
                Ok(false) => return MigrateError::Busy,
                // The next beat may do.
                Err(error) => tracing::debug!(%error, "no beat"),
            }
        }
    }

    async fn release(&self, mongo: &Mongo) {
        // If it fails, others wait a little longer.
        let _ = mongo.keep_lease(LEASE, self.write(true)).await;
    }

    fn write(&self, free: bool) -> LeaseKeep {
        LeaseKeep {
            fence: self.fence,
            done: 0,
            lost: 0,
            free,
            token: None,
        }
    }
}
