//! Names of nodes, epochs and places in a slot's log.

use std::cmp::Ordering;

/// A node's name in the rules of recovery: random, stored with the data; a wiped store is a new
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Nothing that is counted gets there. A higher number is damage, and must not make sums overflow.
pub(super) const MAX_SEQ: u64 = 1 << 62;

/// An epoch's name: one reign over a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eid {
    /// Above every counter that its opener had seen.
    pub counter: u64,
    /// Tells apart two epochs that were opened without knowledge of each other.
    pub random: u64,
}

/// A place in the log of one slot: everything up to and including `seq` is behind it.
///
/// `eid` says on which branch `seq` is counted: that of this epoch. Mostly it is the epoch that
/// wrote `seq`, or began there; where a place must outlive that it is a later one.
///
/// Ordered by number, which is the order of the log along one branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// A number alone could mean another branch.
    pub eid: Eid,
    /// Number within the slot, over all of its rooms.
    pub seq: u64,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seq, self.eid).cmp(&(other.seq, other.eid))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The present, as the edge sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// This process's own monotonic milliseconds: for patience.
    pub ms: u64,
    /// Unix milliseconds, which may be set: for age.
    pub wall_ms: u64,
}
