//! Engine.IO over long polling: one request each, packets as they are on the wire.

use serde_json::Value;

use crate::raw_http::{RawHttp, Response};

/// Separates packets in a payload.
pub const SEPARATOR: char = '\u{1e}';

/// A session over polling.
pub struct EnginePolling {
    /// `127.0.0.1:PORT`
    address: String,
    /// `/socket.io/`
    path: String,
    /// The engine's session id.
    sid: String,
}

impl EnginePolling {
    /// Opens a session; gives the handshake too.
    pub async fn open(address: &str, path: &str) -> (EnginePolling, Value) {
        let target = format!("{path}?EIO=4&transport=polling");
        let response = RawHttp::get(address, &target).await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        let packet = response.text();
        let json = packet
            .strip_prefix('0')
            .unwrap_or_else(|| panic!("not an open: {packet:?}"));
        let handshake: Value =
            serde_json::from_str(json).unwrap_or_else(|e| panic!("{json:?}: {e}"));
        let sid = handshake["sid"]
            .as_str()
            .expect("an open packet has a sid")
            .to_owned();
        (
            EnginePolling {
                address: address.to_owned(),
                path: path.to_owned(),
                sid,
            },
            handshake,
        )
    }

    /// The same session, its requests sent to another address.
    pub fn at(&self, address: &str) -> EnginePolling {
        EnginePolling {
            address: address.to_owned(),
            path: self.path.clone(),
            sid: self.sid.clone(),
        }
    }

    /// The engine's session id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Path and query of this session's requests.
    pub fn target(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.sid)
    }

    /// Query for a WebSocket that upgrades this session.
    pub fn upgrade_query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// One GET, whatever its answer.
    pub async fn get(&self) -> Response {
        RawHttp::get(&self.address, &self.target()).await
    }

    /// One POST, whatever its answer.
    pub async fn post(&self, body: impl AsRef<[u8]>) -> Response {
        let headers = [("Content-Type", "text/plain;charset=UTF-8")];
        RawHttp::once(
            &self.address,
            "POST",
            &self.target(),
            &headers,
            body.as_ref(),
        )
        .await
    }

    /// Posts packets and checks that they were taken.
    pub async fn send(&self, packets: &[&str]) {
        let response = self.post(packets.join(&SEPARATOR.to_string())).await;
        assert_eq!(
            (response.status, response.text()),
            (200, "ok"),
            "posting {packets:?}"
        );
    }

    /// Polls once; gives the packets of the answer.
    pub async fn poll(&self) -> Vec<String> {
        let response = self.get().await;
        assert_eq!(
            response.status,
            200,
            "a poll was refused: {}",
            response.text()
        );
        response
            .text()
            .split(SEPARATOR)
            .map(str::to_owned)
            .collect()
    }

    /// Sends a GET and leaves it hanging.
    pub async fn hanging_get(&self) -> RawHttp {
        let mut http = RawHttp::connect(&self.address).await;
        http.send_request("GET", &self.target(), &[], b"")
            .await
            .expect("a GET can be sent");
        http
    }
}
