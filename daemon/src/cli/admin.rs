//! Users, sessions, API keys and admins, from the command line.
//!
//! A running daemon is asked over its admin socket, as it alone may have the store open. When none
//! runs, the store is opened here. Either way the same [`AdminCall`] is performed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::args::{Admin, Key, Session, Target, User};
use super::output::{pairs, table};
use super::{CliError, password};
use crate::config::{self, Config, ConfigError};

mod call;
mod client;
mod direct;
mod perform;

pub use call::{AdminCall, CallError};
pub use client::ClientError;
pub use direct::DirectError;
pub use perform::{Reply, perform, respond};

use client::Client;
use direct::Direct;

/// Why users, sessions and keys are as they were.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No daemon runs, and its store could not be opened, or what was asked is not possible.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The backup could not be written.
    #[error("cannot write the backup: {0}")]
    Write(#[source] std::io::Error),
    /// No daemon runs, and without one the settings are needed, which are wrong.
    #[error("{0}")]
    Settings(String),
    /// The work needs a runtime of its own, which could not be had.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
}

impl AdminError {
    /// Whether neither the daemon nor the store could be reached.
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::Client(error) => !matches!(error, ClientError::Refused { .. }),
            Self::Direct(error) => error.is_unavailable(),
            Self::Write(_) | Self::Settings(_) => false,
            Self::Runtime(_) => true,
        }
    }
}

/// Performs a `tidings user` command, and answers what to print.
pub(super) fn user(command: User) -> Result<String, CliError> {
    match command {
        User::Add {
            name,
            password,
            target,
        } => {
            let password = password::read(password.password_stdin)?;
            let call = AdminCall::AddUser {
                name: name.clone(),
                password,
            };
            answer(&target, call, |_| format!("added {name}\n"))
        }
        User::Passwd {
            name,
            password,
            target,
        } => {
            let password = password::read(password.password_stdin)?;
            let call = AdminCall::SetPassword {
                name: name.clone(),
                password,
            };
            answer(&target, call, |said| {
                format!("changed the password of {name}; {}\n", ended(said))
            })
        }
        User::List { target } => answer(&target, AdminCall::Users, |said| {
            table(
                ["NAME", "CREATED"],
                &rows(said, "users", ["name", "created"]),
            )
        }),
        User::Remove { name, target } => {
            let call = AdminCall::RemoveUser { name: name.clone() };
            answer(&target, call, |said| {
                format!("removed {name}; {}\n", ended(said))
            })
        }
    }
}

/// Performs a `tidings session` command, and answers what to print.
pub(super) fn session(command: Session) -> Result<String, CliError> {
    match command {
        Session::Create { user, ttl, target } => {
            let ttl = ttl.as_ref().map(Duration::as_secs);
            answer(&target, AdminCall::CreateSession { user, ttl }, |said| {
                let fields = ["sessionID", "userId", "expires"];
                pairs(&fields.map(|name| (name, field(said, name))))
            })
        }
        Session::List { user, target } => {
            answer(&target, AdminCall::Sessions { user, after: None }, |said| {
                let columns = ["sessionID", "userId", "expires"];
                table(
                    ["SESSION ID", "USER", "EXPIRES"],
                    &rows(said, "sessions", columns),
                )
            })
        }
        Session::Revoke { id, target } => {
            answer(&target, AdminCall::RevokeSession { id }, |said| {
                format!("ended the session{}\n", late(said))
            })
        }
    }
}

/// Performs a `tidings key` command, and answers what to print.
pub(super) fn key(command: Key) -> Result<String, CliError> {
    match command {
        Key::Create {
            name,
            scopes,
            target,
        } => {
            let scopes = scopes.iter().map(|scope| scope.name().to_owned()).collect();
            answer(&target, AdminCall::CreateKey { name, scopes }, |said| {
                let key = pairs(&["id", "key"].map(|name| (name, field(said, name))));
                format!("{key}Keep the key now: it cannot be shown again.\n")
            })
        }
        Key::List { target } => answer(&target, AdminCall::Keys, |said| {
            let columns = ["id", "name", "scopes", "created"];
            table(
                ["ID", "NAME", "SCOPES", "CREATED"],
                &rows(said, "keys", columns),
            )
        }),
        Key::Revoke { id, target } => answer(&target, AdminCall::RevokeKey { id }, |_| {
            "ended the key\n".to_owned()
        }),
    }
}

