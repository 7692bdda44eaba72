//! Connections to the private listener and to the admin socket, until they end or the node leaves.

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Api, answer::Response, door::Origin};
use crate::{
    cli::admin::BACKUP,
    http::{admin, tls::Shown},
    live::Live,
};

/// Connections at once. When there are so many, further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// How long a peer may take for the head of a request, and a kept connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a peer may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take, once the node is leaving, to read the answer that is under way.
const GRACE: Duration = Duration::from_secs(5);

/// Bytes in the head of a request.
const MAX_HEADER: usize = 64 << 10;

/// How long the acceptor rests when the process has no file left.
const REST: Duration = Duration::from_millis(100);

impl Api {
    /// Serves the private API until `shutdown`; then answers what was asked before, and returns.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Option<Live<Shown>>,
        shutdown: CancellationToken,
    ) {
        let accept = async || {
            let (stream, peer) = listener.accept().await?;
            // Answers are small and each is wanted at once.
            let _ = stream.set_nodelay(true);
            Ok((stream, peer.ip().to_canonical()))
        };
        let serve = |(stream, ip), permit: OwnedSemaphorePermit| {
            let (api, tls, shutdown) = (self.clone(), tls.clone(), shutdown.clone());
            async move {
                let _permit = permit;
                let secure = tls.is_some();
                let respond = |request| {
                    let (api, shutdown) = (api.clone(), shutdown.clone());
                    async move { super::answer(api, request, Origin { ip, secure }, shutdown).await }
                };
                match tls {
                    None => connection(stream, respond, &shutdown).await,
                    Some(tls) => {
                        let handshake =
                            tokio::time::timeout(TLS_TIMEOUT, tls.keep().acceptor.accept(stream));
                        let handshake = shutdown.run_until_cancelled(handshake).await;
                        if let Some(Ok(Ok(stream))) = handshake {
                            connection(stream, respond, &shutdown).await;
                        }
                    }
                }
            }
        };
        accept_all(accept, serve, &shutdown).await;
    }

    /// Serves the admin socket, as [`Api::serve`] does the private API. Whoever may write to the
    /// socket may ask.
    pub(crate) async fn serve_admin(
        self: Arc<Self>,
        listener: UnixListener,
        shutdown: CancellationToken,
    ) {
        let accept = async || Ok(listener.accept().await?.0);
        let serve = |stream, permit: OwnedSemaphorePermit| {
            let (api, shutdown) = (self.clone(), shutdown.clone());
            async move {
                let _permit = permit;
                let respond = |request: Request<Incoming>| {
                    let api = api.clone();
                    async move { admin_answer(&api, request).await }
                };
                connection(stream, respond, &shutdown).await;
            }
        };
        accept_all(accept, serve, &shutdown).await;
    }
}

/// Accepts until `shutdown`, then waits for the connections to end.
async fn accept_all<S, A, F, W>(
    mut accept: A,
    serve: impl Fn(S, OwnedSemaphorePermit) -> W,
    shutdown: &CancellationToken,
) where
    A: FnMut() -> F,
    F: Future<Output = io::Result<S>>,
    W: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // Both are cancel-safe.
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                (accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok(stream), place) => drop(connections.spawn(serve(stream, place))),
            (Err(error), _) => {
                tracing::warn!(%error, "the private listener cannot accept");
                tokio::time::sleep(REST).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Serves one connection; at `shutdown` it ends after the answer that is under way.
async fn connection<I, F, W>(io: I, respond: F, shutdown: &CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> W,
    W: Future<Output = Response>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER)
            .serve_connection(TokioIo::new(io), service)
    );
    // A connection that breaks concerns nobody but its caller, which sees it.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

async fn admin_answer(api: &Api, request: Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    if head.method == Method::GET && head.uri.path() == BACKUP {
        let answered = super::backup::answer(api).await;
        return answered.unwrap_or_else(|refusal| refusal.response());
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    match super::body::read(&head.headers, body, api.body_limit).await {
        Ok(body) => admin::answer(api, head.method.as_str(), path, &body)
            .await
            .response(),
        Err(refusal) => refusal.response(),
    }
}
