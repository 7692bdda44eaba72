//! A load balancer without any memory: each connection goes to the next server that takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running balancer; it ends with the value.
pub struct Balancer {
    address: String,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Balances over servers at these addresses, in turn.
    pub async fn over(servers: &[&str]) -> Balancer {
        Balancer::listen("127.0.0.1:0", servers).await
    }

    /// The same, at an address of one's own.
    pub async fn listen(address: &str, servers: &[&str]) -> Balancer {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"));
        let address = listener.local_addr().expect("it is bound").to_string();
        let servers = servers.iter().map(|server| (*server).to_owned()).collect();
        Balancer {
            address,
            task: tokio::spawn(serve(listener, servers)),
        }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, servers: Vec<String>) {
    let (servers, turn) = (Arc::new(servers), Arc::new(AtomicUsize::new(0)));
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (servers, turn) = (servers.clone(), turn.clone());
        connections.spawn(async move {
            for _ in 0..servers.len() {
                let next = turn.fetch_add(1, Ordering::Relaxed) % servers.len();
                // One that is down refuses at once.
                if let Ok(server) = TcpStream::connect(&servers[next]).await {
                    return join(client, server).await;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn join(client: TcpStream, server: TcpStream) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let down = async {
        // A server that broke has ended: that is what the client shall see.
        let _ = copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up(from_client, to_server), down);
}

/// A server may answer a request and close before it has all of it: the rest is read and dropped,
/// so that the client sees the answer.
async fn up(mut client: OwnedReadHalf, mut server: OwnedWriteHalf) {
    let mut piece = vec![0; 64 << 10];
    let mut is_open = true;
    while let Ok(count @ 1..) = client.read(&mut piece).await {
        is_open = is_open && server.write_all(&piece[..count]).await.is_ok();
    }
    let _ = server.shutdown().await;
}
