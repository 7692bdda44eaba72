//! Emits to the peers that have listeners, and emits from peers.

use bytes::Bytes;
use tidings_cluster::{Cluster, Peer};

use super::{
    Relay,
    frame::{self, Call, Forwarded},
    room_key,
};
use crate::{event::EmitRequest, node::socket_home, shard::rooms::EVERYBODY};

impl Relay {
    /// Forwards an emit that this node has taken in and given to its own clients. Never waits.
    pub(crate) fn forward(&self, request: &EmitRequest, id: &str) {
        let Some(cluster) = self.cluster() else {
            return;
        };
        let peers = self.listeners(cluster, request);
        if peers != 0 {
            cluster.forward(peers, &frame::encode(request, id, None));
        }
    }

    /// Forwards an emit whose acknowledgements peers collect; returns the peers.
    pub(super) fn forward_call(&self, cluster: &Cluster, request: &EmitRequest, call: Call) -> u64 {
        let peers = self.listeners(cluster, request);
        if peers != 0 {
            let id = request.id.as_deref().unwrap_or_default();
            cluster.forward(peers, &frame::encode(request, id, Some(call)));
        }
        peers
    }

    /// The peers that have members of the rooms, or may have.
    fn listeners(&self, cluster: &Cluster, request: &EmitRequest) -> u64 {
        let everybody = request.rooms.is_empty().then_some(EVERYBODY);
        let rooms = request.rooms.iter().map(String::as_str).chain(everybody);
        let keys: Vec<_> = rooms
            .map(|room| room_key(&request.namespace, room))
            .collect();
        let mut peers = cluster.interested(&keys);
        for room in &request.rooms {
            if let Some(tag) = socket_home(room) {
                for name in self.homes(tag) {
                    peers |= cluster.slot_of(&name);
                }
            }
        }
        peers
    }

    /// Applies what a peer forwarded, in order.
    pub(super) async fn apply(&self, from: &Peer, frames: Vec<Bytes>) {
        let Some(node) = self.node() else {
            return;
        };
        for bytes in frames {
            match frame::decode(bytes) {
                Ok(Forwarded {
                    request,
                    call: None,
                }) => {
                    // Whoever emitted it was answered by the peer.
                    if let Err(error) = node.hub.begin(&node, request).await.map(drop) {
                        tracing::debug!(peer = %from.name, %error, "a forwarded emit was refused");
                    }
                }
                Ok(Forwarded {
                    request,
                    call: Some(call),
                }) => self.calls.take_in(&node, from, request, call).await,
                Err(error) => tracing::warn!(peer = %from.name, %error, "not applied"),
            }
        }
    }
}
