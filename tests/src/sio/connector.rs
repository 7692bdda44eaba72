//! What a client shows when it connects.

use serde_json::{Value, json};

use super::SioClient;
use super::wire::prefix;
use crate::engine_ws::{EngineWs, Refused};

/// A client to be.
#[derive(Debug, Clone)]
pub struct Connector {
    /// `127.0.0.1:PORT`
    address: String,
    /// `/socket.io/` unless a test says otherwise.
    path: String,
    /// `/` or another.
    namespace: String,
    /// The CONNECT payload; `null` sends none.
    auth: Value,
    /// Added to the handshake's query.
    query: String,
    /// Added to the handshake's request.
    headers: Vec<(String, String)>,
}

/// Why a client did not connect.
#[derive(Debug)]
pub enum Failure {
    /// The upgrade was answered with an HTTP error.
    Refused(Refused),
    /// CONNECT_ERROR: `message` and `data`.
    ConnectError(Value),
    /// The transport closed first, with this close frame.
    Closed(Option<(u16, String)>),
}

/// What a connection recovers with.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The private id given at CONNECT.
    pub pid: String,
    /// The last offset seen.
    pub offset: Option<String>,
}

impl Connector {
    /// A client for `address` in `/`, with no credentials.
    pub fn to(address: &str) -> Connector {
        Connector {
            address: address.to_owned(),
            path: "/socket.io/".to_owned(),
            namespace: "/".to_owned(),
            auth: Value::Null,
            query: String::new(),
            headers: Vec::new(),
        }
    }

    /// Joins another namespace.
    pub fn namespace(mut self, namespace: &str) -> Connector {
        self.namespace = namespace.to_owned();
        self
    }

    /// Sets the CONNECT payload.
    pub fn auth(mut self, auth: Value) -> Connector {
        self.auth = auth;
        self
    }

    /// Presents what an earlier connection left.
    pub fn recover(mut self, recovery: &Recovery) -> Connector {
        if self.auth.is_null() {
            self.auth = json!({});
        }
        self.auth["pid"] = json!(recovery.pid);
        if let Some(offset) = &recovery.offset {
            self.auth["offset"] = json!(offset);
        }
        self
    }

    /// Adds `name=value` to the handshake's query.
    pub fn query(mut self, pair: &str) -> Connector {
        self.query.push('&');
        self.query.push_str(pair);
        self
    }

    /// Adds a header to the handshake's request.
    pub fn header(mut self, name: &str, value: &str) -> Connector {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Opens the connection and stops there: what follows is up to the test.
    pub async fn engine(&self) -> Result<EngineWs, Refused> {
        let query = format!("EIO=4&transport=websocket{}", self.query);
        let mut ws =
            EngineWs::try_connect(&self.address, &self.path, &query, &self.headers).await?;
        ws.handshake().await;
        Ok(ws)
    }

    /// Connects.
    pub async fn connect(&self) -> Result<SioClient, Failure> {
        let mut ws = self.engine().await.map_err(Failure::Refused)?;
        let payload = if self.auth.is_null() {
            String::new()
        } else {
            self.auth.to_string()
        };
        ws.send(format!("40{}{payload}", prefix(&self.namespace)))
            .await;
        let presented_pid = self.auth["pid"].as_str().map(str::to_owned);
        let mut client = SioClient::over(ws, &self.namespace, presented_pid);
        client.await_connect().await?;
        Ok(client)
    }

    /// Connects where a CONNECT_ERROR is due; gives its payload.
    pub async fn connect_error(&self) -> Value {
        match self.connect().await {
            Err(Failure::ConnectError(error)) => error,
            Err(other) => panic!("a CONNECT_ERROR was due, came {other:?}"),
            Ok(_) => panic!("a CONNECT_ERROR was due, but it connected"),
        }
    }
}
