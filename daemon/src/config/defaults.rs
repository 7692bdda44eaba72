//! What holds where the operator says nothing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tidings_storage::mongo::session::{DocumentId, FieldPath};

use super::{
    Acme, AdminUi, AdminUiMode, Auth, AuthMode, Channel, CharSet, Class, Cluster, Config, Drain,
    Engine, Http, Keeps, Limits, Listen, Log, LogFormat, MongoDb, Namespace, Node, Order, Param,
    Recovery, RoomTemplate, SharedSession, Snapshot, Stored, Transports,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Least time between two quotes of a symbol, and between two values of any conflated room
/// whose channel names no interval.
pub(super) const CONFLATION_INTERVAL: Duration = Duration::from_millis(250);

/// The namespace that clients join if they name none.
pub(super) const MAIN_NAMESPACE: &str = "/";

impl Default for Config {
    fn default() -> Self {
        Self {
            node: Node::default(),
            listen: Listen::default(),
            tls: None,
            acme: Acme::default(),
            http: Http {
                origins: Vec::new(),
                trusted_proxies: Vec::new(),
            },
            auth: Auth::default(),
            limits: Limits::default(),
            engine: Engine::default(),
            recovery: Recovery::default(),
            cluster: Cluster::default(),
            mongodb: MongoDb::default(),
            session: SharedSession::default(),
            admin_ui: AdminUi::default(),
            drain: Drain {
                deadline: Duration::from_secs(25),
                spread: Duration::from_secs(5),
            },
            log: Log {
                level: "info".into(),
                format: LogFormat::Text,
            },
            namespaces: vec![Namespace {
                name: MAIN_NAMESPACE.into(),
            }],
            channels: trading_profile(),
        }
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            terms_agreed: false,
            ca: None,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: host_name(),
            data_dir: PathBuf::from("/var/lib/tidings"),
            shards: 0,
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            key: None,
            name: "tidings".into(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7946)),
            advertise: None,
            seeds: Vec::new(),
            size: 1,
            queue: 16 * MIB,
        }
    }
}

impl Default for MongoDb {
    fn default() -> Self {
        Self {
            uri: None,
            uri_file: None,
            database: String::new(),
            sessions: "sessions".into(),
            snapshots: true,
            join_watchlists: false,
            timeout: Duration::from_secs(2),
            streams: Vec::new(),
        }
    }
}

impl Default for SharedSession {
    fn default() -> Self {
        Self {
            user_field: FieldPath::parse("userId").expect("it is one name"),
            document_id: DocumentId::parse("{sid}").expect("it has the session id once"),
            secret: None,
            secret_file: None,
            cache: Duration::from_secs(60),
            recheck: Duration::from_secs(1),
        }
    }
}

impl Default for AdminUi {
    fn default() -> Self {
        Self {
            enabled: false,
            namespace: "/admin".into(),
            username: "admin".into(),
            password_hash: None,
            password_hash_file: None,
            mode: AdminUiMode::Production,
            read_only: false,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            public: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            private: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            path: "/socket.io/".into(),
            client_dir: None,
            insecure_private: false,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Session,
            cookie: "connect.sid".into(),
            secrets: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            session_ttl: Duration::from_secs(24 * 60 * 60),
            api_key: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events_per_minute_per_user: 100,
            connections_per_minute_per_ip: 10,
            subscriptions_per_user: 50,
            connections: 100_000,
            payload: 1_000_000,
            outbox: MIB,
            header: 16 * KIB,
            api_body: 10_000_000,
            logins_per_minute_per_ip: 10,
            logins_per_minute_per_user: 5,
            abuse_windows: 3,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            transports: Transports {
                polling: true,
                websocket: true,
            },
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            entries_per_room: 1_000,
            memory: 64 * MIB,
        }
    }
}

/// The name the machine goes by.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        "tidings".into()
    } else {
        name
    }
}

/// The channels of a trading dashboard, offered where the operator names none.
fn trading_profile() -> BTreeMap<String, Channel> {
    let recoverable = |room| channel(room, Class::Recoverable);
    let symbol = Param {
        chars: CharSet::parse("A-Z0-9.^=/:-").expect("the symbol characters are legal"),
        max_len: 32,
        upper: true,
    };
    let watchlist = Channel {
        interval: CONFLATION_INTERVAL,
        params: BTreeMap::from([("symbol".to_owned(), symbol)]),
        ..channel("quote:{symbol}", Class::Conflated)
    };
    BTreeMap::from([
        ("portfolio".to_owned(), recoverable("portfolio:{user}")),
        ("trades".to_owned(), recoverable("trades:{user}")),
        ("watchlist".to_owned(), watchlist),
    ])
}

fn channel(room: &str, class: Class) -> Channel {
    Channel {
        rooms: vec![RoomTemplate::parse(room).expect("the profile's room names are legal")],
        class,
        interval: Duration::ZERO,
        keeps: Keeps::default(),
        params: BTreeMap::new(),
        namespace: MAIN_NAMESPACE.into(),
        snapshot: None,
        stored: None,
    }
}

/// What the channels of a trading dashboard have of MongoDB where that is configured.
pub(super) fn add_profile_data(channels: &mut BTreeMap<String, Channel>, join_watchlists: bool) {
    let portfolio = Snapshot {
        single: true,
        ..Snapshot::of_user("portfolios")
    };
    let newest_first = Order {
        field: "_id".into(),
        descends: true,
    };
    let trades = Snapshot {
        sort: vec![newest_first],
        limit: 50,
        ..Snapshot::of_user("trades")
    };
    for (name, snapshot) in [("portfolio", portfolio), ("trades", trades)] {
        if let Some(channel) = channels.get_mut(name) {
            channel.snapshot.get_or_insert(snapshot);
        }
    }
    let watchlists = Stored {
        collection: "watchlists".into(),
        field: "symbols".into(),
        at_connect: join_watchlists,
        ..Stored::default()
    };
    if let Some(channel) = channels.get_mut("watchlist") {
        channel.stored.get_or_insert(watchlists);
    }
}
