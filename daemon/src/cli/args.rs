//! The command line: what may be written, and the help that teaches it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

const WHERE_TO_BEGIN: &str = "\
Where to begin:
  tidings demo                              see it work: a page with live quotes, nothing to set up
  tidings config > tidings.toml             write down every setting with its default and reason
  tidings check --config tidings.toml       say what a node would do with these settings
  tidings serve --config tidings.toml       run a node until SIGTERM
  tidings reload                            have it read its settings anew

Let someone in:
  tidings user add alice                    a user who logs in with a password
  tidings session create alice --ttl 8h     a session for a user whom your own backend knows
  tidings key create shop --scope emit      a key with which a backend may emit events
  tidings admin add root                    somebody who may use the admin page

Then, with the key:
  curl -H 'Authorization: Bearer KEY' -d '{\"user\":\"alice\",\"event\":\"hello\",\"data\":1}' \\
       http://127.0.0.1:8081/api/v1/emit

Let several nodes behave as one:
  tidings cluster key cluster.key           the key that all of them share
  tidings cluster status                    the nodes, as the one here sees them
  tidings cluster slots                     who holds the recoverable rooms

When something is wrong:
  tidings doctor                            look at the node, its machine and all that it needs

Keep what the node has:
  tidings backup tidings.backup             users, keys, sessions and the rest, while it runs
  tidings restore tidings.backup            into an empty data folder

Settings come from the file, and from the environment, which comes first:
TIDINGS_LISTEN__PUBLIC=127.0.0.1:9000 is `public` in [listen].

Exit codes: 0 done, 1 refused or failed, 64 wrong usage or configuration, 69 node unreachable.";

/// Live events for browsers and apps, over Socket.IO.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, after_help = WHERE_TO_BEGIN, subcommand_required = true)]
#[command(arg_required_else_help = false, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what Tidings does: a market with two users, at http://127.0.0.1:8080/
    Demo(Demo),
    /// Run a node until SIGTERM or Ctrl-C, which drain it
    Serve(Settings),
    /// Check the settings and say what a node would do with them; nothing is started
    Check(Settings),
    /// Make the indexes that snapshots need in the application's MongoDB; safe to repeat
    Migrate {
        /// Say what would be made, and make nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print a configuration file with every setting, its default and its reason
    Config,
    /// Say whether the node here serves; fails if it does not
    Health {
        #[command(flatten)]
        target: Target,
    },
    /// Have the running node read its settings anew, as SIGHUP does, and say what came of it
    Reload {
        #[command(flatten)]
        target: Target,
    },
    /// Look for what is wrong with the node and its machine, and say what to do; fails on a problem
    Doctor {
        #[command(flatten)]
        target: Target,
    },
    /// Users who log in with a password
    #[command(subcommand)]
    User(User),
    /// Sessions: what a client connects with
    #[command(subcommand)]
    Session(Session),
    /// API keys: what a backend calls the private API with
    #[command(subcommand)]
    Key(Key),
    /// Admins: who may use the admin page of the private listener
    #[command(subcommand)]
    Admin(Admin),
    /// Several nodes that behave as one
    #[command(subcommand)]
    Cluster(Cluster),
    /// Write all that the node has into one file, while it runs or when it does not
    Backup {
        /// The file; a backup that is there is replaced once the new one is whole
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Make an empty data folder into what a backup holds; the history begins anew
    Restore(Restore),
    /// Print the hash of a password that is asked for, for admin_ui.password_hash
    HashPassword(Password),
    /// Write manual pages or shell completions, for whoever packages the program
    #[command(subcommand)]
    Generate(Generate),
}

#[derive(Debug, Subcommand)]
pub(super) enum Generate {
    /// Write a manual page for each command
    Man {
        /// The folder, which is made if need be
        folder: PathBuf,
    },
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    pub(super) file: PathBuf,
    /// Only read all of it and say whether it is whole
    #[arg(long)]
    pub(super) check: bool,
    /// What becomes of the sessions in it, some of which may have ended since; by default they are
    /// kept, and in a cluster dropped, as the other nodes have them
    #[arg(long, value_enum, value_name = "CHOICE")]
    pub(super) sessions: Option<Sessions>,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sessions {
    /// They are valid again
    Keep,
    /// Users log in again
    Drop,
}

#[derive(Debug, Subcommand)]
pub(super) enum Cluster {
    /// Make the key that nodes of one cluster share, into a new file that only you can read
    Key {
        /// The file; without it the key is printed
        file: Option<PathBuf>,
    },
    /// Show the nodes, their links and whether they are in step, as the node here sees them
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Show who holds the recoverable rooms, and which nodes are counted
    Slots {
        #[command(flatten)]
        target: Target,
    },
    /// Count a node no more that will not come back; it is never heard again
    Forget {
        /// Its id, of 16 digits, as `slots` shows it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Forget what an earlier demo stored
    #[arg(long)]
    pub(super) fresh: bool,
    /// The port of the page, by default 8080; the API takes the one after it
    #[arg(long)]
    pub(super) port: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The configuration file; without it TIDINGS_CONFIG names it, or the defaults hold
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Where the node is whose accounts are meant.
#[derive(Debug, Args)]
pub(super) struct Target {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// The node's data folder, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user; the password is asked for
    Add {
        /// What the user logs in as
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        target: Target,
    },
    /// Give a user another password, and end the user's sessions
    Passwd {
        /// Whose password
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        target: Target,
    },
    /// List the users
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Remove a user, and end the user's sessions
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
pub(super) struct Password {
    /// Read the password from standard input, up to the first line's end
    #[arg(long)]
    pub(super) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Let somebody use the admin page; the password is asked for
    Add {
        /// What the admin logs in as
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        target: Target,
    },
    /// Give an admin another password, and end the admin's sessions
    Passwd {
        /// Whose password
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        target: Target,
    },
    /// List those who may use the admin page
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Remove an admin, and end the admin's sessions
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Make a session for any user, known to this node or not, and print its id
    Create {
        /// The user's id
        user: String,
        /// How long it lasts, such as 30m or 8h; by default auth.session_ttl
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        ttl: Option<Duration>,
        #[command(flatten)]
        target: Target,
    },
    /// List the sessions that have not ended; their ids are secrets
    List {
        /// Only this user's
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// End a session and close its sockets
    Revoke {
        /// The session's id; it may start with a hyphen
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key and print it; it cannot be shown again
    Create {
        /// What it is for, such as the name of the backend
        name: String,
        /// What it may do; say it again, or put commas between, for more than one
        #[arg(
            long = "scope",
            value_enum,
            value_delimiter = ',',
            required = true,
            value_name = "SCOPE"
        )]
        scopes: Vec<Scope>,
        #[command(flatten)]
        target: Target,
    },
    /// List the keys; what they are made of is not known
    List {
        #[command(flatten)]
        target: Target,
    },
    /// End a key
    Revoke {
        /// The key's id, as `key list` shows it
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scope {
    /// Send events
    Emit,
    /// Look at rooms, sockets and users
    Read,
    /// Make and end sessions, move and disconnect sockets
    Admin,
}

impl Scope {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_session_id_may_look_like_an_option() {
        for arguments in [["-EKtLz", "--json"], ["--json", "-EKtLz"]] {
            let cli =
                Cli::try_parse_from(["tidings", "session", "revoke"].iter().chain(&arguments));
            let Command::Session(Session::Revoke { id, target }) = cli.unwrap().command else {
                panic!("another command");
            };
            assert_eq!((id.as_str(), target.json), ("-EKtLz", true));
        }
    }
}
