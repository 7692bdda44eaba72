//! The cluster as this node sees it.

use serde_json::{Value, json};
use tidings_cluster::{PeerStatus, Status, Totals};

use super::{Api, answer::Answer, emit::Outcome, status::Exposition};
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
    let carried = node.relay().carrying();
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
        "carried": {
            "requestsOut": carried.requests,
            "requestsIn": carried.peers_requests,
            "websocketsOut": carried.tunnels,
            "websocketsIn": carried.peers_tunnels,
        },
    })
}

/// A figure of the node's cluster since the start: name, meaning, where it stands.
type Total = (&'static str, &'static str, fn(&Totals) -> u64);

const TOTALS: [Total; 5] = [
    (
        "cluster_forwarded_total",
        "Emits given to links to peers.",
        |totals| totals.forwarded,
    ),
    (
        "cluster_dropped_total",
        "Emits dropped for peers that did not keep up.",
        |totals| totals.dropped,
    ),
    (
        "cluster_received_total",
        "Emits that came from peers.",
        |totals| totals.received,
    ),
    (
        "cluster_gossip_dropped_total",
        "Gossip messages dropped.",
        |totals| totals.gossip_dropped,
    ),
    (
        "cluster_refused_total",
        "Connections of nodes that were refused.",
        |totals| totals.refused,
    ),
];

/// A figure of a peer: name, meaning, where it stands.
type PeerFigure = (&'static str, &'static str, fn(&PeerStatus) -> f64);

const PEER_FIGURES: [PeerFigure; 5] = [
    (
        "cluster_peer_alive",
        "1 if gossip has the peer alive, else 0.",
        |peer| f64::from(u8::from(peer.alive)),
    ),
    (
        "cluster_peer_linked",
        "1 if there are links both ways, else 0.",
        |peer| f64::from(u8::from(peer.linked && peer.heard)),
    ),
    (
        "cluster_peer_in_step",
        "1 if the peer's rooms are known exactly; else it is sent everything.",
        |peer| f64::from(u8::from(peer.in_step)),
    ),
    (
        "cluster_peer_waiting_bytes",
        "Bytes of emits that wait for the peer.",
        |peer| peer.waiting_bytes as f64,
    ),
    (
        "cluster_peer_round_trip_seconds",
        "Round-trip time of the link to the peer.",
        |peer| peer.round_trip.unwrap_or_default().as_secs_f64(),
    ),
];

/// Clients that reached this node and are held by a peer.
const OUT: &str = "{direction=\"out\"}";
/// Clients that reached a peer and are held by this node.
const IN: &str = "{direction=\"in\"}";

/// The cluster's figures in Prometheus' text format; none of a node that is alone.
pub(super) async fn expose(node: &Node, text: &mut Exposition) {
    let Some(cluster) = node.relay().cluster() else {
        return;
    };
    let status = cluster.status().await;
    for (name, help, value) in TOTALS {
        text.single(name, "counter", help, value(&status.totals));
    }
    text.single(
        "cluster_unacknowledged_total",
        "counter",
        "Clients answered although a peer did not know of their rooms in time.",
        node.relay().unknown(),
    );
    let carried = node.relay().carrying();
    text.family(
        "cluster_carried_requests_total",
        "counter",
        "Polls and posts that were carried: to peers (out) and from them (in).",
    );
    text.sample("cluster_carried_requests_total", OUT, carried.requests);
    text.sample("cluster_carried_requests_total", IN, carried.peers_requests);
    text.family(
        "cluster_carried_websockets",
        "gauge",
        "WebSockets that are carried now: to peers (out) and from them (in).",
    );
    text.sample("cluster_carried_websockets", OUT, carried.tunnels);
    text.sample("cluster_carried_websockets", IN, carried.peers_tunnels);
    for (name, help, value) in PEER_FIGURES {
        text.family(name, "gauge", help);
        for peer in &status.peers {
            text.sample(name, &format!("{{peer=\"{}\"}}", peer.name), value(peer));
        }
    }
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
        "forwarded": peer.forwarded,
        "forwardedBytes": peer.forwarded_bytes,
        "forwardedWrites": peer.forwarded_pieces,
        "received": peer.received,
        "receivedBytes": peer.received_bytes,
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
