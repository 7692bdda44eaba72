//! Engine.IO over HTTP: handshakes, polls, posts, upgrades. Bodies and order of checks are those
//! of Engine.IO 4; see `docs/WEBSOCKET_API.md`.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, COOKIE, HeaderValue, RETRY_AFTER},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::public::{From, json};
use crate::{
    app::{handler::Handshake, limits::LimitKind},
    node::{BootTag, Node, Place, now_ms},
    shard::{command::Command, machine::Transport, state::Terms, thread::Shard},
    transport::upgrade::{self, Purpose},
};

/// How long a client is asked to stay away from a node that is full or leaving.
const COME_BACK: Duration = Duration::from_secs(5);

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// The answer to a poll.
#[derive(Debug)]
pub(crate) enum PollAnswer {
    /// An encoded payload.
    Packets(Bytes),
    /// There is nothing to poll.
    Rejected(Rejection),
}

/// The answer to packets sent by POST.
#[derive(Debug)]
pub(crate) enum PostAnswer {
    /// All were handled.
    Ok,
    /// There is nobody to handle them, or they could not be read.
    Rejected(Rejection),
}

/// Why a request is refused, in Engine.IO's terms or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rejection {
    UnknownTransport,
    UnknownSid,
    BadMethod,
    BadRequest,
    Forbidden,
    BadVersion,
    /// A poll while another one waits.
    Overlap,
    /// Packets that cannot be read.
    Malformed,
    TooLarge,
    /// Too many handshakes from the address.
    RateLimited(Duration),
    /// The node is full or cannot serve now.
    Unavailable,
    /// The node drains.
    ShuttingDown,
}

impl Rejection {
    /// The answer; `upgrade` if the request asked for a WebSocket.
    fn answer(self, upgrade: bool) -> Response<Full<Bytes>> {
        let (code, message) = match self {
            Rejection::UnknownTransport => (0, "Transport unknown"),
            Rejection::UnknownSid => (1, "Session ID unknown"),
            Rejection::BadMethod => (2, "Bad handshake method"),
            Rejection::BadRequest => (3, "Bad request"),
            Rejection::Forbidden => (4, "Forbidden"),
            Rejection::BadVersion => (5, "Unsupported protocol version"),
            Rejection::Overlap | Rejection::Malformed => return status(StatusCode::BAD_REQUEST),
            Rejection::TooLarge => return status(StatusCode::PAYLOAD_TOO_LARGE),
            Rejection::RateLimited(wait) => {
                let message = "too many connections from this address";
                return passing(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message, wait);
            }
            Rejection::Unavailable => {
                let message = "this node takes no more connections";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return passing(status, "unavailable", message, COME_BACK);
            }
            Rejection::ShuttingDown => {
                let message = "this node is shutting down";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return passing(status, "shutting_down", message, COME_BACK);
            }
        };
        let status = match self {
            Rejection::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        if !upgrade {
            return json(
                status,
                format!("{{\"code\":{code},\"message\":\"{message}\"}}"),
            );
        }
        let mut answer = Response::new(Full::from(message));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        answer
    }
}

/// What the query of a request says.
#[derive(Debug, Default)]
struct Query {
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
    recovery: bool,
}

impl Query {
    fn parse(query: Option<&str>) -> Self {
        let mut parsed = Self {
            recovery: true,
            ..Self::default()
        };
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            match name {
                "EIO" => parsed.version = Some(value.into_owned()),
                "transport" => parsed.transport = Some(value.into_owned()),
                "sid" => parsed.sid = Some(value.into_owned()),
                "recovery" => parsed.recovery = value != "0",
                _ => {}
            }
        }
        parsed
    }
}

/// Answers a request on an Engine.IO path.
pub(crate) async fn answer(
    shard: &Rc<Shard>,
    from: &From,
    raw: bool,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let upgrade = upgrade::is_upgrade(request.headers());
    let query = Query::parse(request.uri().query());
    match serve(shard, from, raw, upgrade, query, request).await {
        Ok(answer) => answer,
        Err(rejection) => rejection.answer(upgrade),
    }
}

/// Decides over a request for a WebSocket: the answer, and what the WebSocket is for unless that is
/// a refusal.
pub(crate) async fn upgrade<B>(
    shard: &Rc<Shard>,
    from: &From,
    raw: bool,
    request: &Request<B>,
) -> (Response<Full<Bytes>>, Option<Purpose>) {
    let query = Query::parse(request.uri().query());
    let decided = async {
        let transport = offered(shard, &query)?;
        websocket(shard, from, raw, transport, query, request).await
    };
    match decided.await {
        Ok((answer, purpose)) => (answer, Some(purpose)),
        Err(rejection) => (rejection.answer(true), None),
    }
}

/// The answer to a page that may not connect.
pub(crate) fn forbidden<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    Rejection::Forbidden.answer(upgrade::is_upgrade(request.headers()))
}

