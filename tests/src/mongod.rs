//! A genuine MongoDB server: started, restarted, killed, made to fail.
//!
//! ```no_run
//! # async fn f() {
//! use tidings_tests::{Mongod, Node};
//!
//! let mut mongod = Mongod::replica_set().await;
//! let node = Node::new().config("mongodb.uri", mongod.uri("app")).start().await;
//! mongod.kill9();
//! # }
//! ```
//!
//! `MONGOD_BIN` names the program; without it, it is the one that `tests/run --setup` installs.
//! [`Mongod::shared`] is one replica set for all tests that only read and write: each has a database
//! of its own there. `MONGODB_TEST_URI` names another server in its place.

mod fail;
mod shared;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use tempfile::TempDir;

use crate::process::Process;
use crate::{Certificate, PATIENCE, eventually, port};

pub use fail::Fail;
pub use shared::SharedMongo;

/// What it logs once it listens.
const LISTENS: &str = "Waiting for connections";

/// The name of every replica set here.
const SET: &str = "rs0";

/// The user with all rights of a server that asks who is there.
const ROOT: (&str, &str) = ("root", "root-password");

/// Files of a server that speaks TLS, beside its data.
const CERTIFICATE: &str = "server.pem";
const AUTHORITY: &str = "authority.pem";

/// A debug build is not what makes it slow: a machine that is busy is.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running server. Dropping it ends it, and fails the test if it ended by itself.
pub struct Mongod {
    /// Ends before `home`, which holds its data.
    process: Process,
    kind: Kind,
    port: u16,
    home: TempDir,
}

/// How a server runs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    replica_set: bool,
    /// Whether it lets in only users that it knows.
    asks_who: bool,
    /// Whether it speaks TLS, and nothing else.
    tls: bool,
}

/// One that lets in everybody, in the clear.
const ALONE: Kind = Kind {
    replica_set: false,
    asks_who: false,
    tls: false,
};

impl Mongod {
    /// A replica set of one server, which is its primary.
    pub async fn replica_set() -> Mongod {
        Mongod::start(Kind {
            replica_set: true,
            ..ALONE
        })
        .await
    }

    /// A server that is no replica set, and so has no change streams.
    pub async fn standalone() -> Mongod {
        Mongod::start(ALONE).await
    }

    /// A server, no replica set, that lets in only users that it knows; see [`Mongod::add_user`].
    pub async fn with_users() -> Mongod {
        Mongod::start_with_users(ALONE).await
    }

    /// The same, over TLS and nothing else; see [`Mongod::authority_file`].
    pub async fn with_users_over_tls() -> Mongod {
        Mongod::start_with_users(Kind { tls: true, ..ALONE }).await
    }

    /// The PEM file of the authority that its certificate is from.
    pub fn authority_file(&self) -> PathBuf {
        self.home.path().join(AUTHORITY)
    }

    /// Adds a user of a database with this password and these roles, as `createUser` takes them.
    pub async fn add_user(&self, database: &str, name: &str, password: &str, roles: Vec<Document>) {
        let create = doc! { "createUser": name, "pwd": password, "roles": roles };
        let made = self.database(database).await.run_command(create).await;
        made.expect("a user can be made");
    }

