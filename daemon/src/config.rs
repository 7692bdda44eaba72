//! What the operator decides: TOML and environment become one checked [`Config`].
//!
//! A `Config` that exists is a legal one. [`Config::load`] reads the file, lays the environment
//! over it, checks each value and then what values mean together, and answers either a `Config`
//! or every problem it found. Nothing else in the program reads the environment for settings.
//!
//! | module | holds |
//! |---|---|
//! | `keys` | the table of all keys: name, meaning, how to read and to show it |
//! | `kind` | the kinds of value: duration, size, address… |
//! | `source` | a value as the file or the environment wrote it |
//! | `load` | file and environment → `Config`, with all problems |
//! | `channels` | `[channels.*]` and `[[namespaces]]` |
//! | `check` | what is wrong only in combination |
//! | `warnings` | what is allowed and yet deserves a warning |
//! | `reload` | PURE: what a running node takes over, and what needs a restart |
//! | `problem` | what is wrong, and how it is said |
//! | `annotate` | the annotated defaults that `tidings config` prints |
//! | `describe` | the summary that `tidings check` prints |
//! | `snapshot` | what a subscription is answered with |
//! | `stored` | lists of what users subscribe to |
//! | `streams` | changes that become events |
//! | `room`, `param`, `origin`, `secret` | values with rules of their own |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tidings_storage::mongo::session::{DocumentId, FieldPath};

mod annotate;
mod channels;
mod check;
mod defaults;
mod describe;
mod keys;
mod kind;
mod load;
mod origin;
mod param;
mod problem;
mod reload;
mod room;
mod secret;
mod snapshot;
mod source;
mod stored;
mod streams;
mod warnings;

pub use annotate::annotated_defaults;
pub(crate) use check::read_cluster_key;
pub use describe::describe;
pub use load::{FILE_VARIABLE, data_dir, environment};
pub use origin::Origin;
pub use param::{CharSet, CharSetError, Param};
pub use problem::{ConfigError, Problem};
pub use reload::Change;
pub use room::{RoomTemplate, RoomTemplateError, USER_VARIABLE};
pub use secret::Secret;
pub use snapshot::{Condition, Order, Snapshot, Term};
pub use source::Source;
pub use stored::Stored;
pub use streams::Stream;

/// Everything an operator can decide about one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who this node is and where it keeps its data.
    pub node: Node,
    /// Where it listens.
    pub listen: Listen,
    /// The certificate it shows; without one the listeners speak plain HTTP.
    pub tls: Option<Tls>,
    /// How to get one from a CA instead.
    pub acme: Acme,
    /// Whom it trusts about where a request came from.
    pub http: Http,
    /// How clients and backends prove who they are.
    pub auth: Auth,
    /// What one user, one address or one connection may use up.
    pub limits: Limits,
    /// How an Engine.IO connection is kept alive.
    pub engine: Engine,
    /// What is kept for clients that come back.
    pub recovery: Recovery,
    /// The nodes that this one is one of.
    pub cluster: Cluster,
    /// The MongoDB that an application keeps its data in.
    pub mongodb: MongoDb,
    /// How to read the sessions that an application keeps there.
    pub session: SharedSession,
    /// The namespace of Socket.IO's Admin UI.
    pub admin_ui: AdminUi,
    /// How the node leaves.
    pub drain: Drain,
    /// What it tells its operator.
    pub log: Log,
    /// The namespaces that clients may connect to; all others are refused.
    pub namespaces: Vec<Namespace>,
    /// What clients may subscribe to, by name.
    pub channels: BTreeMap<String, Channel>,
}

/// Identity and storage of this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Tells nodes apart in logs and metrics.
    pub name: String,
    /// Holds the store and the admin socket.
    pub data_dir: PathBuf,
    /// Threads that carry connections; 0 is one per core.
    pub shards: usize,
}

/// Listeners and what is reachable through them.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Clients: Socket.IO, login, health.
    pub public: SocketAddr,
    /// Backends and operators: the HTTP API and metrics.
    pub private: SocketAddr,
    /// Where Socket.IO lives on the public listener; starts and ends in `/`.
    pub path: String,
    /// Folder with the browser client's `dist` files, served below `path`.
    pub client_dir: Option<PathBuf>,
    /// Permits a private listener beyond loopback without TLS.
    pub insecure_private: bool,
}