async fn serve(
    shard: &Rc<Shard>,
    from: &From,
    raw: bool,
    upgrade: bool,
    query: Query,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let transport = offered(shard, &query)?;
    if upgrade {
        let (answer, purpose) = websocket(shard, from, raw, transport, query, &request).await?;
        upgrade::take_over(shard.clone(), request, purpose);
        return Ok(answer);
    }
    if let Some(sid) = query.sid {
        return serve_known(shard, transport, sid, request).await;
    }
    begins(&query, transport, Transport::Polling, &request)?;
    let terms = admit(shard, from)?;
    let handshake = Arc::new(handshake(shard, from, query.recovery, &request));
    let (reply, answer) = oneshot::channel();
    {
        let mut state = shard.state.borrow_mut();
        let key = state.open(Transport::Polling, raw, handshake, terms, None);
        state.poll_connection(key, reply);
    }
    let answer = answer.await;
    polled(answer.unwrap_or(PollAnswer::Rejected(Rejection::UnknownSid)))
}

/// The transport that a request names, if it is offered.
fn offered(shard: &Shard, query: &Query) -> Result<Transport, Rejection> {
    let offered = shard.node.settings.transports;
    match query.transport.as_deref() {
        Some("polling") if offered.polling => Ok(Transport::Polling),
        Some("websocket") if offered.websocket => Ok(Transport::WebSocket),
        _ => Err(Rejection::UnknownTransport),
    }
}

/// Whether a request may open a connection; `carrier` is what it came by.
fn begins<B>(
    query: &Query,
    transport: Transport,
    carrier: Transport,
    request: &Request<B>,
) -> Result<(), Rejection> {
    if request.method() != Method::GET {
        return Err(Rejection::BadMethod);
    }
    if transport != carrier {
        return Err(Rejection::BadRequest);
    }
    if query.version.as_deref() != Some("4") {
        return Err(Rejection::BadVersion);
    }
    Ok(())
}

/// A request for a WebSocket: for a new connection, or for one that polls.
async fn websocket<B>(
    shard: &Rc<Shard>,
    from: &From,
    raw: bool,
    transport: Transport,
    query: Query,
    request: &Request<B>,
) -> Result<(Response<Full<Bytes>>, Purpose), Rejection> {
    if let Some(sid) = query.sid {
        let place = place(&shard.node, &sid)?;
        if transport != Transport::WebSocket {
            return Err(Rejection::BadRequest);
        }
        let answer = upgrade::accept(request.headers()).ok_or(Rejection::BadRequest)?;
        let purpose = match place {
            Place::Here(_) => Purpose::Upgrade { sid },
            // Few need it, and its state is not small.
            Place::There(boot) => Box::pin(tunnel(shard, boot, &sid)).await?,
        };
        return Ok((answer, purpose));
    }
    begins(&query, transport, Transport::WebSocket, request)?;
    let answer = upgrade::accept(request.headers()).ok_or(Rejection::BadRequest)?;
    let purpose = Purpose::Open {
        raw,
        terms: admit(shard, from)?,
        handshake: Arc::new(handshake(shard, from, query.recovery, request)),
    };
    Ok((answer, purpose))
}

/// The way of a WebSocket to the peer that holds its connection.
async fn tunnel(shard: &Rc<Shard>, boot: BootTag, sid: &str) -> Result<Purpose, Rejection> {
    let node = &shard.node;
    if node.is_draining() {
        // It goes on to poll, through another node.
        return Err(Rejection::ShuttingDown);
    }
    let tunnel = node.relay.open_tunnel(boot, sid).await?;
    Ok(Purpose::Tunnel(Box::new(tunnel)))
}

/// Where a connection lives by its id.
fn place(node: &Node, sid: &str) -> Result<Place, Rejection> {
    let place = node.ids.place_of(sid, node.hub.shards.len());
    place.ok_or(Rejection::UnknownSid)
}

/// The shard of this node that a connection's id names.
pub(crate) fn shard_of(node: &Node, sid: &str) -> Result<usize, Rejection> {
    match place(node, sid)? {
        Place::Here(shard) => Ok(shard),
        Place::There(_) => Err(Rejection::UnknownSid),
    }
}

/// A poll or a post of a connection that exists, on this shard, another one, or another node.
async fn serve_known(
    shard: &Rc<Shard>,
    transport: Transport,
    sid: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let node = &shard.node;
    let place = place(node, &sid)?;
    let sid: Arc<str> = sid.into();
    match *request.method() {
        _ if transport != Transport::Polling => Err(Rejection::BadRequest),
        Method::GET => polled(match place {
            Place::Here(owner) if owner == shard.index => {
                let (reply, answer) = oneshot::channel();
                shard.state.borrow_mut().poll(&sid, reply);
                awaited(node, owner, sid, answer).await
            }
            Place::Here(owner) => poll(node, owner, sid).await,
            Place::There(boot) => shard.carry_poll(boot, &sid).await,
        }),
        Method::POST => {
            if place == Place::Here(shard.index) && !shard.state.borrow().has(&sid) {
                return Err(Rejection::UnknownSid);
            }
            let body = body(request, node.settings.payload).await?;
            posted(match place {
                Place::Here(owner) if owner == shard.index => {
                    shard.state.borrow_mut().post(&sid, &body)
                }
                Place::Here(owner) => post(node, owner, sid, body).await,
                Place::There(boot) => node.relay.carry_post(boot, &sid, body).await,
            })
        }
        _ => Err(Rejection::BadRequest),
    }
}

