//! The public listener: Socket.IO, health, and what the application adds.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::oneshot;

use super::{client_ip, engine};
use crate::{app::handler::BoxFuture, node::Node, shard::thread::Shard, transport::serve::Peer};

/// Bytes in the body of a request to one of the application's own routes.
const MAX_BODY: usize = 64 << 10;

/// Where a request came from, as far as trusted proxies tell.
#[derive(Clone, Copy, Debug)]
pub struct From {
    /// The client's address.
    pub ip: IpAddr,
    /// Whether the client used TLS.
    pub secure: bool,
}

/// A request to one of the application's own routes.
#[derive(Debug)]
pub struct PublicRequest {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Where it came from.
    pub from: From,
}

/// What the application serves on the public listener beside Socket.IO and health. Runs on the
/// control plane.
pub trait Routes: Send + Sync + 'static {
    /// Whether there is anything at a path.
    fn has(&self, path: &str) -> bool;

    /// Answers a request to such a path.
    fn answer(&self, node: Arc<Node>, request: PublicRequest) -> BoxFuture<Response<Full<Bytes>>>;
}

/// Answers a request on the public listener.
pub(crate) async fn answer(
    shard: Rc<Shard>,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let node = shard.node.clone();
    let settings = &node.settings;
    let proxies = &settings.proxies;
    let headers = request.headers();
    let secure = client_ip::client_tls(peer.address.ip(), headers, proxies);
    let from = From {
        ip: client_ip::client_ip(peer.address.ip(), headers, proxies),
        secure: secure.unwrap_or(peer.secure),
    };
    let path = request.uri().path();
    if path == "/health" {
        return super::health::answer(&node);
    }
    let raw = settings
        .raw_path
        .as_deref()
        .is_some_and(|raw| is_below(path, raw));
    let engine = raw || is_below(path, &settings.path);
    if !engine && !node.routes.has(path) {
        return not_found();
    }
    let verdict = settings.origins.check(headers, from.secure);
    if !verdict.is_allowed() {
        return match engine {
            true => engine::forbidden(&request),
            false => error(
                StatusCode::FORBIDDEN,
                "forbidden",
                "this origin is not allowed",
            ),
        };
    }
    if request.method() == Method::OPTIONS {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        verdict.preflight(headers, answer.headers_mut());
        return answer;
    }
    let mut answer = if engine {
        engine::answer(&shard, &from, raw, request).await
    } else {
        application(&shard, from, request).await
    };
    verdict.cors(answer.headers_mut());
    answer
}

/// Lets the control plane answer.
async fn application(
    shard: &Rc<Shard>,
    from: From,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let node = shard.node.clone();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let headers = request.headers().clone();
    let Ok(body) = engine::body(request, MAX_BODY).await else {
        return error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body has over 64 KiB",
        );
    };
    let request = PublicRequest {
        method,
        path,
        headers,
        body,
        from,
    };
    let (reply, answer) = oneshot::channel();
    let routes = node.routes.clone();
    let work = {
        let node = node.clone();
        async move {
            let _ = reply.send(routes.answer(node, request).await);
        }
    };
    let overloaded = || error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "overloaded");
    if node.jobs.try_send(Box::pin(work)).is_err() {
        return overloaded();
    }
    answer.await.unwrap_or_else(|_| overloaded())
}

/// Whether a path is an endpoint's: with or without its last slash.
fn is_below(path: &str, endpoint: &str) -> bool {
    path == endpoint || path == endpoint.trim_end_matches('/')
}

/// A JSON answer that nobody may keep.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An error as the HTTP API reports it.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    json(status, body.to_string())
}

/// Nothing is there.
pub(crate) fn not_found() -> Response<Full<Bytes>> {
    error(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
    )
}
