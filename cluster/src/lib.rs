//! Nodes finding and talking to each other: one cluster key, gossip for who is there, links over
//! QUIC for everything else.
//!
//! | module | what it is |
//! |---|---|
//! | `proto` | PURE, time and randomness passed in: interest, members, link life, counters |
//! | `net` | links between nodes: QUIC with mutual TLS, dialing, frames, bounded queues |
//! | `gossip` | chitchat's messages, carried over the links |
//! | `membership` | gossip's view for the core, and what gossip tells of this node |
//! | `history` | recoverable rooms: their core on a disk and over links |
//! | `identity`, `key` | the certificate of a node, and the cluster's key that mints it |
//! | `status` | what an operator can see |
//! | `sim`, `sim_slots` | many nodes on one thread, in virtual time, over lossy links, from a seed |
//!
//! *Interest* is which peers have members in a room. A *link* to a peer is a connection that this
//! node dialed and alone speaks on; the peer answers on its own. The *floor* is the latest join of
//! this node that every ready peer knows of.
//!
//! What it promises its neighbours:
//!
//! - **Payloads are opaque bytes.** Nothing here knows Socket.IO, sessions or channels.
//! - **It keeps nothing itself.** This crate and `tidings-storage` do not know each other.
//! - **One meeting place.** The daemon's switchboard meets it in one module; what a peer sends is
//!   applied there and never forwarded again.
//! - **A peer delays nobody.** What cannot be sent waits in bounded queues, one per peer.

mod gossip;
mod history;
mod identity;
mod key;
mod membership;
mod net;
pub mod proto;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sim_slots;
mod status;

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use chitchat::ChitchatHandle;
use tokio::sync::mpsc;

use gossip::Links;
pub use history::{
    Counts, Done, Failing, History, HistoryConfig, Joining, Keep, KeepError, Known, Listening,
    OwnedStatus, Read, Recovered, Refused, Roster, SlotOf, SlotStatus, Submitted, Taken, Told, Way,
    Weight, Written, slot_by_name,
};
use identity::{Identity, RENEW_AFTER};
pub use key::{ClusterKey, KeyError};
pub use net::{AskError, Carried, ProbeError, Reached, SOCKET_BUFFER, probe};
use net::{Core, GOSSIP_CAPACITY};
use proto::{Lifecycle, RoomKey};
pub use status::{PeerStatus, Status, Totals};

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a node must know to be one of several.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's name; nodes of another one are refused.
    pub cluster: String,
    /// This node's name, a host name; no other node may have it.
    pub node: Arc<str>,
    /// This boot of the node; higher than that of every earlier boot.
    pub generation: u64,
    /// The program's version, for operators.
    pub version: String,
    /// Where it listens, UDP.
    pub listen: SocketAddr,
    /// Where others reach it; port 0 stands for the one that it listens on.
    pub advertise: SocketAddr,
    /// What makes it one of the cluster.
    pub key: ClusterKey,
    /// Some nodes to begin with, as `host:port`; names are resolved again every minute.
    pub seeds: Vec<String>,
    /// How long a room without members is still said to have some.
    pub linger: Duration,
    /// Bytes of forwards that may wait for one peer.
    pub queue: usize,
}

/// Why a node did not become one of several. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key cannot be used.
    #[error("the cluster key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The socket could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Gossip did not start.
    #[error("gossip cannot start: {0}")]
    Gossip(String),
}

/// One boot of another node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its name.
    pub name: Arc<str>,
    /// Which boot.
    pub generation: u64,
}

/// Something that the application may want to know. Told in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// A peer is there.
    Up(Peer),
    /// A peer is gone.
    Down(Arc<str>),
    /// All joins up to this one are known to all ready peers.
    Floor(u64),
    /// What the others have counted for a key.
    Others {
        /// The key, as it was given to [`Cluster::count`].
        key: Bytes,
        /// For how many milliseconds from now each counts, and how much.
        parts: Vec<(u32, u32)>,
    },
}

/// What the cluster asks of the program that it is part of.
pub trait Application: Send + Sync + 'static {
    /// Frames that a peer forwarded, in order. The peer's next ones wait until this is done.
    fn deliver<'a>(&'a self, from: &'a Peer, frames: Vec<Bytes>) -> BoxFuture<'a, ()>;

    /// Answers a peer's question. Dropped when the peer does not wait for it any more.
    fn answer<'a>(&'a self, from: &'a Peer, question: Bytes) -> BoxFuture<'a, Bytes>;

    /// Serves a client that a peer carries here. The head is to be answered first.
    fn carry<'a>(&'a self, from: &'a Peer, head: Bytes, carried: Carried) -> BoxFuture<'a, ()>;

    /// Something changed. Must not wait.
    fn changed(&self, change: Change);
}

