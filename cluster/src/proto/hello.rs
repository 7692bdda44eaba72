//! What two nodes say to each other first on a link, and why one may turn the other away.

use std::net::SocketAddr;
use std::sync::Arc;

/// The version of what nodes say to each other. Nodes of different versions do not link.
pub const PROTOCOL: u32 = 1;

/// What stands for the version where nobody is to be linked with: whoever says so is turned away, and
/// knows then that it has reached a node.
pub const PROBE: u32 = 0;

/// Who is at the other end of a link. Each end says one before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster's name; that of another cluster is turned away.
    pub cluster: String,
    /// The version of what it speaks: [`PROTOCOL`].
    pub protocol: u32,
    /// The node's name, the same over restarts.
    pub name: Arc<str>,
    /// Which start of the node this is; rises with each.
    pub generation: u64,
    /// Where it can be dialled, which is not where this link comes from.
    pub address: SocketAddr,
}

/// Why a node does not link with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is of another cluster.
    #[error("it belongs to another cluster")]
    Cluster,
    /// It speaks another version.
    #[error("it speaks version {theirs} of the cluster's protocol, not {ours}")]
    Protocol {
        /// The version of the node that refuses.
        ours: u32,
        /// The version of the node that is refused.
        theirs: u32,
    },
    /// The node dialled itself, as happens when its own address is among the seeds.
    #[error("it is this node itself")]
    Myself,
    /// Another node has the name.
    #[error("its name is taken by the node at {address}")]
    NameTaken {
        /// Where the holder of the name is.
        address: SocketAddr,
    },
    /// A later start of the same node at the same address is known.
    #[error("generation {known} of it is known, which is later")]
    Stale {
        /// The later one.
        known: u64,
    },
}

impl Refused {
    /// Whether somebody must change a configuration before this can work.
    pub fn is_conflict(self) -> bool {
        !matches!(self, Self::Myself | Self::Stale { .. })
    }
}
