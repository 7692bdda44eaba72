//! A load balancer without any memory: each connection goes to the next server that takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
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
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
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
    while let Ok((mut client, _)) = listener.accept().await {
        let (servers, turn) = (servers.clone(), turn.clone());
        connections.spawn(async move {
            for _ in 0..servers.len() {
                let next = turn.fetch_add(1, Ordering::Relaxed) % servers.len();
                // One that is down refuses at once.
                if let Ok(mut server) = TcpStream::connect(&servers[next]).await {
                    let _ = server.set_nodelay(true);
                    let _ = client.set_nodelay(true);
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
