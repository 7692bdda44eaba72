//! A slow way for UDP: datagrams to an address of ours reach another after a while, and answers
//! come back as slowly. The kernel at hand can do everything to a link but delay it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// More than any datagram.
const DATAGRAM: usize = 65_536;
/// Datagrams on the way in one direction; further ones are lost.
const ON_THE_WAY: usize = 65_536;

/// A relay; it ends with the value.
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay on an address of ours to another, each way of which takes `delay`.
    pub async fn new(here: IpAddr, to: SocketAddr, delay: Duration) -> Relay {
        let socket = UdpSocket::bind((here, 0))
            .await
            .expect("an address of ours");
        let address = socket.local_addr().expect("it is bound");
        Relay {
            address,
            task: tokio::spawn(forward(Arc::new(socket), here, to, delay)),
        }
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A datagram, when it is due, and for whom if not for the socket's only peer.
type Late = (Instant, Vec<u8>);

async fn forward(front: Arc<UdpSocket>, here: IpAddr, to: SocketAddr, delay: Duration) {
    let mut ways: HashMap<SocketAddr, mpsc::Sender<Late>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((len, from)) = front.recv_from(&mut buffer).await else {
            // A peer that is gone; others are not.
            continue;
        };
        let way = match ways.get(&from) {
            Some(way) => way,
            None => {
                let back = UdpSocket::bind((here, 0))
                    .await
                    .expect("an address of ours");
                back.connect(to).await.expect("an address is enough");
                let back = Arc::new(back);
                let (way, late) = mpsc::channel(ON_THE_WAY);
                tasks.spawn(send_late(late, back.clone(), None));
                let (answers, late) = mpsc::channel(ON_THE_WAY);
                tasks.spawn(send_late(late, front.clone(), Some(from)));
                tasks.spawn(hear(back, answers, delay));
                ways.entry(from).or_insert(way)
            }
        };
        let _ = way.try_send((Instant::now() + delay, buffer[..len].to_vec()));
    }
}

async fn hear(socket: Arc<UdpSocket>, answers: mpsc::Sender<Late>, delay: Duration) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error says that nobody was there a moment ago.
        if let Ok(len) = socket.recv(&mut buffer).await {
            let _ = answers.try_send((Instant::now() + delay, buffer[..len].to_vec()));
        }
    }
}

async fn send_late(mut late: mpsc::Receiver<Late>, socket: Arc<UdpSocket>, to: Option<SocketAddr>) {
    while let Some((due, datagram)) = late.recv().await {
        sleep_until(due).await;
        let _ = match to {
            Some(to) => socket.send_to(&datagram, to).await,
            None => socket.send(&datagram).await,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_come_late_and_in_order_both_ways() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let far = UdpSocket::bind((here, 0)).await.unwrap();
        let delay = Duration::from_millis(30);
        let relay = Relay::new(here, far.local_addr().unwrap(), delay).await;
        let near = UdpSocket::bind((here, 0)).await.unwrap();
        let begun = Instant::now();
        for n in 0..3 {
            near.send_to(&[n], relay.address()).await.unwrap();
        }
        let mut byte = [0];
        for n in 0..3 {
            let (_, from) = far.recv_from(&mut byte).await.unwrap();
            assert_eq!(byte, [n]);
            assert!(begun.elapsed() >= delay);
            far.send_to(&[n + 10], from).await.unwrap();
        }
        for n in 0..3 {
            let (_, from) = near.recv_from(&mut byte).await.unwrap();
            assert_eq!((byte, from), ([n + 10], relay.address()));
        }
        assert!(begun.elapsed() >= 2 * delay);
    }
}
