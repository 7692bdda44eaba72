//! Answers of the API, whole or line by line.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    StatusCode,
    body::Frame,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use tokio::sync::mpsc;

/// An answer on its way to the caller.
pub(crate) type Response = hyper::Response<Either<Full<Bytes>, Lines>>;

/// A whole JSON answer; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What became of the request.
    pub(super) status: StatusCode,
    /// A JSON text, or nothing.
    pub(super) body: Bytes,
}

/// A body that is written while it is being made; it ends when its sender is gone.
#[derive(Debug)]
pub(crate) struct Lines(pub(super) mpsc::Receiver<Bytes>);

/// Names the nodes that did not answer, if any: then the rest is not all that there is.
pub(in crate::http) fn with_silent(
    mut body: serde_json::Value,
    silent: &[Arc<str>],
) -> serde_json::Value {
    if let Some(fields) = body.as_object_mut().filter(|_| !silent.is_empty()) {
        fields.insert("unreachable".to_owned(), serde_json::json!(silent));
    }
    body
}

impl Answer {
    /// An answer with a JSON text.
    pub(in crate::http) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }

    /// An answer with a value as JSON.
    pub(super) fn of(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("answers have string keys only");
        Self::new(status, body)
    }

    /// What was asked for.
    pub(super) fn ok(value: &impl Serialize) -> Self {
        Self::of(StatusCode::OK, value)
    }

    /// It was taken in.
    pub(super) fn accepted(value: &impl Serialize) -> Self {
        Self::of(StatusCode::ACCEPTED, value)
    }

    /// It was made.
    pub(super) fn created(value: &impl Serialize) -> Self {
        Self::of(StatusCode::CREATED, value)
    }

    /// It is gone.
    pub(super) fn deleted() -> Self {
        Self::new(StatusCode::NO_CONTENT, Bytes::new())
    }

    /// It is over, except perhaps on these nodes.
    pub(super) fn ended(silent: &[Arc<str>]) -> Self {
        match silent {
            [] => Self::deleted(),
            _ => Self::ok(&with_silent(serde_json::json!({}), silent)),
        }
    }

    /// The HTTP form.
    pub(super) fn response(self) -> Response {
        let empty = self.body.is_empty();
        let mut response = self.response_as("application/json");
        if empty {
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response
    }

    /// The HTTP form of an answer that is no JSON.
    pub(super) fn response_as(self, content_type: &'static str) -> Response {
        with_headers(
            self.status,
            content_type,
            Either::Left(Full::new(self.body)),
        )
    }
}

/// An answer of which more comes through the sender of `lines`.
pub(super) fn stream(lines: mpsc::Receiver<Bytes>) -> Response {
    with_headers(
        StatusCode::OK,
        "application/x-ndjson",
        Either::Right(Lines(lines)),
    )
}

/// Bytes of which more come through the sender of `pieces`.
pub(super) fn bytes(pieces: mpsc::Receiver<Bytes>) -> Response {
    let body = Either::Right(Lines(pieces));
    with_headers(StatusCode::OK, "application/octet-stream", body)
}

fn with_headers(
    status: StatusCode,
    content_type: &'static str,
    body: Either<Full<Bytes>, Lines>,
) -> Response {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|lines| lines.map(|lines| Ok(Frame::data(lines))))
    }
}