/// A certificate and its key, both in PEM files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// The private key of the leaf.
    pub key: PathBuf,
}

/// A certificate that a CA gives by ACME.
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    /// The names that it is for; empty if none is asked for.
    pub domains: Vec<String>,
    /// Mail addresses that the CA may write to.
    pub contact: Vec<String>,
    /// Where the CA lists what it offers.
    pub directory: String,
    /// Whether the operator agrees to the CA's terms.
    pub terms_agreed: bool,
    /// The file with the authorities that the CA's own server is trusted by, if they are not public.
    pub ca: Option<PathBuf>,
}

/// Trust in what HTTP requests claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Pages on other hosts that may connect; the same host always may.
    pub origins: Vec<Origin>,
    /// Proxies whose forwarding headers name the client's address.
    pub trusted_proxies: Vec<IpNet>,
}

/// Proof of identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Whether clients need a session.
    pub mode: AuthMode,
    /// The cookie that carries a signed session id.
    pub cookie: String,
    /// Keys of the cookie's signature: the first signs, all verify.
    pub secrets: Vec<Secret>,
    /// How long a connection may take until its first CONNECT.
    pub connect_timeout: Duration,
    /// How long a login lasts.
    pub session_ttl: Duration,
    /// An API key with every scope, given by the environment.
    pub api_key: Option<Secret>,
}

/// Whether a client must show a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Each client needs a valid session.
    Session,
    /// Anyone may connect, and is who they say they are.
    None,
}

/// Upper bounds. Where a field says so, 0 turns the limit off.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Client events per minute from all sockets of a user; 0 is off.
    pub events_per_minute_per_user: u32,
    /// Engine.IO handshakes per minute from one address; 0 is off.
    pub connections_per_minute_per_ip: u32,
    /// Distinct rooms that a user may be subscribed to; 0 is off.
    pub subscriptions_per_user: u32,
    /// Connections on this node; 0 is off.
    pub connections: usize,
    /// Bytes in one packet from a client, and in one poll request.
    pub payload: usize,
    /// Bytes waiting for one slow reader before it is closed.
    pub outbox: usize,
    /// Bytes in the head of an HTTP request.
    pub header: usize,
    /// Bytes in the body of an API request.
    pub api_body: usize,
    /// Login attempts per minute from one address; 0 is off.
    pub logins_per_minute_per_ip: u32,
    /// Login attempts per minute on one user name; 0 is off.
    pub logins_per_minute_per_user: u32,
    /// Windows' worth of refused events within a minute that end a connection; 0 is off.
    pub abuse_windows: u32,
}

/// Engine.IO timing and transports.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    /// Time between two pings to a client.
    pub ping_interval: Duration,
    /// Time a client has to answer one.
    pub ping_timeout: Duration,
    /// Time a client has to finish its upgrade to WebSocket.
    pub upgrade_timeout: Duration,
    /// Ways in which a client may connect.
    pub transports: Transports,
}

/// Which transports are offered; at least one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long polling.
    pub polling: bool,
    /// WebSocket, opened directly or by upgrade.
    pub websocket: bool,
}

/// What is kept of recoverable rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    /// How long a client may be away and miss nothing; zero turns recovery off.
    pub window: Duration,
    /// Events kept per room.
    pub entries_per_room: usize,
    /// Bytes of memory for the history of all rooms.
    pub memory: usize,
}

/// Several nodes that behave as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The file with the cluster's key; without it the node is alone.
    pub key: Option<PathBuf>,
    /// The cluster's name; nodes of other clusters are refused.
    pub name: String,
    /// Where other nodes reach this one over UDP.
    pub listen: SocketAddr,
    /// The address that it tells them, if that is not `listen`.
    pub advertise: Option<SocketAddr>,
    /// Nodes to begin with, as host and port.
    pub seeds: Vec<String>,
    /// How many nodes there are to be.
    pub size: usize,
    /// Bytes of emits that may wait for one peer.
    pub queue: usize,
}

