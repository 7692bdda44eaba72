//! From an HTTP request to a WebSocket on the shard that it belongs to.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    head::Ahead,
    websocket::{Detached, Stream},
};
use crate::{
    app::handler::Handshake,
    node::Place,
    relay::Tunnel,
    shard::{
        command::{Command, OpenStream},
        machine::Transport,
        state::Terms,
        thread::Shard,
    },
};

/// Whether a request asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, CONNECTION.as_str(), "upgrade")
        && has_token(headers, UPGRADE.as_str(), "websocket")
}

/// The answer that turns a connection into a WebSocket; `None` if the request is not RFC 6455's.
pub(crate) fn accept(headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    /// Base64 of 16 bytes.
    const KEY_LEN: usize = 24;
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == KEY_LEN)?;
    let version = headers.get(SEC_WEBSOCKET_VERSION)?;
    if version != "13" {
        return None;
    }
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .body(Full::default())
        .ok()
}

/// What the WebSocket is for.
pub(crate) enum Purpose {
    /// A new connection.
    Open {
        raw: bool,
        handshake: Arc<Handshake>,
        /// On what terms its address may open it.
        terms: Terms,
    },
    /// The new transport of a connection that polls.
    Upgrade { sid: String },
    /// The same, of a connection that a peer holds.
    Tunnel(Box<Tunnel>),
}

/// Takes the stream over from hyper once it has written the answer.
pub(crate) fn take_over(shard: Rc<Shard>, request: Request<Incoming>, purpose: Purpose) {
    tokio::task::spawn_local(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        if let Purpose::Tunnel(tunnel) = purpose {
            let _counted = OpenStream::new(shard.state.borrow().load.clone());
            return shard.carry(*tunnel, TokioIo::new(upgraded)).await;
        }
        if let Some(detached) = detach(upgraded) {
            assign(&shard, purpose, None, detached).await;
        }
    });
}

/// Gives a WebSocket to its connection. `answer` is the head that the client of a new one still has
/// to get.
pub(crate) async fn assign(
    shard: &Rc<Shard>,
    purpose: Purpose,
    answer: Option<Bytes>,
    detached: Detached,
) {
    match purpose {
        Purpose::Open {
            raw,
            handshake,
            terms,
        } => {
            let opened = {
                let mut state = shard.state.borrow_mut();
                let key = state.open(Transport::WebSocket, raw, handshake, terms, answer);
                state.attach(key, detached).map(|id| (key, id))
            };
            if let Some((key, id)) = opened {
                shard.read(key, id);
            }
        }
        Purpose::Upgrade { sid } => upgrade(shard, &sid, detached).await,
        // It is not for a connection of this node.
        Purpose::Tunnel(_) => {}
    }
}

/// Carries a WebSocket to the shard of its connection.
async fn upgrade(shard: &Rc<Shard>, sid: &str, detached: Detached) {
    let shards = &shard.node.hub.shards;
    match shard.node.ids.place_of(sid, shards.len()) {
        Some(Place::Here(owner)) if owner == shard.index => shard.adopt(sid, detached),
        Some(Place::Here(owner)) => {
            let Ok(detached) = detached.loosen() else {
                return;
            };
            let adopt = Command::Adopt {
                sid: sid.into(),
                websocket: Box::new(detached),
            };
            let _ = shards[owner].mailbox.send(adopt).await;
        }
        Some(Place::There(_)) | None => {}
    }
}

/// Gets the stream back from hyper.
fn detach(upgraded: Upgraded) -> Option<Detached> {
    match upgraded.downcast::<TokioIo<Ahead>>() {
        Ok(parts) => {
            let Ahead { bytes, stream } = parts.io.into_inner();
            let read_ahead = [&parts.read_buf[..], &bytes].concat();
            Some(Detached {
                stream: Stream::Here(stream),
                tls: None,
                read_ahead,
            })
        }
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            let (stream, tls) = parts.io.into_inner().into_inner();
            Some(Detached {
                stream: Stream::Here(stream),
                tls: Some(Box::new(tls)),
                read_ahead: parts.read_buf.into(),
            })
        }
    }
}

fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
