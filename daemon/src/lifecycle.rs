//! A process's life: logs, runtime, listeners, signals, drain.
//!
//! | module | what it is |
//! |---|---|
//! | `certificate` | a renewed certificate is shown |
//! | `handed` | sockets that systemd has opened |
//! | `reload` | SIGHUP: what can change while the node runs |
//! | `watchdog` | whether all parts still answer |

mod certificate;
mod handed;
pub(crate) mod reload;
mod watchdog;

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{
    admin_ui::{AdminUi, Operator, Watch},
    app::{
        accounts::{AccountOptions, Accounts},
        auth::Authenticator,
        channels::{Channels, Snapshots},
        handler::Handler,
        limits::Limits,
    },
    config::{AuthMode, Config, LogFormat},
    demo,
    gateway::{self, Application, Extras, Gateway, Ground, Listening, StartError},
    http::{client_files::ClientFiles, login::Login, private::Api, site::Site, tls::Shown},
    live::Live,
    relay::Relay,
};
use handed::Handed;
use reload::Reloader;

/// Threads of the control plane: HTTP API, links to other nodes, housekeeping. Shards are for the rest
/// of the cores. More than are needed cost more than they bring: at each event one wakes another to
/// see whether there is work for two.
fn control_threads() -> usize {
    const MOST: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, MOST)
}

/// Runs a node until it is told to stop. A reload reads `file`, or the one that `TIDINGS_CONFIG`
/// names.
pub fn serve(config: Config, file: Option<PathBuf>) -> ExitCode {
    run(config, Purpose::Serve { file })
}

/// Runs a node with a simulated market, two users and a page.
pub fn demo(config: Config) -> ExitCode {
    run(config, Purpose::Demo)
}

/// What a node is run for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    /// For its clients, by a configuration that can be read again.
    Serve { file: Option<PathBuf> },
    /// To be looked at.
    Demo,
}

fn run(config: Config, purpose: Purpose) -> ExitCode {
    // First of all, while there is one thread.
    let handed = Handed::take();
    start_log(&config, purpose == Purpose::Demo);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(control_threads())
        .thread_name("control")
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let lived = async { live(config, purpose, handed?).await };
            let outcome = runtime.block_on(lived);
            // Nothing that matters is left; what blocks shall not hold up the exit.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(StartError::Thread(error)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let code = error.exit_code();
            tracing::error!("{error}");
            // The log may be filtered or in JSON; whoever started it shall see why it ended.
            let _ = writeln!(std::io::stderr(), "tidings: {error}");
            ExitCode::from(code)
        }
    }
}

/// Builds, serves, drains; true if nothing was cut.
async fn live(config: Config, purpose: Purpose, handed: Handed) -> Result<bool, StartError> {
    let mut stop = StopSignals::new().map_err(StartError::Thread)?;
    // From here on it does not end the process.
    let hangup = signal(SignalKind::hangup()).map_err(StartError::Thread)?;
    let demo = purpose == Purpose::Demo;
    std::fs::create_dir_all(&config.node.data_dir).map_err(|source| StartError::Folder {
        folder: config.node.data_dir.clone(),
        source,
    })?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let mut accounts = None;
    let gateway = gateway::build(&config, Extras::default(), async |ground| {
        let (opened, application) = application(&config, ground, demo).await?;
        accounts = Some(opened);
        Ok(application)
    })
    .await?;
    let accounts = accounts.expect("a built gateway has opened its accounts");
    let bound = bind(&config, &gateway, handed).await?;
    let (reload, reloads) = mpsc::channel(reload::WAITING);
    let channels = gateway.channels().clone();
    let api = Api::new(gateway.node().clone(), accounts.clone(), channels, &config);
    let api = Arc::new(api.with_reload(reload));
    if demo {
        demo::start(&gateway, &accounts)
            .await
            .map_err(StartError::Application)?;
    }
    let mut listening = bound.listening.clone();
    let public = bound.serve_operators(&gateway, &api);
    // Cancel-safe: a node that is told to stop joins no more.
    let joined = tokio::select! {
        () = gateway.joined() => true,
        () = stop.first() => false,
    };
    if !joined {
        return Ok(gateway.drain().await.is_clean());
    }
    for listener in public {
        gateway.accept(listener).map_err(StartError::Thread)?;
    }
    gateway.ready();
    gateway.node().warn_if_bare();
    if let Purpose::Serve { file } = purpose {
        let reloader = Reloader {
            config: config.clone(),
            file,
            node: gateway.node().clone(),
            limits: gateway.limits().clone(),
            accounts,
            channels: gateway.channels().clone(),
            files: Default::default(),
        };
        gateway.spawn(reloader.run(hangup, reloads));
    }
    crate::streams::start(&gateway, &config.mongodb.streams);
    // The CA comes to the public listener.
    if let Some(acme) = gateway.node().acme.clone() {
        gateway.spawn(acme.run(gateway.node().clone()));
    }
    let cluster = gateway.node().relay().cluster();
    listening.cluster = cluster.map(tidings_cluster::Cluster::address);
    tell_ready(&config, &listening, demo)?;
    gateway.spawn(watchdog::run(gateway.node().clone()));
    stop.first().await;
    tracing::info!(deadline = ?config.drain.deadline, "draining");
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        drained = gateway.drain() => {
            match drained.is_clean() {
                true => tracing::info!("drained; nothing was cut"),
                false => tracing::error!(?drained, "not everything could be finished"),
            }
            Ok(drained.is_clean())
        }
        () = stop.again() => {
            tracing::error!("told to stop a second time: leaving at once");
            Ok(false)
        }
    }
}

