//! What a slot's log holds, and the records of connections that its entries make up.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{MAX_EPOCHS, NodeId, Position};

/// A slot's number.
pub type SlotNo = u8;
/// A room's name, with whatever else tells it apart: opaque here.
pub type Room = Bytes;
/// The secret name under which a connection's client may come back.
pub type Pid = Bytes;

/// After so many epochs of a slot records that name places in it are written again. Few in tests, so
/// that it happens.
pub(super) const RENEW: u64 = if cfg!(test) { 3 } else { MAX_EPOCHS as u64 / 4 };

/// The longest name of a room, with whatever else tells it apart: it is part of a key in the store.
pub const MAX_NAME: usize = 2048;

/// The most that an event may have, its id included: it is a row in the store.
pub const MAX_EVENT: usize = 8 << 20;

/// One entry of a slot's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, which nothing else ever has.
    pub position: Position,
    /// When the owner took it, unix milliseconds: for trimming by age.
    pub at_ms: u64,
    /// What it says.
    pub body: Body,
}

impl Entry {
    /// Whether it only keeps an id known.
    pub fn is_stub(&self) -> bool {
        matches!(&self.body, Body::Event { payload: None, .. })
    }

    /// Whether it is an event of a room.
    pub fn is_of(&self, room: &Room) -> bool {
        matches!(&self.body, Body::Event { room: of, .. } if of == room)
    }

    /// The bytes that it takes in a message.
    pub fn size(&self) -> usize {
        POSITION + NUMBER + self.body.size()
    }
}

/// Bytes of a number, of a position, and of the length of a text.
const NUMBER: usize = 8;
const POSITION: usize = 3 * NUMBER;
const LENGTH: usize = 4;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event of a room.
    Event {
        /// The room.
        room: Room,
        /// The emit's idempotency key.
        id: Bytes,
        /// The event; none once the entry has been trimmed and only keeps its id known.
        payload: Option<Bytes>,
    },
    /// A connection's record is this now, or is gone.
    Record {
        /// The connection.
        pid: Pid,
        /// Its record.
        record: Option<Record>,
    },
}

impl Body {
    fn size(&self) -> usize {
        let flags = 2;
        flags
            + match self {
                Self::Event { room, id, payload } => {
                    let payload = payload.as_ref().map_or(0, |it| LENGTH + it.len());
                    2 * LENGTH + room.len() + id.len() + payload
                }
                Self::Record { pid, record } => {
                    LENGTH + pid.len() + record.as_ref().map_or(0, Record::size)
                }
            }
    }
}

/// A connection of some boot of a node; unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home {
    /// The node.
    pub node: NodeId,
    /// Which start of the node.
    pub boot: u64,
    /// The connection, in that boot.
    pub connection: u64,
}

/// What must be known of a connection to restore it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The connection that holds it now.
    pub home: Home,
    /// Rises with each change that a home makes, and when another takes it over.
    pub change: u64,
    /// The recoverable rooms that it is in, and up to where each log was when it joined.
    pub rooms: BTreeMap<Room, (SlotNo, Position)>,
    /// An offset of an earlier pid, which says nothing about this connection.
    pub stale: Option<Bytes>,
    /// Since when no connection holds it, unix milliseconds.
    pub gone_ms: Option<u64>,
    /// User, session, other rooms: opaque here.
    pub data: Bytes,
}

impl Record {
    /// The bytes that it takes in a message.
    pub fn size(&self) -> usize {
        let rooms = self.rooms.keys().map(|it| LENGTH + it.len() + 1 + POSITION);
        let stale = self.stale.as_ref().map_or(1, |it| 1 + LENGTH + it.len());
        let gone = self.gone_ms.map_or(1, |_| 1 + NUMBER);
        let home = 3 * NUMBER;
        home + NUMBER + LENGTH + rooms.sum::<usize>() + stale + gone + LENGTH + self.data.len()
    }

    /// Whether places in it are named by much later epochs than in an older one.
    pub(super) fn renews(&self, older: &Self) -> bool {
        self.rooms.iter().any(|(room, (_, place))| {
            let was = older.rooms.get(room);
            let far = |was: u64| place.eid.counter.abs_diff(was) >= RENEW;
            was.is_some_and(|(_, was)| far(was.eid.counter))
        })
    }

    /// A home takes it over.
    pub(super) fn take(&mut self, home: Home) -> Home {
        // It goes on from there: what an earlier home asked for may come again, and be late.
        self.change += 1;
        self.gone_ms = None;
        std::mem::replace(&mut self.home, home)
    }
}

/// A record and the number of the entry that made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record.
    pub record: Record,
    /// The entry's number.
    pub seq: u64,
}
