//! SIGHUP and `tidings reload`: what can change while the node runs is read anew, checked as a
//! whole, and taken over as a whole. What is wrong changes nothing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use serde::Serialize;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    certificate::{Files, LOOK_EVERY},
    notify,
};
use crate::{
    app::{
        accounts::{AccountError, Accounts},
        cookie::Keyring,
        limits::Limits,
    },
    config::{self, Change, Channel, Config, ConfigError, Secret},
    gateway,
    http::tls::{self, TlsError},
    live::Live,
    node::Node,
};

/// How long reading the files and asking the store may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Reloads that wait for the one under way; more are refused.
pub(super) const WAITING: usize = 8;

/// What became of a reload that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reloaded {
    /// Changed settings that the node goes by now.
    pub(crate) applied: Vec<String>,
    /// Changed settings that need a restart.
    pub(crate) restart: Vec<String>,
}

/// Who asks for a reload, and is told what became of it.
pub(crate) type Asked = oneshot::Sender<Result<Reloaded, String>>;

/// Why a reload was refused. The node goes on as it was.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The node's own secret cannot be read.
    #[error("the secret of cookies cannot be read: {0}")]
    Accounts(#[from] AccountError),
    /// A room that has members would come to promise something else.
    #[error(
        "channels.{channel}.rooms: the room {room:?} has members already and is no {class} room; \
         add the channel by a restart"
    )]
    InUse {
        channel: String,
        room: String,
        class: &'static str,
    },
    /// A disk or the store does not answer.
    #[error("reading the settings took longer than {DEADLINE:?}")]
    Late,
}

/// All that a reload changes.
pub(super) struct Reloader {
    /// What the node goes by.
    pub(super) config: Config,
    /// The configuration file, if one was named on the command line.
    pub(super) file: Option<PathBuf>,
    pub(super) node: Arc<Node>,
    pub(super) limits: Limits,
    pub(super) accounts: Accounts,
    pub(super) channels: Live<BTreeMap<String, Channel>>,
    /// The files whose certificate is shown.
    pub(super) files: Files,
}

/// What a reload will put in place: nothing of it can fail any more.
struct Prepared {
    change: Change,
    tls: Option<tls::Shown>,
    keyring: Keyring,
}

impl Reloader {
    /// Reloads at each signal and each time that somebody asks, until it is dropped.
    pub(super) async fn run(mut self, mut hangup: Signal, mut asked: mpsc::Receiver<Asked>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // All are cancel-safe.
            let reply = tokio::select! {
                signal = hangup.recv() => match signal {
                    Some(()) => None,
                    None => return,
                },
                _ = look.tick() => {
                    self.files.look(self.config.tls.as_ref(), &self.node).await;
                    continue;
                }
                asked = asked.recv() => match asked {
                    Some(reply) => Some(reply),
                    None => return,
                },
            };
            let outcome = self.reload_and_tell().await;
            if let Some(reply) = reply {
                let _ = reply.send(outcome);
            }
        }
    }

    /// Reloads, and tells systemd and the log.
    async fn reload_and_tell(&mut self) -> Result<Reloaded, String> {
        // With Type=notify-reload systemd pairs signal and answer by this time.
        let began = NotifyState::monotonic_usec_now();
        match began {
            Ok(began) => notify(&[NotifyState::Reloading, began]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        let outcome = self.reload().await;
        match &outcome {
            Ok(Reloaded { applied, restart }) => {
                tracing::info!(?applied, "reloaded");
                if !restart.is_empty() {
                    tracing::warn!(?restart, "these settings have changed and need a restart");
                }
                notify(&[NotifyState::Ready, NotifyState::Status("reloaded")]);
            }
            Err(error) => {
                tracing::error!(%error, "not reloaded; nothing has changed");
                let status = "a reload was refused; see the log";
                notify(&[NotifyState::Ready, NotifyState::Status(status)]);
            }
        }
        outcome.map_err(|error| error.to_string())
    }

    async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let prepared = tokio::time::timeout(DEADLINE, self.prepare());
        let prepared = prepared.await.map_err(|_| ReloadError::Late)??;
        Ok(self.commit(prepared))
    }

    async fn prepare(&self) -> Result<Prepared, ReloadError> {
        let (file, running) = (self.file.clone(), self.config.clone());
        // Files may be on a disk that hangs.
        let read = tokio::task::spawn_blocking(move || {
            let wanted = Config::load(file.as_deref(), config::environment())?;
            let change = Change::between(&running, &wanted)?;
            let tls = tls::acceptor(change.config.tls.as_ref())?;
            Ok::<_, ReloadError>((change, tls))
        });
        // It ends early only with the runtime, which nobody waits for then.
        let (change, tls) = read.await.map_err(|_| ReloadError::Late)??;
        self.refuse_rooms_in_use(&change).await?;
        let secrets = change.config.auth.secrets.iter();
        let secrets: Vec<_> = secrets.map(|secret| secret.expose().to_owned()).collect();
        let keyring = self.accounts.ring_of(&secrets).await?;
        Ok(Prepared {
            change,
            tls,
            keyring,
        })
    }

    async fn refuse_rooms_in_use(&self, change: &Change) -> Result<(), ReloadError> {
        for (name, channel) in change.new_rooms(&self.config) {
            let rooms = self.node.hub.rooms(&channel.namespace).await;
            let is_of = |room: &&std::sync::Arc<str>| {
                channel.rooms.iter().any(|template| template.matches(room))
            };
            if let Some(room) = rooms.keys().find(is_of) {
                return Err(ReloadError::InUse {
                    channel: name.to_owned(),
                    room: room.to_string(),
                    class: channel.class.name(),
                });
            }
        }
        Ok(())
    }

    fn commit(&mut self, prepared: Prepared) -> Reloaded {
        let Prepared {
            change,
            tls,
            keyring,
        } = prepared;
        let Change {
            config,
            applied,
            restart,
        } = change;
        if let Some(tls) = tls {
            self.node.show_certificate(tls);
            self.files = Files::default();
        }
        if let Some(acme) = &self.node.acme {
            acme.ask_now();
        }
        self.accounts.keyring().replace(keyring);
        let api_key = config.auth.api_key.as_ref().map(Secret::expose);
        self.accounts.keys().replace_configured(api_key);
        self.node.access.replace(gateway::access(&config));
        self.limits.replace_rules(gateway::rules(&config));
        self.channels.replace(config.channels.clone());
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        self.config = config;
        Reloaded { applied, restart }
    }
}
