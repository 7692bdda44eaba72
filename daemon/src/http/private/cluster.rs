//! The cluster as this node sees it.

use serde_json::{Value, json};
use tidings_cluster::{PeerStatus, Status, Totals};

use super::{Api, answer::Answer, emit::Outcome};
use crate::node::Node;

/// Every node, its links, and whether it is in step.
pub(super) async fn show(api: &Api) -> Outcome {
    Ok(Answer::ok(&view(&api.node).await))
}

/// The cluster in JSON; a node that is alone says so.
pub(crate) async fn view(node: &Node) -> Value {
    let own = json!({
        "name": node.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "connections": node.connections(),
    });
    let Some(cluster) = node.relay().cluster() else {
        return json!({ "clustered": false, "node": own });
    };
    let status = cluster.status().await;
    let peers: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| of_peer(peer, &status))
        .collect();
    let mut own = own;
    let more = json!({
        "generation": status.generation,
        "address": status.address,
        "state": status.lifecycle.name(),
        "rooms": status.rooms,
        "interest": status.seq,
        "acknowledgedByAll": status.floor >= status.seq,
        "answeredUnacknowledged": node.relay().unknown(),
    });
    if let (Some(own), Value::Object(more)) = (own.as_object_mut(), more) {
        own.extend(more);
    }
    json!({
        "clustered": true,
        "name": status.cluster,
        "node": own,
        "peers": peers,
        "totals": of_totals(&status.totals),
    })
}

fn of_peer(peer: &PeerStatus, status: &Status) -> Value {
    json!({
        "name": peer.name,
        "generation": peer.generation,
        "address": peer.address,
        "version": peer.version,
        "state": peer.lifecycle.name(),
        "alive": peer.alive,
        "linked": peer.linked,
        "heard": peer.heard,
        "connections": peer.load,
        "inStep": peer.in_step,
        "rooms": peer.rooms,
        "acknowledged": peer.acknowledged,
        "behind": status.seq.saturating_sub(peer.acknowledged),
        "roundTripMs": peer.round_trip.map(|time| time.as_secs_f64() * 1000.0),
        "sentBytes": peer.sent_bytes,
        "forwardedBytes": peer.forwarded_bytes,
        "forwardedWrites": peer.forwarded_pieces,
        "waitingBytes": peer.waiting_bytes,
    })
}

fn of_totals(totals: &Totals) -> Value {
    json!({
        "forwarded": totals.forwarded,
        "dropped": totals.dropped,
        "received": totals.received,
        "gossipDropped": totals.gossip_dropped,
        "refused": totals.refused,
    })
}
