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
use crate::{
    app::handler::BoxFuture,
    node::Node,
    shard::thread::Shard,
    transport::{serve::Peer, upgrade::Purpose},
};

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
    let headers = request.headers();
    let engine = match route(&node, request.uri().path()) {
        Route::Health => return super::health::answer(&node),
        Route::Nothing => return not_found(),
        Route::Engine { raw } => Some(raw),
        Route::Application => None,
    };
    let from = from(&node, peer, headers);
    let verdict = node.access.now().origins.check(headers, from.secure);
    if !verdict.is_allowed() {
        return match engine {
            Some(_) => engine::forbidden(&request),
            None => error(
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
    let mut answer = match engine {
        Some(raw) => engine::answer(&shard, &from, raw, request).await,
        None => application(&shard, from, request).await,
    };
    verdict.cors(answer.headers_mut());
    answer
}

/// Decides over a request for a WebSocket of which only the head is known: the answer, and what the
/// WebSocket is for unless that is a refusal. Nothing if it is for another than Socket.IO's path.
pub(crate) async fn upgrade(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &Request<()>,
) -> Option<(Response<Full<Bytes>>, Option<Purpose>)> {
    let (node, headers) = (&shard.node, request.headers());
    let Route::Engine { raw } = route(node, request.uri().path()) else {
        return None;
    };
    let from = from(node, peer, headers);
    let verdict = node.access.now().origins.check(headers, from.secure);
    if !verdict.is_allowed() {
        return Some((engine::forbidden(request), None));
    }
    let (mut answer, purpose) = engine::upgrade(shard, &from, raw, request).await;
    verdict.cors(answer.headers_mut());
    Some((answer, purpose))
}

/// Whose a path is.
enum Route {
    Health,
    /// Socket.IO's, or raw Engine.IO's.
    Engine {
        raw: bool,
    },
    /// One of the application's own.
    Application,
    Nothing,
}

fn route(node: &Node, path: &str) -> Route {
    let settings = &node.settings;
    let raw = settings.raw_path.as_deref();
    let raw = raw.is_some_and(|raw| is_below(path, raw));
    if path == "/health" {
        Route::Health
    } else if raw || is_below(path, &settings.path) {
        Route::Engine { raw }
    } else if node.routes.has(path) {
        Route::Application
    } else {
        Route::Nothing
    }
}

fn from(node: &Node, peer: Peer, headers: &HeaderMap) -> From {
    let (ip, access) = (peer.address.ip(), node.access.now());
    let proxies = &access.proxies;
    let secure = client_ip::client_tls(ip, headers, proxies);
    From {
        ip: client_ip::client_ip(ip, headers, proxies),
        secure: secure.unwrap_or(peer.secure),
    }
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
