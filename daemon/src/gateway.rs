//! A node from its configuration: build, spawn, serve, drain. Wiring only.
//!
//! [`build`] makes a [`Gateway`]: the store is open, recoverable rooms have their history, the
//! shards' threads run. [`Gateway::accept`] takes clients, [`Gateway::drain`] moves them away and ends the node.

mod acceptor;
mod cluster;
mod configured;
mod drain;
mod history;
mod listening;
mod tasks;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8},
    },
    thread::JoinHandle,
    time::Instant,
};

use tidings_cluster::Cluster;
use tidings_storage::{OpenError, OpenReport, Store, StoreConfig, StoreError, mongo::Mongo};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use configured::{RESERVED_FILES, access, rules};
pub use configured::{file_limit, open_mongo};
use configured::{settings, shards, shared_sessions};
pub use drain::Drained;
pub(crate) use listening::BACKLOG;
pub use listening::{Listening, bind};

use crate::{
    acme::Acme,
    admin_ui::{self, Watch},
    app::{handler::Handler, limits::Limits, shared::SharedSessions},
    config::{Channel, Config},
    http::{
        public::Routes,
        tls::{self, Shown, TlsError},
    },
    hub::Hub,
    live::Live,
    node::{Ids, Node, Phase, now_ms},
    recovery::{desk::Desk, feed},
    relay::Relay,
    shard::{command::JOB_CAPACITY, thread},
};

/// Emits of handlers that wait for the switchboard.
const EMIT_CAPACITY: usize = 1024;

/// Why a node did not start. No client was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed while it was read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A listener could not be bound.
    #[error("cannot listen on {address} ({key}): {source}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address that it names.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("the socket {name:?} that was handed over cannot be used: {why}")]
    Handed {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The data folder cannot be made or written.
    #[error("node.data_dir = {folder:?} cannot be used: {source}")]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The admin socket cannot be made.
    #[error("cannot make the admin socket {path:?}: {source}")]
    AdminSocket {
        /// Its path.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The node cannot be one of several.
    #[error("the cluster cannot be joined ([cluster]): {0}")]
    Cluster(#[from] tidings_cluster::StartError),
    /// Something of the application could not be set up.
    #[error("{0}")]
    Application(String),
}

impl StartError {
    /// The process's exit code: 64 where the configuration is to be changed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Tls(_) => 64,
            _ => 1,
        }
    }
}

/// What an application brings.
pub struct Application {
    /// Decides over clients.
    pub handler: Arc<dyn Handler>,
    /// Serves its own public routes.
    pub routes: Arc<dyn Routes>,
    /// The admin UI that the handler has a namespace of, if there is one.
    pub admin_ui: Option<Arc<Watch>>,
}

/// What a handler is built upon.
#[derive(Clone)]
pub struct Ground {
    /// The open store.
    pub store: Store,
    /// The node's limits.
    pub limits: Limits,
    /// The way to the other nodes.
    pub relay: Arc<Relay>,
    /// What clients may subscribe to.
    pub channels: Live<BTreeMap<String, Channel>>,
    /// The MongoDB that an application shares, if there is one.
    pub mongo: Option<Mongo>,
    /// The logins that it keeps there.
    pub shared: Option<SharedSessions>,
}

/// Settings that the configuration does not have.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// A path that speaks raw Engine.IO, for conformance tests.
    pub raw_path: Option<String>,
}

/// A node that is built and not yet listening.
pub struct Gateway {
    node: Arc<Node>,
    limits: Limits,
    store: Store,
    shards: Vec<JoinHandle<()>>,
    tasks: TaskTracker,
    /// Feeds the shards; ends with the history.
    feed: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
    drain: crate::config::Drain,
    channels: Live<BTreeMap<String, Channel>>,
}

/// Opens the store in a configuration's data folder.
pub fn open_store(config: &Config) -> Result<(Store, OpenReport), OpenError> {
    Store::open(StoreConfig::new(config.node.store_dir()))
}

/// What clients are shown, if the node speaks TLS, and who asks a CA for what comes next.
fn certificate(config: &Config) -> Result<(Option<Shown>, Option<Acme>), TlsError> {
    match Acme::open(&config.acme, &config.node.data_dir)? {
        Some((acme, shown)) => Ok((Some(shown), Some(acme))),
        None => Ok((tls::acceptor(config.tls.as_ref())?, None)),
    }
}

/// Opens the store, and tells the log how it was found.
async fn open_told(config: &Config) -> Result<(Store, OpenReport), StartError> {
    let opening = config.clone();
    let (store, report) = tokio::task::spawn_blocking(move || open_store(&opening))
        .await
        .map_err(|error| StartError::Application(error.to_string()))??;
    tracing::info!(
        fresh = report.fresh,
        rebuilt = ?report.rebuilt,
        clean_stop = report.clean_stop,
        took = ?report.took,
        "store open"
    );
    Ok((store, report))
}

