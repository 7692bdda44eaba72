//! What the edge is to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Answer, Eid, Entry, Home, Message, NodeId, Pid, Position, Reign, Room, SlotNo, Write};

/// Names something that the disk was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Done in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to a node; it may get lost.
    Send {
        /// To whom.
        to: NodeId,
        /// About which slot.
        slot: SlotNo,
        /// What.
        message: Message,
    },
    /// Store these changes of a slot's log as one piece, after all before. With a token they must
    /// be
    /// flushed, with all that came before of any slot, and then told to
    /// [`super::Slots::persisted`].
    Store {
        /// Of which slot.
        slot: SlotNo,
        /// What changes.
        writes: Vec<Write>,
        /// Whether and how to answer.
        token: Option<Token>,
    },
    /// Write a slot's promise and record through to the disk, so that a power cut cannot undo it,
    /// and then tell [`super::Slots::persisted`].
    Sync {
        /// Of which slot.
        slot: SlotNo,
        /// The highest epoch promised.
        promise: Eid,
        /// Who held it.
        record: Option<Reign>,
        /// How to answer.
        token: Token,
    },
    /// Write the roster through to the disk.
    Roster {
        /// Ids that were ever ready, less those that left or were forgotten.
        roster: BTreeSet<NodeId>,
        /// Ids that are not to be heard again.
        forgotten: BTreeSet<NodeId>,
    },
    /// This node is opening a slot: for metrics.
    Opening {
        /// Which.
        slot: SlotNo,
        /// In which epoch.
        eid: Eid,
    },
    /// It came to nothing, and will be tried again: for metrics.
    Aborted {
        /// Which.
        slot: SlotNo,
    },
    /// This node owns a slot: gossip it.
    Opened {
        /// Which.
        slot: SlotNo,
        /// In which epoch.
        eid: Eid,
        /// Who holds it.
        copies: Vec<NodeId>,
        /// Whether a quorum knows.
        kept: bool,
        /// Whether nothing from before is known.
        cut: bool,
    },
    /// This node owns a slot no more: gossip that.
    Closed {
        /// Which.
        slot: SlotNo,
        /// Its epoch.
        eid: Eid,
    },
    /// Another epoch is known to be open: homes put their records of this slot again.
    Epoch {
        /// Of which slot.
        slot: SlotNo,
        /// Which.
        eid: Eid,
    },
    /// A slot has had so many epochs that places in it will soon be too old to be proved: homes put
    /// the records again that have rooms of this slot, wherever the records are. In time; no client
    /// waits for it.
    Renew {
        /// Which.
        slot: SlotNo,
    },
    /// The log of an owned slot can be read up to here: for metrics.
    Committed {
        /// Which slot.
        slot: SlotNo,
        /// Up to where.
        position: Position,
        /// Whether that is kept.
        kept: bool,
    },
    /// The answer to what was asked here.
    Answer {
        /// Which.
        rid: u64,
        /// The answer.
        answer: Answer,
    },
    /// A room is fed to this node from here on.
    Joined {
        /// Of which slot.
        slot: SlotNo,
        /// Which join.
        rid: u64,
        /// Nothing up to here will come any more, all after will.
        at: Position,
    },
    /// Entries for local sockets in the rooms.
    Deliver {
        /// Of which slot.
        slot: SlotNo,
        /// Rising.
        entries: Vec<Arc<Entry>>,
    },
    /// What follows in a room cannot be proved to be all: close the transports of its sockets.
    Cut {
        /// Of which slot.
        slot: SlotNo,
        /// The room.
        room: Room,
    },
    /// A connection's record has another home: close the socket.
    Evicted {
        /// The record.
        pid: Pid,
        /// The home that lost it.
        home: Home,
    },
}
