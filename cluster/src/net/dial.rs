//! One attempt to reach an address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Core, Link,
    hello::{self, HelloError},
    outbound::{self, Outbound},
};
use crate::identity::CLUSTER_NAME;

/// How long a connection may take; a peer that is there answers within milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

/// Dials, greets, and feeds the link until it is lost.
pub(super) async fn run(core: Arc<Core>, address: SocketAddr) {
    let random = super::random();
    let connected = tokio::select! {
        connected = connect(&core, address) => connected,
        () = core.stop.cancelled() => return,
    };
    match connected {
        Ok((link, gossip)) => {
            // Found before the core speaks of it.
            core.add_link(link.id, Link::Outbound(link.clone()));
            core.set_address(address, link.clone());
            core.set_address(link.peer.address, link.clone());
            core.decide(|node, now| {
                node.link_out_up(link.id, address, link.peer.clone(), now);
            });
            outbound::run(core, link, gossip).await;
        }
        Err(DialError::Hello(HelloError::Refused(refused))) => {
            core.decide(|node, now| node.dial_refused(address, refused, now, random));
        }
        Err(error) => {
            let first = core.decide(|node, now| node.dial_failed(address, now, random));
            if first {
                tracing::info!(%address, %error, "a node cannot be reached; trying on");
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Lost(#[from] quinn::ConnectionError),
    #[error("no answer within {} s", CONNECT.as_secs())]
    Late,
    #[error(transparent)]
    Hello(#[from] HelloError),
}

async fn connect(
    core: &Core,
    address: SocketAddr,
) -> Result<(Arc<Outbound>, tokio::sync::mpsc::Receiver<bytes::Bytes>), DialError> {
    let connecting = core.endpoint.connect(address, CLUSTER_NAME)?;
    let connection = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(|_| DialError::Late)??;
    let theirs = hello::greet(&connection, &core.hello()).await?;
    let limit = core.config.queue;
    Ok(Outbound::new(core.next_link(), theirs, connection, limit))
}