/// Performs a `tidings admin` command, and answers what to print.
pub(super) fn admin(command: Admin) -> Result<String, CliError> {
    match command {
        Admin::Add {
            name,
            password,
            target,
        } => {
            let password = password::read(password.password_stdin)?;
            let call = AdminCall::AddAdmin {
                name: name.clone(),
                password,
            };
            answer(&target, call, |_| format!("added {name}\n"))
        }
        Admin::Passwd {
            name,
            password,
            target,
        } => {
            let password = password::read(password.password_stdin)?;
            let call = AdminCall::SetAdminPassword {
                name: name.clone(),
                password,
            };
            answer(&target, call, |said| {
                format!("changed the password of {name}; {}\n", ended(said))
            })
        }
        Admin::List { target } => answer(&target, AdminCall::Admins, |said| {
            table(
                ["NAME", "CREATED"],
                &rows(said, "admins", ["name", "created"]),
            )
        }),
        Admin::Remove { name, target } => {
            let call = AdminCall::RemoveAdmin { name: name.clone() };
            answer(&target, call, |said| {
                format!("removed {name}; {}\n", ended(said))
            })
        }
    }
}

/// Where the admin socket tells of the cluster.
pub const CLUSTER: &str = "/admin/cluster";

/// Where it gives a backup.
pub const BACKUP: &str = "/admin/backup";

/// Where it tells of recoverable rooms.
pub const SLOTS: &str = "/admin/cluster/slots";

/// Where it is told that a node will not come back; the node's id follows.
pub const FORGET: &str = "/admin/cluster/forget/";

/// Where it says how the node is.
pub const HEALTH: &str = "/admin/health";

/// Where it says everything about itself.
pub const DETAILED: &str = "/admin/health/detailed";

/// Where it is told to read its settings anew.
pub const RELOAD: &str = "/admin/reload";

/// Its answer if they cannot be used.
pub const BAD_SETTINGS: &str = "bad_settings";

/// Asks the running daemon at a path; `text` puts the answer into words for people.
pub(super) fn running(
    target: &Target,
    (method, path): (&'static str, &str),
    text: impl FnOnce(&Value) -> String,
) -> Result<String, CliError> {
    let meant = Meant::by(target);
    let asked = on_runtime(async {
        let mut client = Client::connect(&meant.socket).await?;
        Ok::<_, AdminError>(client.ask(method, path).await?)
    });
    if let Err(AdminError::Client(ClientError::NotRunning(_))) = asked {
        // Perhaps it is another that was meant.
        meant.settings()?;
    }
    Ok(shown(target, &asked?, text))
}

/// What the node that keeps its socket there says of itself; none if none runs.
pub(super) async fn look(socket: &Path) -> Result<Option<Value>, ClientError> {
    /// It has all at hand.
    const PATIENCE: Duration = Duration::from_secs(10);
    let asked = async {
        let mut client = Client::connect(socket).await?;
        client.ask("GET", DETAILED).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(said)) => Ok(Some(said)),
        Ok(Err(ClientError::NotRunning(_))) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ClientError::Lost {
            socket: socket.to_owned(),
            reason: format!("no answer within {PATIENCE:?}"),
        }),
    }
}

/// Takes a backup into a file: of the running daemon, or of the store that none has open.
pub(super) fn backup(meant: &Meant, out: &mut File) -> Result<(), AdminError> {
    on_runtime(async {
        match Client::connect(&meant.socket).await {
            Ok(mut client) => client.download(BACKUP, out).await,
            Err(ClientError::NotRunning(_)) => {
                let config = meant.settings()?;
                let direct = Direct::open(config).await?;
                let taken = direct.backup(config, out).await;
                direct.close().await?;
                taken
            }
            Err(error) => Err(error.into()),
        }
    })
}

/// Performs the call where the target says; `text` puts the answer into words for people.
fn answer(
    target: &Target,
    call: AdminCall,
    text: impl FnOnce(&Value) -> String,
) -> Result<String, CliError> {
    let meant = Meant::by(target);
    let said = on_runtime(async {
        let mut backend = Backend::open(&meant).await?;
        let said = all_pages(&mut backend, call).await;
        backend.close().await?;
        said
    })?;
    Ok(shown(target, &said, text))
}

