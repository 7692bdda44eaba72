//! The table of all settings. Reading, showing and documenting them follow from it.

use toml::Value;

use super::Config;
use super::kind::{self, Refusal};
use super::source::Raw;

/// A setting of a `T`.
pub(super) struct Key<T: 'static> {
    pub(super) name: &'static str,
    /// What it is for, in one or two sentences.
    pub(super) why: &'static str,
    /// What is allowed, as the end of "must be …".
    pub(super) allowed: &'static str,
    pub(super) set: fn(&mut T, Raw<'_>) -> Result<(), Refusal>,
    pub(super) show: fn(&T) -> Value,
    /// Its value must not be seen.
    pub(super) secret: bool,
}

/// A table of the file that holds plain settings.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    pub(super) keys: &'static [Key<Config>],
}

/// Writes a [`Key`] for a field, with the field's name: `key!(kind, field, why)`.
macro_rules! key {
    ($kind:path, $section:ident.$name:ident, $why:literal) => {
        $crate::config::keys::key!(@ $kind, $name, ($section.$name), $why)
    };
    ($kind:path, $name:ident, $why:literal) => {
        $crate::config::keys::key!(@ $kind, $name, ($name), $why)
    };
    (@ $kind:path, $name:ident, ($($field:tt)+), $why:literal) => {
        $crate::config::keys::Key {
            name: stringify!($name),
            why: $why,
            allowed: $kind.allowed,
            set: |target, raw| {
                target.$($field)+ = ($kind.read)(raw)?;
                Ok(())
            },
            show: |target| ($kind.show)(&target.$($field)+),
            secret: false,
        }
    };
}
pub(super) use key;

/// The two files of `[tls]` stand in an `Option`: naming one of them makes the pair.
macro_rules! tls_key {
    ($name:ident, $why:literal) => {
        Key {
            name: stringify!($name),
            why: $why,
            allowed: kind::FILE.allowed,
            set: |config, raw| {
                config.tls.get_or_insert_default().$name = (kind::FILE.read)(raw)?;
                Ok(())
            },
            show: |config| (kind::FILE.show)(&config.tls.clone().unwrap_or_default().$name),
            secret: false,
        }
    };
}

