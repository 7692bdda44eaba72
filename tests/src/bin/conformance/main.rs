//! The daemon's real stack with a test handler and without limits, for black-box clients.
//!
//! `conformance --listen 127.0.0.1:3000 --profile suite|kit [--config FILE]` prints
//! `listening on ADDRESS` once it serves; if the file has a `[cluster]`, `cluster at ADDRESS` before
//! that. Profile `suite` is what the official suites of Engine.IO 4
//! and Socket.IO 5 expect; profile `kit` is for client drivers and has a control API.

mod kit;
mod suite;

use std::{
    io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use clap::{Parser, ValueEnum};
use http_body_util::Full;
use hyper::Response;
use tidings::{
    app::handler::BoxFuture,
    config::Config,
    gateway::{self, Application, Extras, Gateway},
    http::public::{PublicRequest, Routes},
    node::Node,
};

/// What is served.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// What the official suites expect.
    Suite,
    /// The same with usual timers.
    Patient,
    /// For black-box client drivers.
    Kit,
}

/// Serves the daemon's stack with a test handler.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// What to serve.
    #[arg(long, value_enum, default_value = "suite")]
    profile: Profile,
    /// A configuration of the daemon to start from; the profile's own settings go over it.
    #[arg(long)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime
        .expect("a runtime can be made at start")
        .block_on(run(arguments))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let config = configure(&arguments, &scratch)?;
    let gateway = build(&config, arguments.profile).await?;
    let listener = gateway::bind("--listen", arguments.listen).await?;
    let address = listener.local_addr()?;
    gateway.joined().await;
    gateway.accept(listener)?;
    gateway.ready();
    let mut stdout = std::io::stdout();
    if let Some(cluster) = gateway.node().relay().cluster() {
        writeln!(stdout, "cluster at {}", cluster.address())?;
    }
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let drained = gateway.drain().await;
    if drained.is_clean() {
        Ok(())
    } else {
        Err(format!("not all was finished: {drained:?}").into())
    }
}

fn configure(
    arguments: &Arguments,
    scratch: &tempfile::TempDir,
) -> Result<Config, Box<dyn std::error::Error>> {
    let mut config = match &arguments.config {
        Some(file) => Config::load(Some(file), tidings::config::environment())?,
        None => {
            let mut config = Config::default();
            config.node.data_dir = scratch.path().to_owned();
            config
        }
    };
    config.limits.events_per_minute_per_user = 0;
    config.limits.connections_per_minute_per_ip = 0;
    config.limits.subscriptions_per_user = 0;
    config.limits.payload = 1_000_000;
    config.http.origins = vec![tidings::config::Origin::parse("*").ok_or("`*` is an origin")?];
    config.drain.spread = Duration::ZERO;
    let (interval, timeout, connect) = match arguments.profile {
        Profile::Suite => (300, 200, 1000),
        Profile::Patient => (25_000, 20_000, 45_000),
        Profile::Kit => (1000, 2000, 45_000),
    };
    config.engine.ping_interval = Duration::from_millis(interval);
    config.engine.ping_timeout = Duration::from_millis(timeout);
    config.auth.connect_timeout = Duration::from_millis(connect);
    config.recovery.window = Duration::from_secs(120);
    Ok(config)
}

async fn build(config: &Config, profile: Profile) -> Result<Gateway, tidings::gateway::StartError> {
    let extras = Extras {
        raw_path: Some("/engine.io/".to_owned()),
    };
    gateway::build(config, extras, async |_ground| {
        Ok(match profile {
            Profile::Suite | Profile::Patient => Application {
                handler: Arc::new(suite::Suite),
                routes: Arc::new(Nothing),
                admin_ui: None,
            },
            Profile::Kit => {
                let kit = Arc::new(kit::Kit::default());
                Application {
                    handler: kit.clone(),
                    routes: kit,
                    admin_ui: None,
                }
            }
        })
    })
    .await
}

/// No public routes.
struct Nothing;

impl Routes for Nothing {
    fn has(&self, _path: &str) -> bool {
        false
    }

    fn answer(
        &self,
        _node: Arc<Node>,
        _request: PublicRequest,
    ) -> BoxFuture<Response<Full<bytes::Bytes>>> {
        Box::pin(async { Response::default() })
    }
}
