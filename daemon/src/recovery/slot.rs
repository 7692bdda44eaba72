//! How a place in the log of a slot is named.

pub use tidings_cluster::proto::slots::{Eid, Position, SlotNo, slot_of};

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

/// The slot of a tag. A user's records are in that of the user's id, which is that of
/// `portfolio:{id}` and `trades:{id}`, too: one owner to ask.
pub fn slot_of_tag(tag: &str) -> SlotNo {
    slot_of(&format!(":{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_user_share_the_slot_of_the_user_rooms() {
        assert_eq!(slot_of_tag("u1"), slot_of("trades:u1"));
        assert_eq!(slot_of_tag("a:b"), slot_of("user:a:b"));
    }
}