/// All sections but `[[namespaces]]` and `[channels.*]`, in the order in which people meet them.
pub(super) const SECTIONS: [Section; 15] = [
    Section {
        name: "node",
        why: "This node.",
        keys: &[
            key!(
                kind::HOST_NAME,
                node.name,
                "Tells nodes apart in logs and metrics."
            ),
            key!(
                kind::FOLDER,
                node.data_dir,
                "Holds the store (sessions, users, history) and the socket that `tidings user` \
                 and its like talk to."
            ),
            key!(
                kind::COUNT,
                node.shards,
                "Threads that carry connections; 0 is one per core."
            ),
        ],
    },
    Section {
        name: "listen",
        why: "Where the node listens.",
        keys: &[
            key!(
                kind::ADDRESS,
                listen.public,
                "Clients connect here: Socket.IO, login and health. PORT=… in the environment \
                 sets the port alone."
            ),
            key!(
                kind::ADDRESS,
                listen.private,
                "Backends and operators: HTTP API and metrics. Beyond loopback it needs [tls], [acme] or \
                 insecure_private."
            ),
            key!(
                kind::URL_PATH,
                listen.path,
                "Where Socket.IO lives on the public listener; the clients' default is the same."
            ),
            key!(
                kind::OPTIONAL_FOLDER,
                listen.client_dir,
                "An installed socket.io-client/dist folder, to be served as \
                 /socket.io/socket.io.js and so on."
            ),
            key!(
                kind::BOOLEAN,
                listen.insecure_private,
                "Permits API keys to travel in the clear: a private listener beyond loopback \
                 without [tls]."
            ),
        ],
    },
    Section {
        name: "tls",
        why: "The certificate that the listeners show. Without one they speak plain HTTP.",
        keys: &[
            tls_key!(
                cert,
                "The certificate chain, the node's own certificate first."
            ),
            tls_key!(key, "The private key of that certificate."),
        ],
    },
    Section {
        name: "acme",
        why: "A certificate that the node gets from a CA such as Let's Encrypt, and renews: instead of \
              [tls], for a node that its domain leads to.",
        keys: &[
            key!(
                kind::DOMAINS,
                acme.domains,
                "The names that clients reach this node by. The CA looks for it at port 443 of each. \
                 Without any, no certificate is asked for."
            ),
            key!(
                kind::CONTACT,
                acme.contact,
                "Mail addresses that the CA may write to about the account."
            ),
            key!(
                kind::HTTPS_URL,
                acme.directory,
                "The CA's ACME directory; the default is Let's Encrypt. Try things out with its staging \
                 directory, whose limits are wide."
            ),
            key!(
                kind::BOOLEAN,
                acme.terms_agreed,
                "You have read the CA's terms and agree to them. Needed with domains."
            ),
            key!(
                kind::OPTIONAL_FILE,
                acme.ca,
                "PEM file of the authorities by which the CA's own server is known, if it is a private \
                 CA; else those that browsers trust."
            ),
        ],
    },
    Section {
        name: "http",
        why: "Whom to trust about where a request comes from.",
        keys: &[
            key!(
                kind::ORIGINS,
                http.origins,
                "Pages that may connect although another host served them. The same host, and a \
                 client that names no origin, always may."
            ),
            key!(
                kind::NETWORKS,
                http.trusted_proxies,
                "Proxies whose X-Forwarded-For and Forwarded headers name the client; from anyone \
                 else they are ignored."
            ),
        ],
    },
    Section {
        name: "auth",
        why: "How clients prove who they are.",
        keys: &[
            key!(
                kind::AUTH_MODE,
                auth.mode,
                "\"session\": each client needs a valid session. \"none\": anyone may connect, \
                 and is who they say they are."
            ),
            key!(
                kind::COOKIE,
                auth.cookie,
                "The cookie that carries a signed session id; express-session's default is the \
                 same."
            ),
            Key {
                secret: true,
                ..key!(
                    kind::SECRETS,
                    auth.secrets,
                    "Keys of the cookie's signature: the first signs, all verify, so put a new one \
                         first to rotate. SESSION_SECRET=… in the environment adds one. Without \
                         any, the node makes one and keeps it."
                )
            },
            key!(
                kind::DURATION,
                auth.connect_timeout,
                "A connection that has not joined a namespace by then is closed."
            ),
            key!(
                kind::DURATION,
                auth.session_ttl,
                "How long a login lasts, unless its creator says otherwise."
            ),
            Key {
                secret: true,
                ..key!(
                    kind::OPTIONAL_SECRET,
                    auth.api_key,
                    "One API key with all scopes, beside those that `tidings key` makes. Better \
                     given as TIDINGS_API_KEY=… than written here."
                )
            },
        ],
    },
    Section {
        name: "limits",
        why: "What one user, address or connection may use up.",
        keys: &[
            key!(
                kind::LIMIT,
                limits.events_per_minute_per_user,
                "Events from all of a user's sockets, in a sliding window."
            ),
            key!(
                kind::LIMIT,
                limits.connections_per_minute_per_ip,
                "New connections from one address (IPv6: one /64 network). A client that recovers \
                 is not counted."
            ),
            key!(
                kind::LIMIT,
                limits.subscriptions_per_user,
                "Distinct rooms that a user is subscribed to."
            ),
            key!(
                kind::CONNECTIONS,
                limits.connections,
                "Connections on this node; the file-descriptor limit may lower it."
            ),
            key!(
                kind::SIZE,
                limits.payload,
                "One packet from a client, and the body of one poll; clients are told."
            ),
            key!(
                kind::SIZE,
                limits.outbox,
                "Bytes that may wait for a slow reader; it is closed when they are more."
            ),
            key!(kind::HEADER, limits.header, "The head of an HTTP request."),
            key!(
                kind::SIZE,
                limits.api_body,
                "The body of a request to the API; of the NDJSON stream, one line."
            ),
            key!(
                kind::LIMIT,
                limits.logins_per_minute_per_ip,
                "Attempts to log in from one address."
            ),
            key!(
                kind::LIMIT,
                limits.logins_per_minute_per_user,
                "Attempts to log in as one user."
            ),
            key!(
                kind::LIMIT,
                limits.abuse_windows,
                "A socket is disconnected after this many times events_per_minute_per_user refused \
                 events within a minute."
            ),
        ],
    },
    Section {
        name: "engine",
        why: "Keeping connections alive.",
        keys: &[
            key!(
                kind::DURATION,
                engine.ping_interval,
                "Time between two pings to a client. Shorter finds dead clients sooner, and costs \
                 traffic and batteries."
            ),
            key!(
                kind::DURATION,
                engine.ping_timeout,
                "Time a client has to answer one; then it is gone."
            ),
            key!(
                kind::DURATION,
                engine.upgrade_timeout,
                "Time a client has to finish its upgrade from polling to WebSocket."
            ),
            key!(
                kind::TRANSPORTS,
                engine.transports,
                "What clients may use. With WebSocket alone, a proxy that blocks it shuts clients \
                 out."
            ),
        ],
    },
    Section {
        name: "recovery",
        why: "What recoverable rooms keep for clients that come back.",
        keys: &[
            key!(
                kind::DURATION_OR_OFF,
                recovery.window,
                "A client back within this time misses nothing. \"0s\" keeps nothing: a client \
                 starts afresh."
            ),
            key!(
                kind::POSITIVE,
                recovery.entries_per_room,
                "Events kept per room; a client that missed more is told that it did."
            ),
            key!(
                kind::SIZE,
                recovery.memory,
                "Memory for the history of all rooms; the oldest goes first."
            ),
        ],
    },
    Section {
        name: "drain",
        why: "Leaving after SIGTERM.",
        keys: &[
            key!(
                kind::DURATION,
                drain.deadline,
                "The longest time until exit. Keep it below the patience of whoever sends the \
                 signal (Kubernetes: 30 s)."
            ),
            key!(
                kind::DURATION_OR_OFF,
                drain.spread,
                "Clients are told to move at random moments within this time, so that they do not \
                 all return at once."
            ),
        ],
    },
    Section {
        name: "cluster",
        why: "Several nodes that behave as one. All need the same key; nothing else must be told \
              of a node that comes or goes.",
        keys: &[
            key!(
                kind::OPTIONAL_FILE,
                cluster.key,
                "The key file that `tidings cluster key` makes, the same on every node. Without \
                 it this node is alone."
            ),
            key!(
                kind::NAME,
                cluster.name,
                "The cluster's name. Nodes of a cluster of another name are refused."
            ),
            key!(
                kind::ADDRESS,
                cluster.listen,
                "Other nodes connect here, over UDP."
            ),
            key!(
                kind::OPTIONAL_ADDRESS,
                cluster.advertise,
                "The address that other nodes are told. Needed where cluster.listen names none."
            ),
            key!(
                kind::SEEDS,
                cluster.seeds,
                "Some nodes to begin with; they tell of the others. Its own address does no harm."
            ),
            key!(
                kind::POSITIVE,
                cluster.size,
                "How many nodes there are to be. A recoverable event counts as kept if more than \
                 half of them know who holds it; nodes that are away count. Nodes beyond it are \
                 counted once they have been ready."
            ),
            key!(
                kind::SIZE,
                cluster.queue,
                "What may wait for one node that cannot keep up. Beyond it the oldest events for \
                 that node are dropped and counted."
            ),
        ],
    },
    Section {
        name: "mongodb",
        why: "The MongoDB in which an application keeps its logins and data. Without a connection \
              string this node shares nothing. MongoDB need not be there when the node starts.",
        keys: &[
            Key {
                secret: true,
                ..key!(
                    kind::OPTIONAL_URI,
                    mongodb.uri,
                    "Where it is, and as whom: hosts, user, TLS and any option of the driver. \
                     Better given as DATABASE_URL=… in the environment, or by uri_file, than \
                     written here."
                )
            },
            key!(
                kind::OPTIONAL_FILE,
                mongodb.uri_file,
                "A file that holds the connection string, such as a mounted secret."
            ),
            key!(
                kind::DATABASE,
                mongodb.database,
                "The database, if it is not the one that the connection string names."
            ),
            key!(
                kind::COLLECTION,
                mongodb.sessions,
                "The collection of sessions, as connect-mongo writes it; its default is the same. \
                 \"\" shares no sessions."
            ),
            key!(
                kind::BOOLEAN,
                mongodb.snapshots,
                "Whether the built-in channels are answered with what the collections portfolios \
                 and trades hold of the user (`userId`), and know the user's symbols in watchlists."
            ),
            key!(
                kind::BOOLEAN,
                mongodb.join_watchlists,
                "Whether clients are subscribed to these symbols as they connect; else they are \
                 when they ask for the watchlist without symbols."
            ),
            key!(
                kind::DURATION,
                mongodb.timeout,
                "The longest time that an operation may take; then it counts as failed."
            ),
        ],
    },
    Section {
        name: "session",
        why: "The sessions that an application keeps in MongoDB.",
        keys: &[
            key!(
                kind::FIELD_PATH,
                session.user_field,
                "Where the user's id stands in a session, with dots between names: userId, \
                 passport.user."
            ),
            key!(
                kind::DOCUMENT_ID,
                session.document_id,
                "What the _id of a session's document is made of: connect-mongo's transformId. \
                 {sid} is the session id, {sha256} its SHA-256 in hexadecimal."
            ),
            Key {
                secret: true,
                ..key!(
                    kind::OPTIONAL_PASSPHRASE,
                    session.secret,
                    "What the application encrypts sessions with, if it does: connect-mongo's \
                     crypto.secret, or the secret of its Web Crypto adapter. Better given in the \
                     environment, or by secret_file, than written here."
                )
            },
            key!(
                kind::OPTIONAL_FILE,
                session.secret_file,
                "A file that holds that secret."
            ),
            key!(
                kind::DURATION,
                session.cache,
                "How long a session that was read lets its user in without being read again, \
                 while MongoDB tells of changes."
            ),
            key!(
                kind::DURATION,
                session.recheck,
                "How often sessions of connected clients are looked at where MongoDB cannot tell \
                 of changes."
            ),
        ],
    },
    Section {
        name: "admin_ui",
        why: "Socket.IO's Admin UI: a page of its own that connects to this namespace, logs in, and \
              sees all nodes. Set the same on every node.",
        keys: &[
            key!(
                kind::BOOLEAN,
                admin_ui.enabled,
                "Whether the namespace is there. The page's own origin has to be among \
                 http.origins."
            ),
            key!(
                kind::NAMESPACE,
                admin_ui.namespace,
                "The namespace; the page's default is the same. It must not be among \
                 [[namespaces]]."
            ),
            key!(kind::NAME, admin_ui.username, "Who may log in."),
            Key {
                secret: true,
                ..key!(
                    kind::OPTIONAL_PASSWORD_HASH,
                    admin_ui.password_hash,
                    "The hash of the password, as `tidings hash-password` prints it."
                )
            },
            key!(
                kind::OPTIONAL_FILE,
                admin_ui.password_hash_file,
                "A file that holds that hash, such as a mounted secret."
            ),
            key!(
                kind::ADMIN_UI_MODE,
                admin_ui.mode,
                "\"production\" shows figures. \"development\" also shows clients, rooms and \
                 events with their contents, and keeps the headers of each connection."
            ),
            key!(
                kind::BOOLEAN,
                admin_ui.read_only,
                "Whether it only shows: else it may emit, move sockets between rooms, and \
                 disconnect them."
            ),
        ],
    },
    Section {
        name: "log",
        why: "The daemon's own log, on standard error. Tokens, cookies and payloads never stand \
              in it.",
        keys: &[
            key!(
                kind::LOG_LEVEL,
                log.level,
                "How much to tell. TIDINGS_LOG=… in the environment does the same."
            ),
            key!(
                kind::LOG_FORMAT,
                log.format,
                "\"text\" for people, \"json\" for machines."
            ),
        ],
    },
];
