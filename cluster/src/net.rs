//! Where the decisions of [`crate::proto`] are carried out: links over QUIC, dialed, answered, fed.
//!
//! | module | what it is |
//! |---|---|
//! | `endpoint` | the UDP socket and how connections on it behave |
//! | `hello` | the first exchange on a connection: who is there |
//! | `dial` | one attempt to reach an address |
//! | `probe` | whether a node can be reached, for who looks after one |
//! | `outbound` | a link to a peer: control, forwards, gossip, questions |
//! | `history` | what nodes say of recoverable rooms |
//! | `inbound` | a link from a peer, read only |
//! | `lane` | what waits for one peer, bounded in bytes |
//! | `carried`, `flow` | a client's bytes, and how many of them may be on their way |
//! | `driver` | carries out what the core decides, in order |
//!
//! **Invariant:** the core's lock is held for decisions only, never across an await, and what it
//! decides is carried out by one task, in order.

mod carried;
mod dial;
mod driver;
mod endpoint;
mod flow;
mod hello;
pub(crate) mod history;
mod inbound;
mod lane;
mod outbound;
mod probe;
mod stream;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use chitchat::ChitchatMessage;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Application, Config,
    identity::Identity,
    membership::{Holder, Own},
    proto::{Hello, LinkId, Node, PROTOCOL, SLOTS, Settings},
};
pub use carried::Carried;
pub(crate) use driver::run as drive;
pub use endpoint::SOCKET_BUFFER;
pub(crate) use endpoint::open;
pub(crate) use inbound::serve;
pub use outbound::AskError;
pub(crate) use outbound::Outbound;
pub use probe::{ProbeError, Reached, probe};
pub(crate) use stream::framed;

/// Gossip messages that wait to be read; further ones are dropped, as on a network.
pub(crate) const GOSSIP_CAPACITY: usize = 256;

/// What a link is to the edge.
#[derive(Clone)]
pub(crate) enum Link {
    Outbound(Arc<Outbound>),
    Inbound(quinn::Connection),
}

/// All that the tasks of one node's cluster share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) endpoint: quinn::Endpoint,
    /// The decisions.
    node: Mutex<Node>,
    /// Notified when the core has decided something.
    decided: Notify,
    started: Instant,
    links: RwLock<Links>,
    next_link: AtomicU64,
    /// What gossip tells of this node.
    pub(crate) own: watch::Sender<Own>,
    /// Gossip that came in, for chitchat.
    pub(crate) gossip_in: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    /// Tasks that end with the cluster.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) figures: Figures,
    /// This node's recoverable rooms, once there are any.
    pub(crate) history: watch::Sender<Option<Arc<history::Attached>>>,
    /// Who holds recoverable rooms, by gossip.
    pub(crate) holders: watch::Sender<Arc<Vec<Holder>>>,
    /// What came from each peer since its link came up: frames and bytes of forwards.
    received: Mutex<HashMap<Arc<str>, Received>>,
}

