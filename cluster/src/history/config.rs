//! How recoverable rooms are set up on a node.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::slots::{Limits, LimitsOf, NodeId, Room, SlotNo, StoredSlot, slot_of};

/// Which slot a room belongs to.
pub type SlotOf = Arc<dyn Fn(&Room) -> SlotNo + Send + Sync>;

/// What a node must know to keep recoverable rooms.
#[derive(Clone)]
pub struct HistoryConfig {
    /// This node's id: random, kept with the data. A wiped store is a new id.
    pub node: NodeId,
    /// This start of the node: its unix time in milliseconds, or more if that is not above every
    /// earlier one's with this id.
    pub boot: u64,
    /// The configured size of the cluster; at least 1.
    pub size: u64,
    /// How long a client can come back.
    pub window: Duration,
    /// How much of a slot is kept.
    pub limits: Limits,
    /// How much of each room.
    pub limits_of: LimitsOf,
    /// What is stored of each slot.
    pub stored: Vec<StoredSlot>,
    /// The roster as it is stored: ids that were ever ready, less those that were forgotten.
    pub roster: BTreeSet<NodeId>,
    /// Ids that are not to be heard again, as they are stored.
    pub forgotten: BTreeSet<NodeId>,
    /// The newest part of what is stored may be missing: another boot of the machine without a
    /// clean stop, or a restored backup. That must be remembered until
    /// [`History::marked`](super::History::marked).
    pub unclean: bool,
    /// Makes epochs' names and pauses differ between nodes.
    pub seed: u64,
    /// Which slot a room belongs to; the same on every node, for ever. See [`slot_by_name`].
    pub slot_of: SlotOf,
}

/// The slot of a room whose bytes are its name, in UTF-8, behind a NUL if anything precedes it.
pub fn slot_by_name() -> SlotOf {
    Arc::new(|room| {
        let name = room.rsplit(|byte| *byte == 0).next().unwrap_or_default();
        slot_of(&String::from_utf8_lossy(name))
    })
}

impl fmt::Debug for HistoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HistoryConfig");
        debug.field("node", &self.node).field("boot", &self.boot);
        debug
            .field("size", &self.size)
            .field("window", &self.window);
        debug
            .field("unclean", &self.unclean)
            .finish_non_exhaustive()
    }
}
