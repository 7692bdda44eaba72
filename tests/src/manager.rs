//! A stand-in for systemd: the socket that a service tells of itself on (`sd_notify(3)`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::{Node, PATIENCE};

/// Hears what one node says of itself.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// The socket's folder.
    _home: TempDir,
}

impl Manager {
    /// One that nobody talks to yet.
    pub fn new() -> Manager {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket can be made");
        Manager {
            socket,
            path,
            _home: home,
        }
    }

    /// Has a node talk to it, and be fed its watchdog within the time given.
    pub fn of(&self, node: Node, watchdog: Duration) -> Node {
        node.env("NOTIFY_SOCKET", text(&self.path))
            .env("WATCHDOG_USEC", &watchdog.as_micros().to_string())
    }

    /// The next message: lines such as `READY=1`.
    pub async fn next(&self) -> String {
        self.next_within(PATIENCE)
            .await
            .expect("the node says something")
    }

    /// The next message, if one comes in time.
    pub async fn next_within(&self, time: Duration) -> Option<String> {
        let mut message = [0; 4096];
        let received = timeout(time, self.socket.recv(&mut message)).await.ok()?;
        let length = received.expect("the socket can be read");
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// Waits for a message with this line; gives all of it.
    pub async fn expect(&self, line: &str) -> String {
        loop {
            let message = self.next().await;
            if message.lines().any(|other| other == line) {
                return message;
            }
        }
    }
}

impl Default for Manager {
    fn default() -> Manager {
        Manager::new()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
