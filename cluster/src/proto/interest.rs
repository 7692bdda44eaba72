//! Which node wants what is emitted to which room.

pub(crate) mod feed;
pub(crate) mod own;
pub(crate) mod view;

use super::RoomKey;

/// One change of the rooms that a node wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It wants a room.
    Join(RoomKey),
    /// It does not any more.
    Leave(RoomKey),
}

/// The rooms that a node wants, in two numbers, which it gossips: a check that does not depend on
/// the stream of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The number of the last change.
    pub seq: u64,
    /// A sum over the rooms after it.
    pub digest: u64,
}

impl Change {
    /// The room.
    pub fn room(self) -> RoomKey {
        match self {
            Self::Join(room) | Self::Leave(room) => room,
        }
    }

    /// Whether the room is wanted from now on.
    pub fn is_join(self) -> bool {
        matches!(self, Self::Join(_))
    }
}

impl Mark {
    /// What it is one change later.
    pub(crate) fn after(self, change: Change) -> Self {
        let mix = change.room().mix();
        Self {
            seq: self.seq + 1,
            digest: match change {
                Change::Join(_) => self.digest.wrapping_add(mix),
                Change::Leave(_) => self.digest.wrapping_sub(mix),
            },
        }
    }
}