/// The handler and public routes of the daemon.
async fn application(
    config: &Config,
    ground: Ground,
    demo: bool,
) -> Result<(Accounts, Application), String> {
    let Ground {
        store,
        limits,
        relay,
        channels,
        mongo,
        shared,
    } = ground;
    let options = AccountOptions {
        session_ttl: config.auth.session_ttl,
        cookie_secrets: config
            .auth
            .secrets
            .iter()
            .map(|s| s.expose().to_owned())
            .collect(),
        api_key: config
            .auth
            .api_key
            .as_ref()
            .map(|key| key.expose().to_owned()),
        is_shared: config.cluster.key.is_some(),
        relay: Some(relay.clone()),
    };
    let for_admins = relay.clone();
    let accounts = Accounts::open(store.clone(), options)
        .await
        .map_err(|error| error.to_string())?;
    let authenticator = match config.auth.mode {
        AuthMode::None => Authenticator::open(),
        AuthMode::Session => Authenticator::sessions(
            store,
            config.auth.cookie.clone(),
            accounts.keyring().clone(),
            Some(relay),
            shared,
        ),
    };
    let handler = Channels::new(
        config
            .namespaces
            .iter()
            .map(|namespace| namespace.name.clone()),
        channels,
        authenticator,
        limits.clone(),
        !config.recovery.window.is_zero(),
        mongo.map(|mongo| Snapshots::new(mongo, config.limits.outbox)),
    );
    let handler: Arc<dyn Handler> = Arc::new(handler);
    let (handler, admin_ui) = with_admin_ui(config, handler, &accounts, (&limits, &for_admins));
    let client = match &config.listen.client_dir {
        Some(folder) => ClientFiles::load(folder, &config.listen.path)
            .map_err(|error| format!("listen.client_dir = {folder:?}: {error}"))?,
        None => ClientFiles::default(),
    };
    let login = Login::new(accounts.clone(), limits, config.auth.cookie.clone());
    let routes = Site {
        login,
        client,
        page: demo,
    };
    Ok((
        accounts,
        Application {
            handler,
            routes: Arc::new(routes),
            admin_ui,
        },
    ))
}

/// A handler with the admin UI's namespace beside its own, if there is to be one.
fn with_admin_ui(
    config: &Config,
    handler: Arc<dyn Handler>,
    accounts: &Accounts,
    (limits, relay): (&Limits, &Arc<Relay>),
) -> (Arc<dyn Handler>, Option<Arc<Watch>>) {
    let settings = &config.admin_ui;
    let hash = settings.password_hash.clone();
    let Some(hash) = hash.filter(|_| settings.enabled) else {
        return (handler, None);
    };
    let operator = Operator::new(settings.username.clone(), hash);
    let ground = (accounts.keyring().clone(), limits.clone(), relay.clone());
    let admin_ui = AdminUi::new(config, handler, Box::new(operator), ground);
    let watch = admin_ui.watch();
    (Arc::new(admin_ui), Some(watch))
}

