//! The network in front of a node, which can be cut.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

const PACKET: usize = 64 << 10;
const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Hands on packets to a node and back, but for those of nodes that are cut off from it.
pub(super) struct Relay {
    front: UdpSocket,
    target: SocketAddr,
    cut: Mutex<HashSet<SocketAddr>>,
}

impl Relay {
    pub(super) async fn start(target: SocketAddr) -> Arc<Self> {
        let front = UdpSocket::bind(SocketAddr::from(LOOPBACK)).await.unwrap();
        let cut = Mutex::default();
        let relay = Arc::new(Self { front, target, cut });
        tokio::spawn(relay.clone().run());
        relay
    }

    /// Where others reach the node.
    pub(super) fn address(&self) -> SocketAddr {
        self.front.local_addr().unwrap()
    }

    /// Lets nothing pass between the node and another, by where that listens.
    pub(super) fn cut(&self, other: SocketAddr) {
        self.cut.lock().unwrap().insert(other);
    }

    /// Lets everything pass.
    pub(super) fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    fn passes(&self, other: SocketAddr) -> bool {
        !self.cut.lock().unwrap().contains(&other)
    }

    async fn run(self: Arc<Self>) {
        let mut ways = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
        let mut packet = vec![0; PACKET];
        while let Ok((len, from)) = self.front.recv_from(&mut packet).await {
            let way = match ways.get(&from) {
                Some(way) => way.clone(),
                None => {
                    let way = UdpSocket::bind(SocketAddr::from(LOOPBACK)).await.unwrap();
                    way.connect(self.target).await.unwrap();
                    let way = Arc::new(way);
                    tokio::spawn(self.clone().back(way.clone(), from));
                    ways.insert(from, way.clone());
                    way
                }
            };
            if self.passes(from) {
                let _ = way.send(&packet[..len]).await;
            }
        }
    }

    async fn back(self: Arc<Self>, way: Arc<UdpSocket>, to: SocketAddr) {
        let mut packet = vec![0; PACKET];
        loop {
            // An error says that the node is down, for now.
            let Ok(len) = way.recv(&mut packet).await else {
                continue;
            };
            if self.passes(to) {
                let _ = self.front.send_to(&packet[..len], to).await;
            }
        }
    }
}
