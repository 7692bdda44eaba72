//! Engine.IO over WebSocket: packets as they are on the wire, no pong sent unasked.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::PATIENCE;
use crate::raw_http::Stream;

/// One WebSocket connection.
pub struct EngineWs {
    /// The frames under the packets.
    stream: WebSocketStream<Box<dyn Stream>>,
}

/// What a connection brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text packet, its type digit first.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The end, with the close frame's code and reason if there was one.
    Closed(Option<(u16, String)>),
}

/// An upgrade that was answered by something else than 101.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status; 0 when the connection just closed, or nobody took it.
    pub status: u16,
    /// The answer's body.
    pub body: String,
    /// Value of `Retry-After`.
    pub retry_after: Option<String>,
}

impl EngineWs {
    /// Opens `path?EIO=4&transport=websocket` at `address`, taking the open packet.
    pub async fn open(address: &str, path: &str) -> (EngineWs, Value) {
        let mut ws = EngineWs::connect(address, path, "EIO=4&transport=websocket").await;
        let handshake = ws.handshake().await;
        (ws, handshake)
    }

    /// Connects with that query; panics if the upgrade is refused.
    pub async fn connect(address: &str, path: &str, query: &str) -> EngineWs {
        EngineWs::try_connect(address, path, query, &[])
            .await
            .unwrap_or_else(|refused| panic!("{path}?{query} was refused: {refused:?}"))
    }

    /// Connects with that query and those headers.
    pub async fn try_connect(
        address: &str,
        path: &str,
        query: &str,
        headers: &[(String, String)],
    ) -> Result<EngineWs, Refused> {
        let stream = TcpStream::connect(address).await.map_err(|error| Refused {
            status: 0,
            body: format!("cannot connect to {address}: {error}"),
            retry_after: None,
        })?;
        stream
            .set_nodelay(true)
            .expect("a socket takes its options");
        EngineWs::over(Box::new(stream), address, path, query, headers).await
    }

    /// Upgrades a stream that was made elsewhere.
    pub async fn over(
        stream: Box<dyn Stream>,
        host: &str,
        path: &str,
        query: &str,
        headers: &[(String, String)],
    ) -> Result<EngineWs, Refused> {
        let request = request(host, path, query, headers);
        match timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await {
            Ok(Ok((stream, _))) => Ok(EngineWs { stream }),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => panic!("no answer to the upgrade within {PATIENCE:?}"),
        }
    }

    /// Takes the open packet; gives its JSON.
    pub async fn handshake(&mut self) -> Value {
        let packet = self.text().await;
        let json = packet
            .strip_prefix('0')
            .unwrap_or_else(|| panic!("not an open: {packet:?}"));
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{json:?}: {e}"))
    }

    /// Sends a text packet.
    pub async fn send(&mut self, packet: impl Into<String>) {
        let packet: String = packet.into();
        // A peer that closed is noticed by whoever reads next.
        let _ = self.stream.send(Message::text(packet)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, message: impl Into<Bytes>) {
        let message: Bytes = message.into();
        let _ = self.stream.send(Message::binary(message)).await;
    }

    /// Sends a WebSocket ping, which is none of Engine.IO's, and waits for its pong; what comes
    /// before that is dropped.
    pub async fn ping(&mut self) {
        let _ = self.stream.send(Message::Ping(Bytes::new())).await;
        let pong =
            async { while !matches!(self.stream.next().await, Some(Ok(Message::Pong(_)))) {} };
        timeout(PATIENCE, pong)
            .await
            .unwrap_or_else(|_| panic!("no pong came within {PATIENCE:?}"));
    }

    /// What comes next, within the usual deadline.
    pub async fn recv(&mut self) -> Incoming {
        timeout(PATIENCE, self.next())
            .await
            .unwrap_or_else(|_| panic!("nothing came within {PATIENCE:?}"))
    }

    /// The next packet, which must be text.
    pub async fn text(&mut self) -> String {
        match self.recv().await {
            Incoming::Text(text) => text,
            other => panic!("a text packet was due, came {other:?}"),
        }
    }

    /// The next text packet that is no ping; pings are answered.
    pub async fn text_past_pings(&mut self) -> String {
        let begun = Instant::now();
        loop {
            assert!(
                begun.elapsed() < PATIENCE,
                "only pings came within {PATIENCE:?}"
            );
            let text = self.text().await;
            if text != "2" {
                return text;
            }
            self.send("3").await;
        }
    }

    /// The next packet, which must be a binary message.
    pub async fn binary(&mut self) -> Bytes {
        match self.recv().await {
            Incoming::Binary(bytes) => bytes,
            other => panic!("a binary message was due, came {other:?}"),
        }
    }

    /// Waits for the end, letting pings pass unanswered; any other packet fails the test.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "still open after {PATIENCE:?}");
            match self.recv().await {
                Incoming::Closed(frame) => return frame,
                Incoming::Text(text) if text == "2" => {}
                other => panic!("the end was due, came {other:?}"),
            }
        }
    }

    /// Checks that nothing comes for `duration`.
    pub async fn silent_for(&mut self, duration: Duration) {
        if let Ok(incoming) = timeout(duration, self.next()).await {
            panic!("nothing was due for {duration:?}, came {incoming:?}");
        }
    }

    /// Cuts the connection with no close frame.
    pub fn cut(self) {
        drop(self);
    }

    /// Cancel-safe: a message is either given or left.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
                Some(Ok(Message::Close(frame))) => {
                    Incoming::Closed(frame.map(|f| (f.code.into(), f.reason.as_str().to_owned())))
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Incoming::Closed(None),
            };
        }
    }
}

fn request(host: &str, path: &str, query: &str, headers: &[(String, String)]) -> Request {
    let url = format!("ws://{host}{path}?{query}");
    let mut request = url.into_client_request().expect("a legal URL");
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str()).expect("a legal header name");
        let value = HeaderValue::try_from(value.as_str()).expect("a legal header value");
        request.headers_mut().append(name, value);
    }
    request
}

fn refused(error: Error) -> Refused {
    let Error::Http(response) = error else {
        return Refused {
            status: 0,
            body: error.to_string(),
            retry_after: None,
        };
    };
    let retry_after = response.headers().get("retry-after");
    Refused {
        status: response.status().as_u16(),
        retry_after: retry_after.and_then(|v| v.to_str().ok()).map(str::to_owned),
        body: String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned(),
    }
}