/// Everything that listens, bound before the node is ready.
struct Bound {
    public: Vec<TcpListener>,
    private: Vec<TcpListener>,
    admin: UnixListener,
    /// The certificate of the private listener, if it shows one.
    tls: Option<Live<Shown>>,
    listening: Listening,
}

async fn bind(config: &Config, gateway: &Gateway, handed: Handed) -> Result<Bound, StartError> {
    let (public, private) = (config.listen.public, config.listen.private);
    let names = handed.names();
    let folder = &config.node.data_dir;
    Listening::forget(folder).map_err(|source| StartError::Folder {
        folder: folder.clone(),
        source,
    })?;
    let public = listeners("listen.public", public, handed.public).await?;
    let private = listeners("listen.private", private, handed.private).await?;
    let admin = bind_admin(config)?;
    let address = |listeners: &[TcpListener], fallback| {
        let first = listeners.first().map(TcpListener::local_addr);
        first.and_then(Result::ok).unwrap_or(fallback)
    };
    let listening = Listening {
        public: address(&public, config.listen.public),
        private: address(&private, config.listen.private),
        cluster: None,
        handed: names,
    };
    let tls = gateway.node().tls.clone();
    Ok(Bound {
        public,
        private,
        admin,
        tls: tls.filter(|_| config.private_uses_tls()),
        listening,
    })
}

/// The sockets that were handed over, or else one that is bound.
async fn listeners(
    key: &'static str,
    address: SocketAddr,
    handed: Vec<std::net::TcpListener>,
) -> Result<Vec<TcpListener>, StartError> {
    if handed.is_empty() {
        return Ok(vec![gateway::bind(key, address).await?]);
    }
    let taken: std::io::Result<Vec<_>> = handed.into_iter().map(TcpListener::from_std).collect();
    taken.map_err(|source| StartError::Bind {
        key,
        address,
        source,
    })
}

/// The admin socket: whoever may open the data folder's socket may administer the node.
fn bind_admin(config: &Config) -> Result<UnixListener, StartError> {
    use std::os::unix::fs::PermissionsExt;
    let path = config.node.admin_socket();
    let error = |source| StartError::AdminSocket {
        path: path.clone(),
        source,
    };
    // The store's lock says that no other daemon serves this folder: the file is a leftover.
    match std::fs::remove_file(&path) {
        Err(gone) if gone.kind() != std::io::ErrorKind::NotFound => return Err(error(gone)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(error)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(error)?;
    Ok(listener)
}

impl Bound {
    /// Serves operators, and returns what clients will connect to.
    fn serve_operators(self, gateway: &Gateway, api: &Arc<Api>) -> Vec<TcpListener> {
        for private in self.private {
            let (api, tls) = (api.clone(), self.tls.clone());
            gateway.track(api.serve(private, tls, gateway.closing()));
        }
        gateway.track(api.clone().serve_admin(self.admin, gateway.closing()));
        self.public
    }
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn first(&mut self) {
        // Both are cancel-safe.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn again(&mut self) {
        self.first().await;
    }
}

/// Says where the node listens: to the log, to systemd, and in the data folder.
fn tell_ready(config: &Config, listening: &Listening, demo: bool) -> Result<(), StartError> {
    let Listening {
        public, private, ..
    } = *listening;
    let folder = &config.node.data_dir;
    listening
        .announce(folder)
        .map_err(|source| StartError::Folder {
            folder: folder.clone(),
            source,
        })?;
    let files = gateway::file_limit();
    tracing::info!(%public, %private, files, version = env!("CARGO_PKG_VERSION"), "ready");
    if demo {
        demo::greet(public, private, folder);
    }
    notify(&[sd_notify::NotifyState::Ready]);
    Ok(())
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// Sets the log up: standard error, filtered as configured.
fn start_log(config: &Config, demo: bool) {
    use tracing_subscriber::{EnvFilter, fmt};
    let level = if demo && config.log.level == "info" {
        "warn"
    } else {
        &config.log.level
    };
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    // A test may have set up its own.
    drop(started);
}
