//! One accepted TCP connection: TLS, then HTTP/1.1 until it ends or becomes a WebSocket. One whose
//! first request asks for a WebSocket never gets as far as hyper, unless it is refused.

use std::{cell::Cell, convert::Infallible, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    head::{self, Ahead, First},
    upgrade::{self, Purpose},
    websocket::{Detached, Stream},
};
use crate::{
    acme,
    http::public,
    shard::{command::OpenStream, thread::Shard},
};

/// How long a peer may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take for the head of a request: of the first one from when bytes can come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a request came from, before any header is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The address of the TCP connection.
    pub(crate) address: SocketAddr,
    /// Whether it speaks TLS to this node.
    pub(crate) secure: bool,
}

/// Counts a request while it is being answered, so that a drain can wait for the answer.
struct Answering<'a>(&'a Shard);

impl<'a> Answering<'a> {
    fn new(shard: &'a Shard) -> Self {
        shard.requests.set(shard.requests.get() + 1);
        Self(shard)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}

/// Serves one accepted connection until it ends or is a WebSocket. `stream` is non-blocking.
pub(crate) async fn connection(shard: Rc<Shard>, stream: std::net::TcpStream, address: SocketAddr) {
    // It counts for as long as HTTP or a tunnel holds it; a WebSocket counts as a connection.
    let _counted = OpenStream::counted(shard.state.borrow().load.clone());
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    // What hyper keeps is large, and most connections need none of it.
    match &shard.node.tls {
        None => plain(&shard, stream, address).await,
        Some(tls) => Box::pin(encrypted(&shard, &tls.keep().acceptor, stream, address)).await,
    }
}

async fn plain(shard: &Rc<Shard>, mut stream: TcpStream, address: SocketAddr) {
    let peer = Peer {
        address,
        secure: false,
    };
    let head_by = Instant::now() + HEADER_TIMEOUT;
    let limit = shard.node.settings.header;
    let first = shard.read_once(&mut stream, |bytes| First::of(bytes, limit));
    let Ok(Some(First { bytes, websocket })) = timeout_at(head_by, first).await else {
        return;
    };
    let mut refusal = None;
    if let Some((request, length)) = websocket
        && let Some((answer, purpose)) = public::upgrade(shard, peer, &request).await
    {
        if let Some(purpose) = purpose {
            let answer = head::encode(&answer);
            let answer = match purpose {
                Purpose::Open { .. } => Some(answer),
                // The first bytes on a fresh stream; if it does not take them, it is broken.
                Purpose::Upgrade { .. } | Purpose::Tunnel(_) => match stream.try_write(&answer) {
                    Ok(written) if written == answer.len() => None,
                    _ => return,
                },
            };
            let purpose = match purpose {
                Purpose::Tunnel(tunnel) => {
                    let bytes = bytes.slice(length..);
                    let join = shard.carry(*tunnel, Ahead { bytes, stream });
                    return Box::pin(join).await;
                }
                other => other,
            };
            let detached = Detached {
                stream: Stream::Here(stream),
                tls: None,
                read_ahead: bytes[length..].to_vec(),
            };
            return upgrade::assign(shard, purpose, answer, detached).await;
        }
        refusal = Some(answer);
    }
    let io = TokioIo::new(Ahead { bytes, stream });
    Box::pin(serve(shard, io, peer, head_by, refusal)).await;
}

async fn encrypted(
    shard: &Rc<Shard>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) {
    let handshake = timeout(TLS_TIMEOUT, acceptor.accept(stream));
    if let Ok(Ok(stream)) = handshake.await {
        // A CA has seen in the handshake what it came for.
        if stream.get_ref().1.alpn_protocol() == Some(acme::PROTOCOL) {
            return;
        }
        let peer = Peer {
            address,
            secure: true,
        };
        let head_by = Instant::now() + HEADER_TIMEOUT;
        serve(shard, TokioIo::new(stream), peer, head_by, None).await;
    }
}

/// Lets hyper serve, if the head of a request has come by `head_by`. `first` is the answer to the
/// first request, where that is decided already.
async fn serve<I>(
    shard: &Rc<Shard>,
    io: I,
    peer: Peer,
    head_by: Instant,
    first: Option<Response<Full<Bytes>>>,
) where
    I: Read + Write + Unpin + Send + 'static,
{
    let (first, asked) = (Cell::new(first), Cell::new(false));
    let service = service_fn(|request| {
        asked.set(true);
        let (shard, first) = (shard.clone(), first.take());
        async move {
            let _answering = Answering::new(&shard);
            Ok::<_, Infallible>(match first {
                Some(answer) => answer,
                None => public::answer(shard.clone(), peer, request).await,
            })
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(shard.node.settings.header.max(8192))
            .half_close(false)
            .serve_connection(io, service)
            .with_upgrades()
    );
    // Hyper's own limit begins when hyper does, which is after the first bytes. A connection that
    // breaks concerns nobody but its client, which sees it.
    if timeout_at(head_by, &mut serving).await.is_err() && asked.get() {
        let _ = serving.await;
    }
}