/// The answers of all peers to one question.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// By the peer's name.
    pub answers: Vec<(Arc<str>, Bytes)>,
    /// Peers that did not answer, with the reason.
    pub missing: Vec<(Arc<str>, AskError)>,
}

/// This node's part of the cluster: a cheap handle.
#[derive(Clone)]
pub struct Cluster {
    core: Arc<Core>,
    gossip: Arc<ChitchatHandle>,
}

impl Cluster {
    /// Starts to listen, to gossip and to link. The node is `joining` until [`Cluster::ready`].
    /// Must be called within a tokio runtime.
    pub async fn start(
        mut config: Config,
        application: Arc<dyn Application>,
    ) -> Result<Self, StartError> {
        let identity = Identity::new(config.key.clone(), &config.node)?;
        let endpoint = net::open(config.listen, &identity)?;
        if config.advertise.port() == 0
            && let Ok(bound) = endpoint.local_addr()
        {
            config.advertise.set_port(bound.port());
        }
        let (gossip_in, incoming) = mpsc::channel(GOSSIP_CAPACITY);
        let core = Core::new(config, application, identity, endpoint, gossip_in);
        let links = Links::new(core.clone(), incoming);
        let gossip = Arc::new(membership::start(&core, links).await?);
        core.tasks.spawn(net::serve(core.clone()));
        core.tasks.spawn(net::drive(core.clone()));
        core.tasks
            .spawn(membership::run(core.clone(), gossip.clone()));
        core.tasks.spawn(renew(core.clone()));
        tracing::info!(cluster = core.config.cluster, node = %core.config.node,
            listen = %core.config.listen, advertise = %core.config.advertise, "cluster joining");
        Ok(Self { core, gossip })
    }

    /// Where others reach this node.
    pub fn address(&self) -> SocketAddr {
        self.core.config.advertise
    }

    /// This node's name.
    pub fn node(&self) -> &Arc<str> {
        &self.core.config.node
    }

    /// Waits until the node knows where the others' listeners are, and they know of its own.
    pub async fn ready(&self) {
        let mut own = self.core.own.subscribe();
        let _ = own
            .wait_for(|own| own.lifecycle != Lifecycle::Joining)
            .await;
    }

    /// How far this node's life in the cluster has come.
    pub fn lifecycle(&self) -> Lifecycle {
        self.core.own.borrow().lifecycle
    }

    /// This node has a member in a room that had none. Returns the number of the join: the peers
    /// know of it once [`Cluster::floor`] has reached it. Never waits.
    pub fn join(&self, room: RoomKey) -> u64 {
        self.core.decide(|node, now| node.join(room, now))
    }

    /// This node has no member in a room any more. Never waits.
    pub fn leave(&self, room: RoomKey) {
        self.core.decide(|node, now| node.leave(room, now));
    }

    /// The latest join that all ready peers know of.
    pub fn floor(&self) -> u64 {
        self.core.node().floor()
    }

    /// The latest join of this node.
    pub fn seq(&self) -> u64 {
        self.core.node().seq()
    }

    /// The peers that have members in any of the rooms, or may have: one bit each.
    pub fn interested(&self, rooms: &[RoomKey]) -> u64 {
        self.core.node().route(rooms)
    }

    /// All live peers: one bit each.
    pub fn everyone(&self) -> u64 {
        self.core.node().everyone()
    }

    /// Sends a frame to the peers of a mask: queued for each, in order, and dropped for one that
    /// does not keep up. Never waits.
    pub fn forward(&self, peers: u64, frame: &[u8]) {
        if peers != 0 {
            self.core.forward(peers, &net::framed(frame));
        }
    }

    /// Asks one peer.
    pub async fn ask(
        &self,
        peer: &str,
        question: Bytes,
        patience: Duration,
    ) -> Result<Bytes, AskError> {
        let link = self.core.to_peer(peer).ok_or(AskError::Unreachable)?;
        tokio::time::timeout(patience, link.ask(question))
            .await
            .unwrap_or(Err(AskError::Late))
    }