/// Builds a node: opens the store, then everything upon it.
pub async fn build<F>(
    config: &Config,
    extras: Extras,
    application: F,
) -> Result<Gateway, StartError>
where
    F: AsyncFnOnce(Ground) -> Result<Application, String>,
{
    let (tls, acme) = certificate(config)?;
    let figures = tls::Figures::default();
    if tls.as_ref().is_some_and(|tls| tls.lifetime.is_some()) {
        figures.renewed();
    }
    let (store, report) = open_told(config).await?;
    let limits = Limits::new(rules(config));
    limits.load(&store, now_ms()).await?;
    let relay = Arc::new(Relay::default());
    relay.keep_sessions(store.clone());
    let channels = Live::new(config.channels.clone());
    let mongo = open_mongo(config)?;
    let shared = shared_sessions(config, mongo.as_ref(), &store);
    let ground = Ground {
        store: store.clone(),
        limits: limits.clone(),
        relay: relay.clone(),
        channels: channels.clone(),
        mongo: mongo.clone(),
        shared: shared.clone(),
    };
    let application = application(ground).await.map_err(StartError::Application)?;

    let generation = cluster::next_generation(&store).await?;
    // Peers are answered once there is a node, in a moment.
    let cluster = match cluster::settings(config, generation)? {
        Some(cluster) => Some(Cluster::start(cluster, relay.clone()).await?),
        None => None,
    };
    let opened = (&store, &report);
    let rooms = history::start(
        config,
        channels.clone(),
        opened,
        generation,
        cluster.clone(),
    )
    .await?;
    // A node alone knows no other boots than its own.
    let boot = cluster.as_ref().map_or(0, |_| generation);
    let (handles, mailboxes) = shards(config);
    let hub = Arc::new(Hub::new(handles));
    let (jobs, job_queue) = mpsc::channel(JOB_CAPACITY);
    let (emits, emit_queue) = mpsc::channel(EMIT_CAPACITY);
    let node = Arc::new(Node {
        settings: settings(config, extras),
        access: Live::new(access(config)),
        handler: application.handler,
        routes: application.routes,
        hub,
        limits: limits.clone(),
        recovery: Desk::new(
            store.clone(),
            rooms.history,
            (rooms.node, generation),
            config.recovery.window,
        ),
        tls: tls.map(Live::new),
        certificate: figures,
        acme,
        jobs,
        emits,
        streams: crate::streams::of(&config.mongodb.streams),
        admin_ui: application.admin_ui.clone(),
        ids: Ids::new(&config.node.name, boot),
        relay: relay.clone(),
        mongo: mongo.clone(),
        shared: shared.clone(),
        started: Instant::now(),
        phase: AtomicU8::new(Phase::Starting as u8),
        stuck: AtomicBool::new(false),
    });
    let mut threads = Vec::new();
    for (index, mailbox) in mailboxes.into_iter().enumerate() {
        let thread = thread::spawn(node.clone(), index, mailbox).map_err(StartError::Thread)?;
        threads.push(thread);
    }
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    tasks.spawn(tasks::run_jobs(job_queue, stop.clone()));
    tasks.spawn(tasks::run_emits(node.clone(), emit_queue, stop.clone()));
    tasks.spawn(tasks::keep_up(
        node.clone(),
        limits.clone(),
        store.clone(),
        stop.clone(),
    ));
    tasks.spawn(ending(stop.clone(), tasks::settle(node.clone())));
    if let Some(mongo) = mongo {
        tasks.spawn(ending(stop.clone(), async move {
            mongo.watch_health().await;
        }));
    }
    if let Some(shared) = shared {
        let node = node.clone();
        tasks.spawn(ending(stop.clone(), async move {
            shared.watch(node).await;
        }));
    }
    relay.attach(&node);
    if let Some(watch) = application.admin_ui {
        tasks.spawn(ending(stop.clone(), admin_ui::run(node.clone(), watch)));
    }
    let feed = tokio::spawn(feed::run(node.clone(), rooms.told));
    if let Some(cluster) = cluster {
        relay.join(cluster.clone());
        tasks.spawn(ending(stop.clone(), relay.clone().run_late()));
        tasks.spawn(tasks::exchange(limits.clone(), cluster, stop.clone()));
    }
    let drain = config.drain.clone();
    Ok(Gateway {
        node,
        limits,
        store,
        shards: threads,
        tasks,
        feed,
        stop,
        drain,
        channels,
    })
}

impl Gateway {
    /// What all parts share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The limits that clients are held to.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What clients may subscribe to.
    pub fn channels(&self) -> &Live<BTreeMap<String, Channel>> {
        &self.channels
    }

    /// Spawns work of the application that ends with the node.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(ending(self.stop.clone(), work));
    }

    /// Spawns a server that finishes what it has begun once [`Gateway::closing`] is cancelled.
    pub fn track(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Cancelled when the clients have been moved and no more emits are taken.
    pub fn closing(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes clients from a listener. While the node drains they are told to come back later.
    pub fn accept(&self, listener: TcpListener) -> io::Result<()> {
        let (node, stop) = (self.node.clone(), self.stop.clone());
        acceptor::start(node, listener.into_std()?, &self.tasks, stop)
    }

    /// Waits until the node is one of its cluster, if it is to be: before, peers would not forward
    /// to it, and what it takes in would not reach them.
    pub async fn joined(&self) {
        if let Some(cluster) = self.node.relay.cluster() {
            cluster.ready().await;
        }
    }

    /// The node is ready for clients.
    pub fn ready(&self) {
        self.node.enter(Phase::Ready);
    }
}

/// Work that is dropped where it awaits once the node stops; nothing of it outlives the node.
async fn ending(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

fn random() -> u64 {
    u64::from_ne_bytes(crate::app::random::bytes())
}