    /// The connection string to a database of it, for those whom it lets in as they are.
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}{}", self.address(), self.options())
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A database of it, with all rights.
    pub async fn database(&self, name: &str) -> Database {
        client(&self.root_uri()).await.database(name)
    }

    /// Kills it with no goodbye. [`Mongod::start_again`] may follow.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Stops it in its tracks: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Starts it, after its end, on the same port and data; returns when it serves.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.kind, self.port, self.home.path());
        self.listen(self.listened()).await;
        if self.kind.replica_set {
            self.become_primary().await;
        }
    }

    /// Shuts it down, then starts it on the same port and data.
    pub async fn restart(&mut self) {
        self.process.term().await;
        self.start_again().await;
    }

    /// Lets the primary step down; it may be elected again after `pause`, and is at the latest once
    /// that is over.
    pub async fn step_down(&self, pause: Duration) {
        let seconds = i64::try_from(pause.as_secs()).expect("a pause is short");
        let down = doc! { "replSetStepDown": seconds, "force": true };
        let done = self.direct().await.run_command(down).await;
        done.expect("a primary can step down");
    }

    async fn start_with_users(kind: Kind) -> Mongod {
        let mongod = Mongod::start(Kind {
            asks_who: true,
            ..kind
        })
        .await;
        let (root, password) = ROOT;
        let create = doc! { "createUser": root, "pwd": password, "roles": ["root"] };
        // The first user may be made by anybody on the same machine.
        let first = client(&mongod.uri("")).await;
        let made = first.database("admin").run_command(create).await;
        made.expect("the first user can be made");
        mongod
    }

    async fn start(kind: Kind) -> Mongod {
        let home = tempfile::Builder::new().prefix("tidings-mongod-").tempdir();
        let home = home.expect("a temporary folder can be made");
        if kind.tls {
            let Certificate {
                chain,
                key,
                authority,
                ..
            } = Certificate::new();
            for (name, text) in [(CERTIFICATE, chain + &key), (AUTHORITY, authority)] {
                let written = std::fs::write(home.path().join(name), text);
                written.expect("the test's folder can be written");
            }
        }
        let port = port::free();
        let process = spawn(kind, port, home.path());
        let mut mongod = Mongod {
            process,
            kind,
            port,
            home,
        };
        mongod.listen(0).await;
        if kind.replica_set {
            initiate(&mongod.direct().await, &mongod.address()).await;
            mongod.become_primary().await;
        }
        mongod
    }

    /// How often it has said that it listens.
    fn listened(&self) -> usize {
        self.process.log().matches(LISTENS).count()
    }

    async fn listen(&mut self, before: usize) {
        let listens = |log: &str| (log.matches(LISTENS).count() > before).then_some(());
        self.process
            .wait_for(LISTENS, START_DEADLINE, listens)
            .await;
    }

    async fn become_primary(&self) {
        let admin = self.direct().await;
        eventually("it is the primary", async || is_primary(&admin).await).await;
    }

    /// The administration of this server, whatever it is just now.
    async fn direct(&self) -> Database {
        let direct = self.with_options(&["directConnection=true".to_owned()]);
        let uri = format!("mongodb://{}/{direct}", self.authority());
        client(&uri).await.database("admin")
    }

    fn root_uri(&self) -> String {
        format!("mongodb://{}/{}", self.authority(), self.options())
    }

    /// What a connection string ends with.
    fn options(&self) -> String {
        let set = self.kind.replica_set.then(|| format!("replicaSet={SET}"));
        self.with_options(set.as_slice())
    }

    fn with_options(&self, options: &[String]) -> String {
        let authority = self.authority_file();
        let tls = self.kind.tls.then(|| {
            let authority = authority.display();
            format!("tls=true&tlsCAFile={authority}")
        });
        let all: Vec<&str> = options.iter().chain(&tls).map(String::as_str).collect();
        match all.is_empty() {
            true => String::new(),
            false => format!("?{}", all.join("&")),
        }
    }

    fn authority(&self) -> String {
        let (root, password) = ROOT;
        match self.kind.asks_who {
            true => format!("{root}:{password}@127.0.0.1:{}", self.port),
            false => self.address(),
        }
    }
}

/// A client of a test's own: it ends with the test's runtime.
async fn client(uri: &str) -> Client {
    let client = Client::with_uri_str(uri).await;
    client.unwrap_or_else(|error| panic!("{uri}: {error}"))
}

async fn initiate(admin: &Database, address: &str) {
    let members = vec![doc! { "_id": 0, "host": address }];
    let set = doc! { "replSetInitiate": { "_id": SET, "members": members } };
    let done = admin.run_command(set).await;
    done.expect("a replica set can be made");
}

async fn is_primary(admin: &Database) -> bool {
    let hello = admin.run_command(doc! { "hello": 1 }).await;
    hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
}

fn spawn(kind: Kind, port: u16, home: &Path) -> Process {
    let data = home.join("data");
    std::fs::create_dir_all(&data).expect("the test's folder can be written");
    let command = command(kind, port, &data);
    Process::spawn("mongod", command, &home.join("log"))
}

fn command(kind: Kind, port: u16, data: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--dbpath")
        .arg(data)
        .args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1"])
        .args(["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"])
        // Little is written to disk that nobody reads.
        .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
        .args([
            "--wiredTigerEngineConfigString",
            "log=(prealloc=false,file_max=10MB)",
        ])
        // What has expired is deleted within a second, not within a minute.
        .args(["--setParameter", "ttlMonitorSleepSecs=1"])
        .args(["--setParameter", "enableTestCommands=1"]);
    if kind.replica_set {
        command.args(["--replSet", SET, "--oplogSize", "64"]);
    }
    if kind.asks_who {
        command.arg("--auth");
    }
    if kind.tls {
        command
            .args(["--tlsMode", "requireTLS"])
            .arg("--tlsAllowConnectionsWithoutCertificates")
            .arg("--tlsCertificateKeyFile")
            .arg(data.with_file_name(CERTIFICATE))
            .arg("--tlsCAFile")
            .arg(data.with_file_name(AUTHORITY));
    }
    command
}

fn binary() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.tools/mongod/fiftyone/db/bin/mongod"
    );
    let path = std::env::var_os("MONGOD_BIN").map_or_else(|| installed.into(), PathBuf::from);
    assert!(
        path.exists(),
        "no {}: run `tests/run --setup` first, or name a mongod in MONGOD_BIN",
        path.display()
    );
    path
}

/// Waits for something of MongoDB within the test's patience.
async fn soon<T>(what: &str, doing: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, doing).await;
    done.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
