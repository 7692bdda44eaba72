//! The running daemon, over its admin socket.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::AdminError;
use super::call::AdminCall;
use crate::cli::backup::put;

/// Far above what a page of sessions or all users of a large node take.
const LARGEST_ANSWER: usize = 256 << 20;

/// Hashing a password on a busy machine takes seconds, not minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Method, path and body.
type HttpParts = (&'static str, String, Option<Value>);

/// A connection to the admin socket.
pub(super) struct Client {
    requests: SendRequest<Full<Bytes>>,
    socket: PathBuf,
}

/// Why the daemon did not do what was asked. Except for `Lost` nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens there, so that its store may be opened.
    #[error("no daemon listens on {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket cannot be reached.
    #[error("cannot connect to {}: {error}{}", socket.display(), advice(error))]
    Unreachable {
        /// The socket's path.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The connection ended before an answer came; the call may have been performed.
    #[error("the daemon on {} did not answer: {reason}", socket.display())]
    Lost {
        /// The socket's path.
        socket: PathBuf,
        /// What went wrong on the way.
        reason: String,
    },
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// What kind of refusal it is.
        code: String,
        /// The reason, for people.
        message: String,
    },
}

impl Client {
    /// Connects to the daemon that keeps its socket at this path.
    pub(super) async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(socket.to_owned())
                }
                _ => ClientError::Unreachable {
                    socket: socket.to_owned(),
                    error,
                },
            })?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| lost(socket, &error))?;
        // It ends with the requests; what ends it early, each request is told.
        tokio::spawn(connection);
        Ok(Self {
            requests,
            socket: socket.to_owned(),
        })
    }

    /// Asks the daemon, and returns its answer.
    pub(super) async fn perform(&mut self, call: &AdminCall) -> Result<Value, ClientError> {
        self.request(call.to_http()).await
    }

    /// Asks the daemon at a path.
    pub(super) async fn ask(
        &mut self,
        method: &'static str,
        path: &str,
    ) -> Result<Value, ClientError> {
        self.request((method, path.to_owned(), None)).await
    }

    /// Writes what the daemon answers at a path into a file.
    pub(super) async fn download(&mut self, path: &str, out: &mut File) -> Result<(), AdminError> {
        let request = Request::builder()
            .uri(path)
            .header(HOST, "tidings")
            .body(Full::default())
            .expect("the path is legal");
        let late = || lost(&self.socket, &format!("no answer within {PATIENCE:?}"));
        let response = tokio::time::timeout(PATIENCE, self.requests.send_request(request)).await;
        let response = response
            .map_err(|_| late())?
            .map_err(|error| lost(&self.socket, &error))?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(|error| lost(&self.socket, &error))?.to_bytes();
            let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(refusal(status, &answer).into());
        }
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            match frame.map_err(|_| late())? {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        put(out, bytes)?;
                    }
                }
                Some(Err(error)) => return Err(lost(&self.socket, &error).into()),
                None => return Ok(()),
            }
        }
    }

    async fn request(&mut self, parts: HttpParts) -> Result<Value, ClientError> {
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(parts)).await;
        let (status, body) = exchange
            .map_err(|_| lost(&self.socket, &format!("no answer within {PATIENCE:?}")))??;
        let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(status, &answer))
        }
    }

    async fn exchange(
        &mut self,
        (method, path, body): HttpParts,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let body = body
            .map(|body| Bytes::from(body.to_string()))
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "tidings")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("escaped paths are legal");
        let response = self.requests.send_request(request).await;
        let response = response.map_err(|error| lost(&self.socket, &error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| lost(&self.socket, &error))?;
        Ok((status, body.to_bytes()))
    }
}

fn refusal(status: StatusCode, answer: &Value) -> ClientError {
    let said = |name: &str| answer["error"][name].as_str().map(str::to_owned);
    ClientError::Refused {
        code: said("code").unwrap_or_else(|| status.as_str().to_owned()),
        message: said("message").unwrap_or_else(|| format!("the daemon answered {status}")),
    }
}

fn lost(socket: &Path, reason: &dyn std::fmt::Display) -> ClientError {
    ClientError::Lost {
        socket: socket.to_owned(),
        reason: reason.to_string(),
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as the daemon's user",
        _ => "",
    }
}
