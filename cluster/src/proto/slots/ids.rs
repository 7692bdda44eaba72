//! Names of nodes, epochs and places in a slot's log.

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
/// The derived order (epoch, then number) is the order of the log: along one branch both rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The epoch that `seq` is counted in; a number alone could mean another branch.
    pub eid: Eid,
    /// Number within the slot, over all of its rooms.
    pub seq: u64,
}

/// The present, as the edge sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// This process's own monotonic milliseconds: for patience.
    pub ms: u64,
    /// Unix milliseconds, which may be set: for age.
    pub wall_ms: u64,
}