impl Cluster {
    /// Where other nodes reach this one; none if that is not known.
    pub fn address(&self) -> Option<SocketAddr> {
        let listen = Some(self.listen).filter(|listen| !listen.ip().is_unspecified());
        self.advertise.or(listen)
    }
}

/// The MongoDB that an application keeps its logins and data in.
#[derive(Clone, Debug, PartialEq)]
pub struct MongoDb {
    /// The connection string; nothing is shared without one.
    pub uri: Option<Secret>,
    /// A file with the connection string; read when the configuration is.
    pub uri_file: Option<PathBuf>,
    /// The database; empty for the one that the connection string names.
    pub database: String,
    /// The collection of sessions; empty if none are shared.
    pub sessions: String,
    /// Whether the built-in channels have snapshots and stored lists.
    pub snapshots: bool,
    /// Whether clients are subscribed to the stored list of the built-in watchlist as they connect.
    pub join_watchlists: bool,
    /// The longest time that an operation may take.
    pub timeout: Duration,
    /// Changes that become events.
    pub streams: Vec<Stream>,
}

/// How an application's sessions are stored in MongoDB.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedSession {
    /// Where the user's id stands in a session.
    pub user_field: FieldPath,
    /// What a session's `_id` is made of.
    pub document_id: DocumentId,
    /// What sessions are encrypted with; none if they are not.
    pub secret: Option<Secret>,
    /// A file with that secret; read when the configuration is.
    pub secret_file: Option<PathBuf>,
    /// How old what is known of a session may be when it lets somebody in.
    pub cache: Duration,
    /// How often sessions of sockets are looked at where MongoDB cannot tell of changes.
    pub recheck: Duration,
}

/// Socket.IO's Admin UI, served from elsewhere, on a namespace of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminUi {
    /// Whether there is that namespace.
    pub enabled: bool,
    /// The namespace's name.
    pub namespace: String,
    /// Who may log in.
    pub username: String,
    /// The argon2id hash of the password.
    pub password_hash: Option<Secret>,
    /// A file with that hash; read when the configuration is.
    pub password_hash_file: Option<PathBuf>,
    /// How much it shows.
    pub mode: AdminUiMode,
    /// Whether it only shows, and nothing can be done by it.
    pub read_only: bool,
}

/// How much the Admin UI shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminUiMode {
    /// Each client, room and event.
    Development,
    /// Figures.
    Production,
}

/// Leaving in good order.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// Longest time from SIGTERM to exit.
    pub deadline: Duration,
    /// Time over which clients are told to move, so that they do not all come at once.
    pub spread: Duration,
}

/// The daemon's own log, on standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A level, or filter directives such as `info,tidings::shard=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Aligned text.
    Text,
    /// One JSON object a line.
    Json,
}

/// A namespace that clients may connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Its name, which starts with `/`.
    pub name: String,
}

/// A kind of subscription: what `subscribe:<name>` joins, and how events travel there.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// The rooms that a subscription joins.
    pub rooms: Vec<RoomTemplate>,
    /// The delivery promise of those rooms.
    pub class: Class,
    /// Least time between two values of a conflated room; zero for the other classes.
    pub interval: Duration,
    /// What recoverable rooms of the channel keep, where that is not what all keep.
    pub keeps: Keeps,
    /// A rule for each parameter that the client supplies; none is missing.
    pub params: BTreeMap<String, Param>,
    /// The namespace in which the channel is offered.
    pub namespace: String,
    /// What of MongoDB a subscription is answered with.
    pub snapshot: Option<Snapshot>,
    /// What of MongoDB its users subscribe to.
    pub stored: Option<Stored>,
}

/// What recoverable rooms of a channel keep; what is not said is as in [`Recovery`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// How long an event is kept.
    pub window: Option<Duration>,
    /// Events per room.
    pub max_entries: Option<usize>,
    /// Bytes per room.
    pub max_bytes: Option<usize>,
}

/// What a room promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Each event at most once.
    Live,
    /// The newest value, at most once an interval.
    Conflated,
    /// Each event exactly once and in order, also after a reconnection within the window.
    Recoverable,
}

impl Node {
    /// The store's own folder in the data folder.
    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// The socket that `tidings user` and its like talk to.
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir.join("tidings.sock")
    }
}
