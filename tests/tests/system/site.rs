//! A machine on which the package is installed and configured as its documentation says.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::sio::Connector;
use tidings_tests::{Machine, RawHttp, SessionCreds, SioClient, machine};

/// The version of the package that is installed first.
pub(crate) const FIRST: &str = "0.1.0-1";

/// The version that it is upgraded to.
pub(crate) const NEXT: &str = "99.0.0-1";

/// A key with all scopes; systemd hands it over as a credential.
const KEY: &str = "a key for the whole site";

/// How long the service may take for anything.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A machine with a node.
pub(crate) struct Site {
    pub(crate) machine: Machine,
    /// Where clients connect, and backends.
    pub(crate) public: String,
    pub(crate) private: String,
}

impl Site {
    /// Installed into a clean root, booted, configured, and not started.
    pub(crate) fn new() -> Site {
        let mut machine = Machine::new();
        let package = machine.bring(&machine::package(FIRST));
        machine.run(&["dpkg", "--install", &package]).ok();
        machine.boot();
        let site = Site {
            machine,
            public: free_address(),
            private: free_address(),
        };
        site.set("public", &site.public);
        site.set("private", &site.private);
        site.set_raw("connections_per_minute_per_ip", "0");
        site.machine
            .write("/etc/credstore/tidings.auth.api_key", KEY);
        site
    }

    /// The same, and started.
    pub(crate) fn started() -> Site {
        let site = Site::new();
        site.machine.run(&["systemctl", "start", "tidings"]).ok();
        site
    }

    /// Changes a text in the configuration file.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.set_raw(key, &format!("\"{value}\""));
    }

    /// Changes the first setting of that name in the configuration file.
    pub(crate) fn set_raw(&self, key: &str, value: &str) {
        let path = "/etc/tidings/tidings.toml";
        let text = self.machine.read(path);
        let start = format!("{key} = ");
        let old = text.lines().find(|line| line.starts_with(&start));
        let old = old.unwrap_or_else(|| panic!("no {key}"));
        let new = text.replacen(old, &format!("{key} = {value}"), 1);
        self.machine.write(path, &new);
    }

    /// `systemctl`, which has to go well.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> String {
        self.machine.run(&[&["systemctl"], arguments].concat()).ok()
    }

    /// Whether the service is `active`, `inactive`, `failed`…
    pub(crate) fn state(&self) -> String {
        self.machine.property("tidings", "ActiveState")
    }

    /// A request to the private API.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let key = format!("Bearer {KEY}");
        let headers = [
            ("Authorization", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let answer = RawHttp::once(&self.private, method, path, &headers, &body).await;
        (answer.status, answer.json())
    }

    /// A session of a user.
    pub(crate) async fn session(&self, user: &str) -> SessionCreds {
        let (status, answer) = self
            .api("POST", "/api/v1/sessions", json!({"userId": user}))
            .await;
        assert_eq!(status, 201, "{answer}");
        SessionCreds {
            session_id: answer["sessionID"].as_str().expect("a string").to_owned(),
            user_id: user.to_owned(),
        }
    }

    /// A client of a user, which follows the user's trades.
    pub(crate) async fn trader(&self, session: &SessionCreds) -> SioClient {
        let connector = Connector::to(&self.public).auth(session.auth());
        let client = connector.connect().await;
        let mut client = client.expect("a valid session connects");
        let joined = client.ask("subscribe:trades", Value::Null).await;
        assert_eq!(joined["ok"], true, "{joined}");
        client
    }

    /// A trade of a user.
    pub(crate) async fn trade(&self, user: &str, n: u64) {
        let path = format!("/api/v1/users/{user}/trades/executed");
        let (status, answer) = self.api("POST", &path, json!({"n": n})).await;
        assert_eq!(status, 202, "{answer}");
    }
}

/// An address that nobody uses; taken by the node in a moment.
pub(crate) fn free_address() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").to_string()
}
