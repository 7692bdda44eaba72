//! One accepted TCP connection: TLS, then HTTP/1.1 until it ends or becomes a WebSocket.

use std::{
    convert::Infallible, net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed, time::Duration,
};

use hyper::{
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::{http::public, shard::thread::Shard};

/// How long a peer may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a request came from, before any header is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The address of the TCP connection.
    pub(crate) address: SocketAddr,
    /// Whether it speaks TLS to this node.
    pub(crate) secure: bool,
}

/// Counts a TCP connection for as long as HTTP holds it; a WebSocket counts as a connection.
struct Counted<'a>(&'a Shard);

impl<'a> Counted<'a> {
    fn new(shard: &'a Shard) -> Self {
        shard.node.hub.shards[shard.index]
            .load
            .streams
            .fetch_add(1, Relaxed);
        Self(shard)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.node.hub.shards[self.0.index]
            .load
            .streams
            .fetch_sub(1, Relaxed);
    }
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

/// Serves one accepted connection to its end.
pub(crate) async fn connection(shard: Rc<Shard>, stream: std::net::TcpStream, address: SocketAddr) {
    let _counted = Counted::new(&shard);
    let Ok(stream) = stream
        .set_nonblocking(true)
        .and_then(|()| TcpStream::from_std(stream))
    else {
        return;
    };
    let _ = stream.set_nodelay(true);
    match &shard.node.tls {
        None => {
            serve(
                &shard,
                TokioIo::new(stream),
                Peer {
                    address,
                    secure: false,
                },
            )
            .await
        }
        Some(acceptor) => {
            let handshake = tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                serve(
                    &shard,
                    TokioIo::new(stream),
                    Peer {
                        address,
                        secure: true,
                    },
                )
                .await;
            }
        }
    }
}

async fn serve<I>(shard: &Rc<Shard>, io: I, peer: Peer)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let shard = shard.clone();
        async move {
            let _answering = Answering::new(&shard);
            Ok::<_, Infallible>(public::answer(shard.clone(), peer, request).await)
        }
    });
    // A connection that breaks concerns nobody but its client, which sees it.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(shard.node.settings.header.max(8192))
        .half_close(false)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
}
