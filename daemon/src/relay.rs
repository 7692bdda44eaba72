//! The only meeting of the switchboard and the cluster. What a peer sends is applied here and never
//! forwarded again. A node that is alone has a relay without a cluster, which does nothing.
//!
//! | module | what it is |
//! |---|---|
//! | `frame` | PURE: an emit on its way between nodes, as bytes |
//! | `emit` | emits to the peers that have listeners, and from peers |
//! | `calls` | acknowledgements that a peer collects for this node, and this node for a peer |
//! | `latest` | the last values of conflated rooms, asked for when a first member comes |
//! | `question` | what nodes ask each other, and how it is answered |
//! | `sessions` | sessions that were made on another node |
//! | `revoking` | sessions that end, on all nodes |
//! | `request` | PURE: a client's request on its way between nodes, as bytes |
//! | `carry` | clients that reached another node than the one that holds their connection |
//! | `query` | an operator's questions and acts, for the whole cluster |
//! | `watching` | whoever looks by the admin UI, on any node |

mod calls;
mod carry;
mod emit;
mod frame;
mod latest;
mod query;
mod question;
mod request;
mod revoking;
mod sessions;
mod watching;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tidings_cluster::{
    Application, BoxFuture, Carried, Change, Cluster, Peer,
    proto::{Lifecycle, RoomKey},
};
use tokio_util::sync::CancellationToken;

use crate::node::{BootTag, NameTag, Node, boot_tag, name_tag, now_ms};
pub use calls::AskedAll;
use calls::Calls;
pub use carry::CarryFigures;
use carry::Carrying;
pub(crate) use carry::Tunnel;
pub use query::Found;
use request::Request;
pub use sessions::LookError;
use sessions::Sessions;

/// How long a client waits for the peers to know of its rooms. They answer within milliseconds; one
/// that does not is dead or cut off, and gossip finds that out within twice this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the other nodes.
#[derive(Default)]
pub struct Relay {
    /// Set once at start, if the node is one of several.
    cluster: OnceLock<Cluster>,
    /// The node that this belongs to.
    node: OnceLock<Weak<Node>>,
    peers: RwLock<Peers>,
    calls: Calls,
    sessions: Sessions,
    carrying: Carrying,
    /// Conflated rooms whose first members came.
    late: latest::Queue,
    /// Clients that were answered although a peer did not know of their rooms yet.
    unknown: AtomicU64,
}

/// The live peers, by what ids say of them.
#[derive(Default)]
struct Peers {
    by_boot: HashMap<BootTag, Arc<str>>,
    by_name: HashMap<Arc<str>, Known>,
}

/// A live peer.
struct Known {
    generation: u64,
    /// Cancelled when it is one no more: its links say so much later.
    gone: CancellationToken,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

impl Relay {
    /// The node is there.
    pub(crate) fn attach(&self, node: &Arc<Node>) {
        let _ = self.node.set(Arc::downgrade(node));
    }

    /// The node is one of several from here on. To be called before clients come.
    pub(crate) fn join(&self, cluster: Cluster) {
        let _ = self.cluster.set(cluster);
    }

    /// The cluster, if the node is one of several.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get()
    }

    /// Whether emits would not reach all other nodes yet.
    pub(crate) fn is_joining(&self) -> bool {
        let lifecycle = self.cluster().map(Cluster::lifecycle);
        lifecycle == Some(Lifecycle::Joining)
    }

    /// This node's first member came to a room; returns the number to wait for.
    pub(crate) fn joined(&self, namespace: &str, room: &str) -> u64 {
        self.cluster()
            .map_or(0, |cluster| cluster.join(room_key(namespace, room)))
    }

    /// This node's last member left a room.
    pub(crate) fn left(&self, namespace: &str, room: &str) {
        if let Some(cluster) = self.cluster() {
            cluster.leave(room_key(namespace, room));
        }
    }

    /// Whether every ready peer knows of the join of that number.
    pub(crate) fn is_known(&self, announced: u64) -> bool {
        match self.cluster() {
            Some(cluster) => announced <= cluster.floor(),
            None => true,
        }
    }

