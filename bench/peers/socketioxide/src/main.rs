//! Socketioxide as an application would set it up, on hyper and a tokio runtime with its default
//! worker threads. Takes the same requests as the Socket.IO peer, but authenticates nobody.
//!
//! Prints `{"port", "version"}` once it serves, and `emitPort` when clients come over TLS. Errors
//! end it: it is for measuring only.

use std::{convert::Infallible, env, error::Error, io, net::Ipv4Addr, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
    handler::ConnectHandler,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket},
};
use tokio_rustls::TlsAcceptor;

const ROOM: &str = "bench";
const BACKLOG: u32 = 4096;
/// The release that `Cargo.lock` pins.
const VERSION: &str = "0.18.9";

/// What a client says of itself; it is believed.
#[derive(Deserialize)]
struct Auth {
    #[serde(rename = "userId")]
    user_id: String,
}

#[derive(Deserialize)]
struct Watchlist {
    symbols: Vec<String>,
}

#[derive(Deserialize)]
struct Emit {
    room: String,
    event: String,
    #[serde(default)]
    data: Value,
}

/// The body of an emit, as the other servers take it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Batch(Vec<Emit>),
    One(Emit),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", (async || {}).with(on_connect));
    let app = Router::new()
        .route("/emit", post(emit))
        .with_state(io)
        .layer(layer);
    let listener = listen()?;
    let mut said = json!({ "port": listener.local_addr()?.port(), "version": VERSION });
    match tls()? {
        Some(tls) => {
            // The backend's way in stays plain, as on the other servers.
            let backend = listen()?;
            said["emitPort"] = backend.local_addr()?.port().into();
            println!("{said}");
            tokio::spawn(serve(backend, app.clone(), None));
            serve(listener, app, Some(tls)).await?;
        }
        None => {
            println!("{said}");
            serve(listener, app, None).await?;
        }
    }
    Ok(())
}

/// A middleware, as it is over before the client is told that it is connected and subscribes. The
/// connect handler itself is spawned, and loses the events of a client that is faster.
async fn on_connect(socket: SocketRef, TryData(auth): TryData<Auth>) -> Result<(), Infallible> {
    if let Ok(Auth { user_id }) = auth {
        socket.join(format!("user:{user_id}"));
    }
    // The second is asked by clients of whom nobody else wants anything, to see how long the
    // answer takes.
    for (event, room) in [("subscribe:bench", ROOM), ("subscribe:probe", "probe")] {
        socket.on(event, async move |socket: SocketRef, ack: AckSender| {
            subscribe(&socket, vec![room.to_owned()], ack);
        });
    }
    socket.on(
        "subscribe:watchlist",
        async |socket: SocketRef, Data(Watchlist { symbols }), ack: AckSender| {
            let rooms = symbols.iter().map(|symbol| format!("quote:{symbol}"));
            subscribe(&socket, rooms.collect(), ack);
        },
    );
    Ok(())
}

fn subscribe(socket: &SocketRef, rooms: Vec<String>, ack: AckSender) {
    let answer = json!({ "ok": true, "joined": &rooms, "rejected": [] });
    socket.join(rooms);
    ack.send(&answer).ok();
}

async fn emit(State(io): State<SocketIo>, Json(body): Json<Body>) -> (StatusCode, Json<Value>) {
    let emits = match body {
        Body::Batch(emits) => emits,
        Body::One(emit) => vec![emit],
    };
    for Emit { room, event, data } in emits {
        // It fails when a client's queue is full; the load generator then misses the event.
        io.to(room).emit(event, &data).await.ok();
    }
    (StatusCode::ACCEPTED, Json(json!({})))
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

fn tls() -> Result<Option<TlsAcceptor>, Box<dyn Error>> {
    let (Ok(cert), Ok(key)) = (env::var("TLS_CERT"), env::var("TLS_KEY")) else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(Some(Arc::new(config).into()))
}

async fn serve(listener: TcpListener, app: Router, tls: Option<TlsAcceptor>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (app, tls) = (app.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => speak(stream, app).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        speak(stream, app).await;
                    }
                }
            }
        });
    }
}

/// HTTP on one connection until it ends or becomes a WebSocket.
async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router) {
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .with_upgrades()
        .await
        .ok();
}
