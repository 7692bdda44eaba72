//! One server for all tests of a program that only read and write.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mongodb::{Client, Database};
use tokio::sync::OnceCell;

use super::{ALONE, Kind, LISTENS, Mongod, SET, client, command, initiate, is_primary, soon};
use crate::{eventually, port};

/// Ends the server with the program that started it, however that ends: the pipe that it waits on
/// closes. `$1` is the server's folder, the rest its command line.
const WATCH: &str = r#"dir=$1; shift
"$@" >"$dir/log" 2>&1 &
read -r _
kill -9 $!
wait
rm -rf "$dir""#;

/// The server, and what its end hangs on.
struct Running {
    /// Without its database: `mongodb://HOSTS/`, and the options.
    uri: (String, String),
    /// Its pipe is open while the program lives.
    _watch: Option<Child>,
}

static SHARED: OnceCell<Running> = OnceCell::const_new();

/// A test's own database on the server that all tests share.
pub struct SharedMongo {
    uri: String,
    name: String,
    client: Client,
}

impl Mongod {
    /// A database of one's own on a replica set that all tests of this program share.
    pub async fn shared() -> SharedMongo {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let running = SHARED.get_or_init(start).await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let (hosts, options) = &running.uri;
        let uri = format!("{hosts}/{name}{options}");
        let client = client(&uri).await;
        SharedMongo { uri, name, client }
    }
}

impl SharedMongo {
    /// The connection string to the database.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The database.
    pub fn database(&self) -> Database {
        self.client.database(&self.name)
    }
}

async fn start() -> Running {
    if let Ok(uri) = std::env::var("MONGODB_TEST_URI") {
        let (hosts, options) = uri.split_once('?').unwrap_or((&uri, ""));
        let hosts = hosts.trim_end_matches('/').to_owned();
        let options = format!("?{options}");
        eprintln!("MongoDB for the tests is that of MONGODB_TEST_URI");
        return Running {
            uri: (hosts, options),
            _watch: None,
        };
    }
    let home = tempfile::Builder::new().prefix("tidings-mongod-").tempdir();
    // The watcher removes it.
    let home = home.expect("a temporary folder can be made").keep();
    let port = port::free();
    let kind = Kind {
        replica_set: true,
        ..ALONE
    };
    let server = command(kind, port, &home);
    eprintln!("MongoDB for the tests is {:?}", server.get_program());
    let watch = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .arg(&home)
        .arg(server.get_program())
        .args(server.get_args())
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell can be started");
    let begun = Instant::now();
    let log = home.join("log");
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains(LISTENS)) {
        let log = log.display();
        assert!(begun.elapsed() < super::START_DEADLINE, "see {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let address = format!("127.0.0.1:{port}");
    let admin = client(&format!("mongodb://{address}/?directConnection=true")).await;
    let admin = admin.database("admin");
    soon("a replica set is made", initiate(&admin, &address)).await;
    eventually("it is the primary", async || is_primary(&admin).await).await;
    Running {
        uri: (format!("mongodb://{address}"), format!("?replicaSet={SET}")),
        _watch: Some(watch),
    }
}
