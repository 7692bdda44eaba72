//! What follows from the configuration alone.

use std::sync::Arc;

use tidings_storage::{
    Store,
    mongo::{
        Mongo, MongoConfig, MongoSessions,
        session::{Cipher, SessionFormat},
    },
};
use tokio::sync::mpsc;

use super::{Extras, StartError};
use crate::{
    app::{
        limits::Rules,
        shared::{Ages, SharedSessions},
    },
    config::{AuthMode, Config, Secret},
    http::origin::OriginPolicy,
    node::{Access, Settings},
    shard::{
        command::{Command, Load, MAILBOX_CAPACITY, ShardHandle},
        machine::Timing,
    },
};

/// Open files kept for everything that is not a client.
pub(crate) const RESERVED_FILES: u64 = 256;

/// The registry keeps a bit for each shard.
const MAX_SHARDS: usize = 64;

/// The way to each shard, and the mailbox that is its own.
pub(super) fn shards(config: &Config) -> (Vec<ShardHandle>, Vec<mpsc::Receiver<Command>>) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if config.node.shards == 0 {
        cores
    } else {
        config.node.shards
    };
    (0..count.clamp(1, MAX_SHARDS))
        .map(|_| {
            let (mailbox, receiver) = mpsc::channel(MAILBOX_CAPACITY);
            (
                ShardHandle {
                    mailbox,
                    wake: Arc::default(),
                    load: Arc::new(Load::default()),
                },
                receiver,
            )
        })
        .unzip()
}

/// What the parts of a node go by while it runs.
pub(super) fn settings(config: &Config, extras: Extras) -> Settings {
    Settings {
        name: config.node.name.clone(),
        timing: Timing {
            ping_interval: config.engine.ping_interval,
            ping_timeout: config.engine.ping_timeout,
            upgrade_timeout: config.engine.upgrade_timeout,
            connect_timeout: config.auth.connect_timeout,
        },
        transports: config.engine.transports,
        path: config.listen.path.clone(),
        raw_path: extras.raw_path,
        payload: config.limits.payload,
        outbox: config.limits.outbox,
        header: config.limits.header,
    }
}

/// Whom a node with this configuration lets in.
pub(crate) fn access(config: &Config) -> Access {
    let origins = config
        .http
        .origins
        .iter()
        .filter_map(|origin| origin.to_string().parse().ok());
    let files = file_limit().saturating_sub(RESERVED_FILES) as usize;
    let connections = match config.limits.connections {
        0 => files,
        limit => limit.min(files),
    };
    Access {
        connections,
        proxies: config.http.trusted_proxies.clone(),
        origins: OriginPolicy::new(origins),
    }
}

/// The rules that go by a configuration's limits.
pub(crate) fn rules(config: &Config) -> Rules {
    let limits = &config.limits;
    Rules {
        events_per_user: limits.events_per_minute_per_user,
        connections_per_ip: limits.connections_per_minute_per_ip,
        subscriptions_per_user: limits.subscriptions_per_user,
        logins_per_ip: limits.logins_per_minute_per_ip,
        logins_per_user: limits.logins_per_minute_per_user,
        abuse_windows: limits.abuse_windows,
    }
}

/// How many files this process may have open.
pub fn file_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// The MongoDB that a configuration names. Waits for nothing.
pub fn open_mongo(config: &Config) -> Result<Option<Mongo>, StartError> {
    let mongodb = &config.mongodb;
    let open = |uri: &Secret| {
        Mongo::open(MongoConfig {
            uri: uri.expose().to_owned(),
            database: Some(mongodb.database.clone()).filter(|name| !name.is_empty()),
            timeout: mongodb.timeout,
        })
    };
    let opened = mongodb.uri.as_ref().map(open).transpose();
    opened.map_err(|error| StartError::Application(format!("mongodb.uri: {error}")))
}

/// The logins that an application keeps in MongoDB, if they are shared and asked for.
pub(super) fn shared_sessions(
    config: &Config,
    mongo: Option<&Mongo>,
    store: &Store,
) -> Option<SharedSessions> {
    let (mongodb, session) = (&config.mongodb, &config.session);
    if mongodb.sessions.is_empty() || config.auth.mode == AuthMode::None {
        return None;
    }
    let format = SessionFormat {
        user_field: session.user_field.clone(),
        document_id: session.document_id.clone(),
        cipher: session.secret.as_ref().map(|it| Cipher::new(it.expose())),
    };
    let sessions = MongoSessions::new(mongo?.clone(), &mongodb.sessions, format);
    let ages = Ages {
        cache: session.cache,
        recheck: session.recheck,
    };
    Some(SharedSessions::new(sessions, store.clone(), ages))
}
