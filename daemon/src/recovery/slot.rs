//! How a place in the log of a slot is named.

pub use tidings_cluster::proto::slots::{Eid, Position, SlotNo, slot_of, slot_of_tag};

/// How many hash classes rooms fall into; a slot number is one byte.
pub const SLOTS: usize = 256;

/// Where one entry is: what the emitter of a recoverable event is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset {
    /// The slot of the entry's room.
    pub slot: SlotNo,
    /// The entry's place in that slot.
    pub position: Position,
}
