//! PURE: a socket as the page shows it.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::redact;
use crate::{app::handler::Handshake, shard::machine::Transport};

/// Characters of what stands for a connection.
const CLIENT_ID: usize = 12;

/// What a shard knows of a socket that is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: Arc<str>,
    pub(crate) namespace: Arc<str>,
    /// The id of its connection, which is secret.
    pub(crate) connection: Arc<str>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) transport: Transport,
    /// Its rooms beside the one of its own id.
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) handshake: Arc<Handshake>,
    /// When its connection was opened, Unix milliseconds.
    pub(crate) issued_ms: u64,
}

impl Seen {
    /// The form that the page knows: that of `socket.io`, without CONNECT payload and secrets.
    pub(crate) fn json(&self) -> Value {
        let handshake = &*self.handshake;
        let headers = handshake.headers.as_deref().unwrap_or_default();
        let has_origin = headers.iter().any(|(name, _)| name == "origin");
        let (url, query) = redact::url(handshake.url.as_deref().unwrap_or_default());
        let data = self.user.as_ref().map(|user| json!({ "userId": user }));
        let rooms: Vec<&Arc<str>> = std::iter::once(&self.id).chain(&self.rooms).collect();
        json!({
            "id": self.id,
            "clientId": client_id(&self.connection),
            "transport": self.transport.name(),
            "nsp": self.namespace,
            "data": data.unwrap_or_else(|| json!({})),
            "handshake": {
                "address": handshake.ip,
                "headers": redact::headers(headers),
                "query": query,
                "issued": self.issued_ms,
                "secure": handshake.secure,
                "time": time(self.issued_ms),
                "url": url,
                "xdomain": has_origin,
            },
            "rooms": rooms,
        })
    }
}

/// The same for all sockets of a connection; its id cannot be had from it.
fn client_id(connection: &str) -> String {
    let mut text = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(connection));
    text.truncate(CLIENT_ID);
    text
}

/// A time as JavaScript's `toISOString` writes it.
pub(super) fn time(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_shown_without_its_secrets() {
        let handshake = Handshake {
            ip: [192, 0, 2, 7].into(),
            secure: true,
            cookie: Some("connect.sid=secret".into()),
            recovery: true,
            url: Some("/socket.io/?EIO=4&transport=websocket&token=secret".into()),
            headers: Some(vec![
                ("cookie".into(), "connect.sid=secret".into()),
                ("origin".into(), "https://a.example".into()),
            ]),
        };
        let seen = Seen {
            id: "id".into(),
            namespace: "/".into(),
            connection: "secret connection".into(),
            user: Some("alice".into()),
            transport: Transport::WebSocket,
            rooms: vec!["news".into()],
            handshake: Arc::new(handshake),
            issued_ms: 1_000,
        };
        let shown = seen.json();
        assert!(!shown.to_string().contains("secret"), "{shown:#}");
        assert_eq!(shown["rooms"], json!(["id", "news"]));
        assert_eq!(shown["data"], json!({ "userId": "alice" }));
        assert_eq!(shown["handshake"]["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!(shown["handshake"]["xdomain"], true);
        assert_eq!(shown["clientId"].as_str().unwrap().len(), CLIENT_ID);
    }
}
