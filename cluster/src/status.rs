//! What an operator can see of the cluster from one node.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chitchat::ChitchatHandle;

use crate::{membership, net::Core, proto::Lifecycle};

/// The cluster as one node sees it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The node that looks.
    pub node: Arc<str>,
    /// Which boot of it.
    pub generation: u64,
    /// Where others reach it.
    pub address: SocketAddr,
    /// How far its life in the cluster has come.
    pub lifecycle: Lifecycle,
    /// Rooms that it has members in, as the others are told.
    pub rooms: usize,
    /// Its latest join.
    pub seq: u64,
    /// Its latest join that all ready peers know of.
    pub floor: u64,
    /// The others, by name.
    pub peers: Vec<PeerStatus>,
    /// Figures since the start.
    pub totals: Totals,
}

/// A peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Which boot.
    pub generation: u64,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Its program's version.
    pub version: String,
    /// How far its life in the cluster has come.
    pub lifecycle: Lifecycle,
    /// Whether gossip has it alive.
    pub alive: bool,
    /// Whether there is a link to it.
    pub linked: bool,
    /// Whether there is a link from it.
    pub heard: bool,
    /// Connections of clients that it has.
    pub load: usize,
    /// Whether its rooms are known exactly; else it is sent everything.
    pub in_step: bool,
    /// Its rooms, as far as known.
    pub rooms: usize,
    /// The latest join of this node that it has acknowledged.
    pub acknowledged: u64,
    /// Round-trip time of the link.
    pub round_trip: Option<Duration>,
    /// Bytes sent on the link, all in all.
    pub sent_bytes: u64,
    /// Forwards given to the link.
    pub forwarded: u64,
    /// Bytes of forwards sent.
    pub forwarded_bytes: u64,
    /// Writes that those took.
    pub forwarded_pieces: u64,
    /// Forwards that came from it.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Bytes of forwards that wait.
    pub waiting_bytes: usize,
}

/// Figures of a node's cluster since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Forwards given to links.
    pub forwarded: u64,
    /// Forwards dropped as a peer did not keep up.
    pub dropped: u64,
    /// Forwards that came from peers.
    pub received: u64,
    /// Gossip messages dropped.
    pub gossip_dropped: u64,
    /// Connections of nodes that were refused.
    pub refused: u64,
}

pub(crate) fn totals(core: &Core) -> Totals {
    let figures = &core.figures;
    Totals {
        forwarded: figures.forwarded.load(Relaxed),
        dropped: figures.dropped.load(Relaxed),
        received: figures.received.load(Relaxed),
        gossip_dropped: figures.gossip_dropped.load(Relaxed),
        refused: figures.refused.load(Relaxed),
    }
}

pub(crate) async fn look(core: &Core, gossip: &ChitchatHandle) -> Status {
    let told = membership::told(gossip).await;
    let (seq, floor, rooms, views) = {
        let node = core.node();
        (node.seq(), node.floor(), node.rooms(), node.peers())
    };
    let peers = views.into_iter().map(|view| {
        let told = told
            .iter()
            .find(|(name, generation, _)| *name == view.name && *generation == view.generation)
            .map(|(_, _, told)| told.clone())
            .unwrap_or_default();
        let link = view.slot.and_then(|slot| core.to_slot(slot));
        let link = link.as_ref();
        let received = core.received_from(&view.name);
        PeerStatus {
            version: told.version,
            load: told.load,
            round_trip: link.map(|link| link.connection.rtt()),
            sent_bytes: link.map_or(0, |link| link.connection.stats().udp_tx.bytes),
            forwarded: link.map_or(0, |link| link.frames.load(Relaxed)),
            received: received.frames,
            received_bytes: received.bytes,
            forwarded_bytes: link.map_or(0, |link| link.bytes.load(Relaxed)),
            forwarded_pieces: link.map_or(0, |link| link.pieces.load(Relaxed)),
            waiting_bytes: link.map_or(0, |link| link.lane.bytes()),
            name: view.name,
            generation: view.generation,
            address: view.address,
            lifecycle: view.lifecycle,
            alive: view.alive,
            linked: view.linked_out,
            heard: view.linked_in,
            in_step: view.in_step,
            rooms: view.rooms,
            acknowledged: view.acked,
        }
    });
    let mut peers: Vec<PeerStatus> = peers.collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Status {
        cluster: core.config.cluster.clone(),
        node: core.config.node.clone(),
        generation: core.config.generation,
        address: core.config.advertise,
        lifecycle: core.own.borrow().lifecycle,
        rooms,
        seq,
        floor,
        peers,
        totals: totals(core),
    }
}