    /// A client was answered although a peer did not know of its rooms.
    pub(crate) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Clients that were answered although a peer did not know of their rooms.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// The peer that holds the connections of a boot.
    pub(crate) fn holder(&self, boot: BootTag) -> Option<Arc<str>> {
        self.peers().by_boot.get(&boot).cloned()
    }

    /// The live peers that a socket's id may name.
    fn homes(&self, tag: NameTag) -> Vec<Arc<str>> {
        let peers = self.peers();
        let named = peers.by_name.keys().filter(|name| name_tag(name) == tag);
        named.cloned().collect()
    }

    /// Does something for a peer for as long as that is there.
    async fn during<T>(&self, peer: &Peer, work: impl Future<Output = T>) -> Option<T> {
        let gone = {
            let peers = self.peers();
            let known = peers.by_name.get(&peer.name);
            let known = known.filter(|known| known.generation == peer.generation);
            known.map(|known| known.gone.clone())
        };
        let Some(gone) = gone else {
            // Its link came first.
            return Some(work.await);
        };
        gone.run_until_cancelled(work).await
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.get()?.upgrade()
    }

    fn peers(&self) -> std::sync::RwLockReadGuard<'_, Peers> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer_up(&self, peer: Peer) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let tag = boot_tag(&peer.name, peer.generation);
        peers.by_boot.retain(|_, name| *name != peer.name);
        peers.by_boot.insert(tag, peer.name.clone());
        let known = Known {
            generation: peer.generation,
            gone: CancellationToken::new(),
        };
        peers.by_name.insert(peer.name, known);
    }

    fn peer_down(&self, name: &str) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.by_boot.retain(|_, other| **other != *name);
        peers.by_name.remove(name);
    }
}

/// A room as the cluster knows it.
fn room_key(namespace: &str, room: &str) -> RoomKey {
    // A namespace ends at the first NUL.
    RoomKey::of(&crate::recovery::room::key(namespace, room))
}

impl Application for Relay {
    fn deliver<'a>(&'a self, from: &'a Peer, frames: Vec<Bytes>) -> BoxFuture<'a, ()> {
        Box::pin(self.apply(from, frames))
    }

    fn answer<'a>(&'a self, from: &'a Peer, question: Bytes) -> BoxFuture<'a, Bytes> {
        if Request::is_one(&question) {
            let answer = self.during(from, self.answer_request(question));
            return Box::pin(async { answer.await.unwrap_or_default() });
        }
        Box::pin(self.answer_question(question))
    }

    fn carry<'a>(&'a self, from: &'a Peer, head: Bytes, carried: Carried) -> BoxFuture<'a, ()> {
        let tunnel = self.during(from, self.take_in_tunnel(head, carried));
        Box::pin(async { tunnel.await.unwrap_or_default() })
    }

    fn changed(&self, change: Change) {
        match change {
            Change::Up(peer) => {
                let name = peer.name.clone();
                self.peer_up(peer);
                if let Some(node) = self.node() {
                    node.relay.debtor_up(&name);
                }
            }
            Change::Down(name) => {
                self.peer_down(&name);
                self.debtor_down(&name);
                self.sockets_gone();
            }
            Change::Floor(_) => {
                if let Some(node) = self.node() {
                    node.hub.wake_shards();
                }
            }
            Change::Others { key, parts } => {
                if let Some(node) = self.node() {
                    node.limits.hear(&key, &parts, now_ms());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_found_by_what_ids_say_of_them() {
        let relay = Relay::default();
        let boot = |generation| Peer {
            name: "b".into(),
            generation,
        };
        relay.peer_up(boot(1));
        assert_eq!(relay.holder(boot_tag("b", 1)).as_deref(), Some("b"));
        relay.peer_up(boot(2));
        assert_eq!(relay.holder(boot_tag("b", 1)), None);
        assert_eq!(relay.homes(name_tag("b")), ["b".into()]);
        relay.peer_down("b");
        assert_eq!(relay.holder(boot_tag("b", 2)), None);
        assert!(relay.homes(name_tag("b")).is_empty());
    }
}