/// The node that is meant. While it runs only its folder has to be known: the settings may be half
/// edited, or lack the secrets that systemd hands to the service alone.
pub(super) struct Meant {
    /// Where it is asked.
    pub(super) socket: PathBuf,
    settings: Result<Config, ConfigError>,
}

impl Meant {
    pub(super) fn by(target: &Target) -> Self {
        let file = target.settings.config.as_deref();
        let mut settings = Config::load(file, config::environment());
        let found = match &settings {
            Ok(config) => config.node.data_dir.clone(),
            Err(_) => config::data_dir(file, config::environment()),
        };
        let folder = target.data_dir.clone().unwrap_or(found);
        let mut node = Config::default().node;
        node.data_dir.clone_from(&folder);
        if let Ok(config) = &mut settings {
            config.node.data_dir = folder;
        }
        Self {
            socket: node.admin_socket(),
            settings,
        }
    }

    /// For what is done without it.
    pub(super) fn settings(&self) -> Result<&Config, AdminError> {
        let settings = self.settings.as_ref();
        settings.map_err(|error| AdminError::Settings(error.to_string()))
    }
}

pub(super) fn shown(target: &Target, said: &Value, text: impl FnOnce(&Value) -> String) -> String {
    if target.json {
        format!("{said}\n")
    } else {
        text(said)
    }
}

fn on_runtime<T>(work: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(AdminError::Runtime)?.block_on(work)
}

/// Who performs calls.
enum Backend {
    /// The running daemon.
    Socket(Client),
    /// The store, opened here.
    Direct(Direct),
}

impl Backend {
    async fn open(meant: &Meant) -> Result<Self, AdminError> {
        match Client::connect(&meant.socket).await {
            Ok(client) => Ok(Self::Socket(client)),
            Err(ClientError::NotRunning(_)) => {
                let direct = Direct::open(meant.settings()?).await?;
                Ok(Self::Direct(direct))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn perform(&mut self, call: &AdminCall) -> Result<Value, AdminError> {
        match self {
            Self::Socket(client) => Ok(client.perform(call).await?),
            Self::Direct(direct) => Ok(direct.perform(call).await?),
        }
    }

    async fn close(self) -> Result<(), AdminError> {
        match self {
            Self::Socket(_) => Ok(()),
            Self::Direct(direct) => Ok(direct.close().await?),
        }
    }
}

/// Sessions come in pages; the rest in one piece.
async fn all_pages(backend: &mut Backend, call: AdminCall) -> Result<Value, AdminError> {
    let mut said = backend.perform(&call).await?;
    while let (AdminCall::Sessions { user, .. }, Some(next)) = (&call, said["next"].as_str()) {
        let call = AdminCall::Sessions {
            user: user.clone(),
            after: Some(next.to_owned()),
        };
        let mut page = backend.perform(&call).await?;
        if let (Some(all), Some(more)) = (
            said["sessions"].as_array_mut(),
            page["sessions"].as_array_mut(),
        ) {
            all.append(more);
        }
        said["next"] = page["next"].take();
    }
    if let Some(said) = said.as_object_mut() {
        said.remove("next");
    }
    Ok(said)
}

fn field<'v>(said: &'v Value, name: &str) -> &'v str {
    said[name].as_str().unwrap_or_default()
}

fn ended(said: &Value) -> String {
    let late = late(said);
    match said["sessionsEnded"].as_u64() {
        Some(1) => format!("1 session ended{late}"),
        count => format!("{} sessions ended{late}", count.unwrap_or_default()),
    }
}

/// Where sessions may go on for a while, if anywhere.
fn late(said: &Value) -> String {
    match cell(&said["unreachable"]) {
        nodes if nodes.is_empty() => nodes,
        nodes => format!("; no answer from {nodes}, where they end once it is reached"),
    }
}

fn rows<const N: usize>(said: &Value, list: &str, columns: [&str; N]) -> Vec<[String; N]> {
    let items = said[list].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| columns.map(|column| cell(&item[column])))
        .collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