/// What came from a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Links by what they are looked up by.
struct Links {
    by_id: HashMap<LinkId, Link>,
    /// The link that forwards go out on, by the peer's slot.
    by_slot: [Option<Arc<Outbound>>; SLOTS],
    /// The link that gossip goes out on.
    by_address: HashMap<SocketAddr, Arc<Outbound>>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            by_slot: [const { None }; SLOTS],
            by_address: HashMap::new(),
        }
    }
}

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Forwards given to links.
    pub(crate) forwarded: AtomicU64,
    /// Forwards dropped because a peer's queue was full.
    pub(crate) dropped: AtomicU64,
    /// Forwards that came from peers.
    pub(crate) received: AtomicU64,
    /// Messages about recoverable rooms that were dropped as a peer's queue was full.
    pub(crate) history_dropped: AtomicU64,
    /// Gossip messages dropped, either way.
    pub(crate) gossip_dropped: AtomicU64,
    /// Connections that were refused.
    pub(crate) refused: AtomicU64,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        application: Arc<dyn Application>,
        identity: Arc<Identity>,
        endpoint: quinn::Endpoint,
        gossip_in: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    ) -> Arc<Self> {
        let settings = Settings {
            name: config.node.clone(),
            cluster: config.cluster.clone(),
            generation: config.generation,
            address: config.advertise,
            linger_ms: config.linger.as_millis() as u64,
            has_seeds: !config.seeds.is_empty(),
        };
        Arc::new(Self {
            node: Mutex::new(Node::new(settings, 0)),
            decided: Notify::new(),
            started: Instant::now(),
            links: RwLock::default(),
            next_link: AtomicU64::new(1),
            own: watch::Sender::new(Own::default()),
            gossip_in,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            figures: Figures::default(),
            history: watch::Sender::new(None),
            holders: watch::Sender::new(Arc::default()),
            received: Mutex::default(),
            config,
            application,
            identity,
            endpoint,
        })
    }

    /// Lets the core decide; what follows from it is carried out soon.
    pub(crate) fn decide<T>(&self, decide: impl FnOnce(&mut Node, u64) -> T) -> T {
        let now = self.now_ms();
        let mut node = self.node();
        let answer = decide(&mut node, now);
        let decided = node.has_actions();
        drop(node);
        if decided {
            self.decided.notify_one();
        }
        answer
    }

    /// Counts forwards that came from a peer.
    pub(crate) fn count_received(&self, peer: &Arc<str>, frames: &[Bytes]) {
        self.figures
            .received
            .fetch_add(frames.len() as u64, Ordering::Relaxed);
        let mut received = self.received();
        let its = received.entry(peer.clone()).or_default();
        its.frames += frames.len() as u64;
        its.bytes += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
    }

    /// What came from a peer.
    pub(crate) fn received_from(&self, peer: &str) -> Received {
        self.received().get(peer).copied().unwrap_or_default()
    }

    /// A peer is gone: its count begins anew when it is back.
    pub(crate) fn forget_received(&self, peer: &str) {
        self.received().remove(peer);
    }

    fn received(&self) -> MutexGuard<'_, HashMap<Arc<str>, Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has time passed to the core before long: it has something that waits for it.
    pub(crate) fn look_soon(&self) {
        self.decided.notify_one();
    }

    /// Looks at the core.
    pub(crate) fn node(&self) -> MutexGuard<'_, Node> {
        // What a panic left half done is mended by the next snapshots; better than a dead node.
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn next_link(&self) -> LinkId {
        LinkId(self.next_link.fetch_add(1, Ordering::Relaxed))
    }

    /// Who this node is, for the first words on a link.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            protocol: PROTOCOL,
            name: self.config.node.clone(),
            generation: self.config.generation,
            address: self.config.advertise,
        }
    }

    pub(crate) fn add_link(&self, id: LinkId, link: Link) {
        self.write_links().by_id.insert(id, link);
    }

    pub(crate) fn remove_link(&self, id: LinkId) {
        let mut links = self.write_links();
        links.by_id.remove(&id);
        links.by_address.retain(|_, link| link.id != id);
        for slot in &mut links.by_slot {
            if slot.as_ref().is_some_and(|link| link.id == id) {
                *slot = None;
            }
        }
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<Link> {
        self.read_links().by_id.get(&id).cloned()
    }

    pub(crate) fn set_slot(&self, slot: u8, link: Option<Arc<Outbound>>) {
        if let Some(place) = self.write_links().by_slot.get_mut(usize::from(slot)) {
            *place = link;
        }
    }

    /// Gossip to this address goes out on that link.
    pub(crate) fn set_address(&self, address: SocketAddr, link: Arc<Outbound>) {
        self.write_links().by_address.insert(address, link);
    }

    /// The link to a peer's slot.
    pub(crate) fn to_slot(&self, slot: u8) -> Option<Arc<Outbound>> {
        self.read_links().by_slot.get(usize::from(slot))?.clone()
    }

    /// The link to a live peer.
    pub(crate) fn to_peer(&self, name: &str) -> Option<Arc<Outbound>> {
        let links = self.read_links();
        let mut present = links.by_slot.iter().flatten();
        present.find(|link| *link.peer.name == *name).cloned()
    }

    /// The slot of a peer to which there is a link.
    pub(crate) fn slot_of(&self, name: &str) -> Option<usize> {
        let links = self.read_links();
        let mut slots = links.by_slot.iter();
        slots.position(|link| link.as_ref().is_some_and(|link| *link.peer.name == *name))
    }

    /// The names of the peers of a mask to which there is a link.
    pub(crate) fn names(&self, mask: u64) -> Vec<Arc<str>> {
        let links = self.read_links();
        let slots = links.by_slot.iter().enumerate();
        let named = slots.filter(|(slot, _)| mask & (1 << slot) != 0);
        named
            .filter_map(|(_, link)| Some(link.as_ref()?.peer.name.clone()))
            .collect()
    }

    /// Lets the links to peers end once those have everything; returns them.
    pub(crate) fn close_lanes(&self) -> Vec<Arc<Outbound>> {
        let links = self.read_links();
        let links: Vec<_> = links.by_slot.iter().flatten().cloned().collect();
        for link in &links {
            link.lane.close();
        }
        links
    }

    /// Queues a forward for each peer of a mask.
    pub(crate) fn forward(&self, mask: u64, frame: &Bytes) {
        let links = self.read_links();
        for (slot, link) in links.by_slot.iter().enumerate() {
            let Some(link) = link.as_ref().filter(|_| mask & (1 << slot) != 0) else {
                continue;
            };
            link.frames.fetch_add(1, Ordering::Relaxed);
            let dropped = link.lane.push(frame.clone());
            self.figures.forwarded.fetch_add(1, Ordering::Relaxed);
            self.figures.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Queues a frame about recoverable rooms for a peer, if it is there.
    pub(crate) fn send_history(&self, name: &str, frame: Bytes) {
        if let Some(link) = self.to_peer(name) {
            let dropped = link.history.push(frame);
            self.figures
                .history_dropped
                .fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Sends a gossip message, or drops it; never waits.
    pub(crate) fn gossip(&self, to: SocketAddr, message: Bytes) {
        let link = self.read_links().by_address.get(&to).cloned();
        match link {
            Some(link) if link.gossip.try_send(message).is_ok() => {}
            Some(_) => {
                self.figures.gossip_dropped.fetch_add(1, Ordering::Relaxed);
            }
            None => self.decide(|node, now| node.wanted(to, now)),
        }
    }

    fn read_links(&self) -> std::sync::RwLockReadGuard<'_, Links> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_links(&self) -> std::sync::RwLockWriteGuard<'_, Links> {
        self.links.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A random number, for jitter.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