    /// Asks several peers at once. One that dies meanwhile is not waited for.
    pub async fn ask_all(
        &self,
        peers: &[Arc<str>],
        question: Bytes,
        patience: Duration,
    ) -> Answers {
        let mut asked = tokio::task::JoinSet::new();
        for peer in peers {
            let (cluster, peer, question) = (self.clone(), peer.clone(), question.clone());
            asked.spawn(async move {
                let answer = cluster.ask(&peer, question, patience).await;
                (peer, answer)
            });
        }
        let mut answers = Answers::default();
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok((peer, Ok(answer))) => answers.answers.push((peer, answer)),
                Ok((peer, Err(error))) => answers.missing.push((peer, error)),
                Err(_) => {}
            }
        }
        answers.answers.sort_by(|a, b| a.0.cmp(&b.0));
        answers.missing.sort_by(|a, b| a.0.cmp(&b.0));
        answers
    }

    /// Carries a client's request to the peer that holds its connection. Waits as long as the client
    /// does: when this is dropped, the peer drops its answer; when the link is lost, it ends.
    pub async fn carry_request(&self, peer: &str, request: Bytes) -> Result<Bytes, AskError> {
        let link = self.core.to_peer(peer).ok_or(AskError::Unreachable)?;
        link.carry_request(request).await
    }

    /// Opens a stream on which a client is carried to the peer that holds its connection. The peer
    /// answers before anything is carried: [`Carried::heard`].
    pub async fn carry(&self, peer: &str, head: &[u8]) -> Result<Carried, AskError> {
        let link = self.core.to_peer(peer).ok_or(AskError::Unreachable)?;
        link.carry(head).await
    }

    /// This node's count for a key changed: for how many milliseconds each part counts, and how
    /// much.
    pub fn count(&self, key: Bytes, parts: Vec<(u32, u32)>) {
        self.core.decide(|node, now| node.count(key, parts, now));
        self.core.look_soon();
    }

    /// Tells the others how many clients this node has.
    pub fn set_load(&self, load: usize) {
        self.core.own.send_if_modified(|own| {
            let changed = own.load != load;
            own.load = load;
            changed
        });
    }

    /// The names of the live peers.
    pub fn peers(&self) -> Vec<Arc<str>> {
        let peers = self.core.node().peers();
        let alive = peers.into_iter().filter(|peer| peer.alive);
        alive.map(|peer| peer.name).collect()
    }

    /// The bit of a peer in a mask; 0 if it is not there.
    pub fn slot_of(&self, peer: &str) -> u64 {
        self.core.slot_of(peer).map_or(0, |slot| 1 << slot)
    }

    /// The names of the peers of a mask.
    pub fn names(&self, mask: u64) -> Vec<Arc<str>> {
        self.core.names(mask)
    }

    /// What can be known of the cluster from here.
    pub async fn status(&self) -> Status {
        status::look(&self.core, &self.gossip).await
    }

    /// Figures since the start.
    pub fn totals(&self) -> Totals {
        status::totals(&self.core)
    }

    /// The node is about to go: it takes no new clients.
    pub fn drain(&self) {
        self.core.decide(|node, now| node.drain(now));
    }

    /// Leaves: the peers are told, and the links are closed once what waits on them has had a
    /// moment to go out.
    pub async fn stop(&self) {
        const MOMENT: Duration = Duration::from_secs(1);
        const GOODBYE: Duration = Duration::from_millis(250);
        self.core.own.send_modify(|own| own.left = true);
        let told = tokio::time::sleep(membership::INTERVAL + GOODBYE);
        let links = self.core.close_lanes();
        let sent = async {
            for link in &links {
                link.connection.closed().await;
            }
        };
        let sent = tokio::time::timeout(MOMENT, sent);
        let _ = tokio::join!(told, sent);
        let _ = self.gossip.initiate_shutdown();
        self.core.stop.cancel();
        self.core.tasks.close();
        self.core.endpoint.close(0_u32.into(), b"leaves");
        let _ = tokio::time::timeout(MOMENT, self.core.tasks.wait()).await;
        // A dial under way would hold it for as long as a dial may take.
        let _ = tokio::time::timeout(GOODBYE, self.core.endpoint.wait_idle()).await;
    }
}

/// Replaces the node's certificate long before it ends.
async fn renew(core: Arc<Core>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RENEW_AFTER) => {}
            () = core.stop.cancelled() => return,
        }
        match core.identity.renew() {
            Ok(()) => tracing::debug!("certificate renewed"),
            Err(error) => tracing::error!(%error, "the certificate cannot be renewed"),
        }
    }
}