/// A poll of a connection on a shard of this node. To be dropped when the client goes away.
pub(crate) async fn poll(node: &Node, owner: usize, sid: Arc<str>) -> PollAnswer {
    let (reply, answer) = oneshot::channel();
    let poll = Command::Poll {
        sid: sid.clone(),
        reply,
    };
    let _ = node.hub.shards[owner].mailbox.send(poll).await;
    awaited(node, owner, sid, answer).await
}

/// Packets for a connection on a shard of this node.
pub(crate) async fn post(node: &Node, owner: usize, sid: Arc<str>, body: Bytes) -> PostAnswer {
    let (reply, answer) = oneshot::channel();
    let post = Command::Post { sid, body, reply };
    let _ = node.hub.shards[owner].mailbox.send(post).await;
    let answer = answer.await;
    answer.unwrap_or(PostAnswer::Rejected(Rejection::UnknownSid))
}

/// The answer to a poll that was given to a shard.
async fn awaited(
    node: &Node,
    owner: usize,
    sid: Arc<str>,
    answer: oneshot::Receiver<PollAnswer>,
) -> PollAnswer {
    let mut watch = Watch {
        node,
        owner,
        sid,
        answered: false,
    };
    let answer = answer.await;
    watch.answered = true;
    answer.unwrap_or(PollAnswer::Rejected(Rejection::UnknownSid))
}

/// Notices that the client of a waiting poll went away: whoever answers it is dropped.
struct Watch<'a> {
    node: &'a Node,
    owner: usize,
    sid: Arc<str>,
    answered: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let gone = Command::PollGone {
                sid: self.sid.clone(),
            };
            // If the mailbox is full, the next ping finds out.
            let _ = self.node.hub.shards[self.owner].mailbox.try_send(gone);
        }
    }
}

/// Whether a new connection may open, and on what terms.
fn admit(shard: &Rc<Shard>, from: &From) -> Result<Terms, Rejection> {
    let node = &shard.node;
    if node.is_draining() {
        return Err(Rejection::ShuttingDown);
    }
    let limit = node.access.now().connections;
    if limit > 0 && node.connections() >= limit {
        node.limits.hold(LimitKind::Connections);
        return Err(Rejection::Unavailable);
    }
    match node.limits.handshake(from.ip, now_ms()) {
        Ok(()) => Ok(Terms::Counted),
        // One that lost its connection here may be coming back.
        Err(_) if node.recovery.lost().redeem(from.ip) => Ok(Terms::RecoveryOnly),
        Err(wait) => Err(Rejection::RateLimited(wait.0)),
    }
}

fn handshake<B>(shard: &Rc<Shard>, from: &From, recovery: bool, request: &Request<B>) -> Handshake {
    let headers = request.headers();
    let cookies: Vec<&str> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok())
        .collect();
    let keeps = shard.node.handler.keeps_handshake();
    let texts = || {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    };
    Handshake {
        ip: from.ip,
        secure: from.secure,
        cookie: (!cookies.is_empty()).then(|| cookies.join("; ")),
        recovery,
        url: keeps.then(|| request.uri().to_string()),
        headers: keeps.then(texts),
    }
}

/// A request's body, up to a length.
pub(crate) async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, Rejection> {
    if request.body().size_hint().lower() > limit as u64 {
        return Err(Rejection::TooLarge);
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Rejection::BadRequest),
    }
}

fn polled(answer: PollAnswer) -> Result<Response<Full<Bytes>>, Rejection> {
    match answer {
        PollAnswer::Packets(body) => Ok(uncached("text/plain; charset=UTF-8", body)),
        PollAnswer::Rejected(rejection) => Err(rejection),
    }
}

fn posted(answer: PostAnswer) -> Result<Response<Full<Bytes>>, Rejection> {
    match answer {
        PostAnswer::Ok => Ok(uncached("text/html", Bytes::from_static(b"ok"))),
        PostAnswer::Rejected(rejection) => Err(rejection),
    }
}

fn uncached(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// A refusal for now: the client may come back after a while.
fn passing(status: StatusCode, code: &str, message: &str, wait: Duration) -> Response<Full<Bytes>> {
    let mut answer = json(
        status,
        format!("{{\"code\":\"{code}\",\"message\":\"{message}\"}}"),
    );
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}
