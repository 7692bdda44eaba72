//! The command line of `tidings`: what was asked is done, and becomes an exit code.
//!
//! | module | holds |
//! |---|---|
//! | `args` | the commands and their help |
//! | `demo` | the settings of the demo, and its folder |
//! | `cluster` | the cluster's key, and how its nodes are |
//! | `admin` | users, sessions, keys and admins: in the running daemon, or in the store itself |
//! | `backup` | the store as one file, and back |
//! | `migrate` | indexes in an application's MongoDB |
//! | `password` | asking for a password without showing it |
//! | `doctor` | what is wrong, and what to do |
//! | `health` | whether the node here serves |
//! | `reload` | the running daemon reads its settings anew |
//! | `generate` | manual pages and completions, from the commands themselves |
//! | `output` | text in columns |

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::app::passwords;
use crate::config::{self, Config, ConfigError};
use crate::lifecycle;

pub mod admin;
mod args;
mod backup;
mod cluster;
mod demo;
mod doctor;
mod generate;
mod health;
mod migrate;
mod output;
mod password;
mod reload;

use args::{Cli, Command};

/// Wrong usage or configuration, as `sysexits.h` names it.
const EX_USAGE: u8 = 64;

/// The node or its store cannot be reached.
const EX_UNAVAILABLE: u8 = 69;

/// Does what the arguments say. The first one is the program's own name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli.command) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Serve(settings) => {
            let config = load(settings.config.as_deref())?;
            Ok(lifecycle::serve(config, settings.config))
        }
        Command::Demo(options) => {
            // The demo is the same everywhere: only single settings change it, no file does.
            let env = config::environment().filter(|(name, _)| name != config::FILE_VARIABLE);
            let config = demo::prepare(&options, Config::load(None, env)?)?;
            Ok(lifecycle::demo(config))
        }
        Command::Check(settings) => {
            let config = load(settings.config.as_deref())?;
            crate::http::tls::acceptor(config.tls.as_ref())?;
            print(&config::describe(&config))
        }
        Command::Migrate { dry_run, settings } => {
            let config = load(settings.config.as_deref())?;
            print(&migrate::run(&config, dry_run)?)
        }
        Command::Config => print(&config::annotated_defaults()),
        Command::User(command) => print(&admin::user(command)?),
        Command::Session(command) => print(&admin::session(command)?),
        Command::Key(command) => print(&admin::key(command)?),
        Command::Admin(command) => print(&admin::admin(command)?),
        Command::Backup { file, target } => print(&backup::take(&file, &target)?),
        Command::Restore(command) => print(&backup::restore(&command)?),
        Command::Cluster(command) => print(&cluster::run(command)?),
        Command::Health { target } => print(&health::run(&target)?),
        Command::Reload { target } => print(&reload::run(&target)?),
        Command::HashPassword(password) => {
            let password = password::read(password.password_stdin)?;
            let hash = passwords::hash_long(&password)?;
            print(&format!("{hash}\n"))
        }
        Command::Doctor { target } => {
            let (report, sound) = doctor::run(&target)?;
            print(&report)?;
            Ok(if sound {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Generate(what) => print(&generate::run(what)?),
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The settings are wrong; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate cannot be used; nothing was started.
    #[error(transparent)]
    Tls(#[from] crate::http::tls::TlsError),
    /// The demo cannot have its folder.
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    /// Users, sessions or keys are as they were, unless the message says otherwise.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// There is no key.
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// The node runs, but does not serve.
    #[error(transparent)]
    Health(#[from] health::Unhealthy),
    /// The files are not all written.
    #[error(transparent)]
    Generate(#[from] generate::GenerateError),
    /// There is no backup, or nothing was restored from it.
    #[error(transparent)]
    Backup(#[from] backup::BackupProblem),
    /// MongoDB is as it was, unless the message says otherwise.
    #[error(transparent)]
    Migrate(#[from] migrate::MigrateError),
    /// There is no password to work with.
    #[error(transparent)]
    Password(#[from] password::PasswordError),
    /// The password cannot be hashed.
    #[error(transparent)]
    Hash(#[from] passwords::PasswordError),
    /// The answer could not be written; what was asked is done.
    #[error("cannot write the answer: {0}")]
    Output(#[source] io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Tls(_)
            | Self::Admin(admin::AdminError::Settings(_))
            | Self::Backup(backup::BackupProblem::Source(admin::AdminError::Settings(_)))
            | Self::Password(password::PasswordError::NoTerminal) => EX_USAGE,
            Self::Admin(admin::AdminError::Client(admin::ClientError::Refused {
                code, ..
            })) if code == admin::BAD_SETTINGS => EX_USAGE,
            Self::Admin(error) if error.is_unavailable() => EX_UNAVAILABLE,
            Self::Backup(error) if error.is_unavailable() => EX_UNAVAILABLE,
            Self::Migrate(error) if error.is_unavailable() => EX_UNAVAILABLE,
            Self::Migrate(migrate::MigrateError::Start(_)) => EX_USAGE,
            Self::Demo(_)
            | Self::Admin(_)
            | Self::Cluster(_)
            | Self::Generate(_)
            | Self::Health(_)
            | Self::Backup(_)
            | Self::Migrate(_)
            | Self::Password(_)
            | Self::Hash(_)
            | Self::Output(_) => 1,
        }
    }
}

fn load(file: Option<&Path>) -> Result<Config, CliError> {
    Ok(Config::load(file, config::environment())?)
}

fn print(text: &str) -> Result<ExitCode, CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn complain(error: &CliError) {
    // With standard error gone, the exit code must do.
    let _ = writeln!(io::stderr(), "tidings: {error}");
}

/// Help and the version were asked for; all else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(EX_USAGE)
    } else {
        ExitCode::SUCCESS
    }
}
