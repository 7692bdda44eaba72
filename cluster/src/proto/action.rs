//! What the edge is to do, or to tell the rest of the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Lifecycle, Mark, Part, Refused};

/// A connection to or from a peer; unique in the process. The edge gives them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Done in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial: the answer is `link_out_up`, `dial_refused` or `dial_failed`, within ten seconds.
    Dial {
        /// Where.
        address: SocketAddr,
        /// Who should be there, as far as known; a seed may be anybody.
        name: Option<Arc<str>>,
    },
    /// Close a link, of either direction. It is forgotten here: nothing more need be said of it,
    /// and what comes from it is refused.
    Hangup(LinkId),
    /// `next_frame` has something for this outbound link. Comes once; again only after
    /// `next_frame` has answered `None`.
    Wake(LinkId),
    /// A peer is there. Its state follows at once, its link when there is one.
    PeerUp {
        /// Its bit in the answers of `route`.
        slot: u8,
        /// Its name.
        name: Arc<str>,
        /// Which start of it.
        generation: u64,
        /// Where it can be dialled.
        address: SocketAddr,
    },
    /// A peer is gone, or this start of it; its slot is free.
    PeerDown {
        /// The slot that it had.
        slot: u8,
        /// Its name.
        name: Arc<str>,
    },
    /// A peer's lifecycle, after it came up and whenever it changes.
    PeerState {
        /// The peer's slot.
        slot: u8,
        /// What it is in.
        lifecycle: Lifecycle,
    },
    /// Forwards to the peer can go over this outbound link.
    Linked {
        /// The peer's slot.
        slot: u8,
        /// The link.
        link: LinkId,
    },
    /// They cannot any more.
    Unlinked {
        /// The peer's slot.
        slot: u8,
    },
    /// This node's own lifecycle, to be gossiped.
    Lifecycle(Lifecycle),
    /// This node's own interest, to be gossiped.
    Mark(Mark),
    /// [`Node::floor`](super::Node::floor) is this now: joins up to it can be acknowledged. It
    /// falls only from `u64::MAX`, when a first peer appears, and then covers all joins so far.
    Floor(u64),
    /// What all other nodes contribute to a key that this node contributes to.
    Others {
        /// The key.
        key: Bytes,
        /// All that the others have, in place of what was said before.
        parts: Vec<Part>,
    },
    /// A node turned this one away, and a configuration must change. Told again only when another
    /// thing is said, or after it was not said for a while. A node whose name is taken stays
    /// joining.
    Conflict {
        /// Who said so; for a name, that may be its holder, as gossip has it.
        address: SocketAddr,
        /// What it said.
        refused: Refused,
    },
}
