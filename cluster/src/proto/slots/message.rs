//! What nodes say to each other about one slot. Any of it may be lost, late or repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::log::{Basis, Rest};
use super::{Chain, Eid, Entry, Home, NodeId, Pid, Position, Record, Room};

/// Who held the slot at the last epoch that a quorum knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    /// The epoch.
    pub eid: Eid,
    /// Its owner and its follower.
    pub copies: Vec<NodeId>,
}

/// What a node that was sealed has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The last reign that it knows a quorum to know.
    pub record: Option<Reign>,
    /// Its log's epochs.
    pub chain: Chain,
    /// Where its log ends.
    pub end: u64,
    /// Above what its log is complete.
    pub from: u64,
    /// Whether the newest part may be missing.
    pub suspect: bool,
    /// How many nodes it takes the cluster to have.
    pub size: u64,
}

/// Something about one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// OPEN, step 1: promise to follow no lower epoch.
    Seal {
        /// The epoch that is to be opened.
        eid: Eid,
    },
    /// The promise is stored.
    Sealed {
        /// The epoch that it is for.
        eid: Eid,
        /// What the sealed node has.
        sealed: Sealed,
    },
    /// A higher promise was given.
    Refused {
        /// The epoch that is refused.
        eid: Eid,
        /// What was promised.
        promise: Eid,
    },
    /// Step 3: send what I lack of your log.
    Fetch {
        /// The epoch that is being opened.
        eid: Eid,
        /// The sender's epochs.
        chain: Chain,
        /// Where the sender's log ends.
        end: u64,
        /// Where to go on; from the start if none.
        rest: Option<Rest>,
    },
    /// What was fetched.
    Fetched {
        /// The epoch that it is for.
        eid: Eid,
        /// Where it was to go on.
        asked: Option<Rest>,
        /// A piece of what the asker lacks.
        basis: Basis,
        /// Where the next one begins; none if this is the last.
        rest: Option<Rest>,
    },
    /// Step 3: be the follower of this epoch. Fetch what you lack from me, as the opener does from
    /// the base.
    Follow {
        /// The epoch.
        eid: Eid,
        /// Who may have what the opener has not.
        sources: Vec<NodeId>,
    },
    /// The follower has stored it all.
    Followed {
        /// The epoch.
        eid: Eid,
    },
    /// Step 4: store who holds the slot.
    Install {
        /// The reign.
        reign: Reign,
    },
    /// The reign is stored.
    Installed {
        /// Its epoch.
        eid: Eid,
    },
    /// Entries for the follower.
    Copy {
        /// The owner's epoch.
        eid: Eid,
        /// The number before the first of them.
        prev: u64,
        /// Rising without a gap.
        entries: Vec<Arc<Entry>>,
    },
    /// The follower has stored everything up to a number.
    Copied {
        /// The epoch.
        eid: Eid,
        /// The number.
        seq: u64,
    },
    /// The follower does not follow this epoch any more.
    CopyRefused {
        /// The epoch.
        eid: Eid,
        /// What it has promised.
        promise: Eid,
    },
    /// All epochs that the sender owns and takes the receiver for the follower of.
    Holding {
        /// Slot, epoch.
        slots: Vec<(u8, Eid)>,
    },
    /// Send older entries: I have this branch, completely above `below`.
    Fill {
        /// The sender's epochs.
        chain: Chain,
        /// Where its log ends.
        end: u64,
        /// What it lacks is at or below this.
        below: u64,
    },
    /// All that the sender has in `(low, below]`.
    Filled {
        /// On which branch.
        eid: Eid,
        /// Complete above this.
        low: u64,
        /// And up to this.
        below: u64,
        /// Entries, rising.
        entries: Vec<Arc<Entry>>,
        /// Up to where rooms are trimmed.
        marks: Vec<(Room, u64)>,
    },
    /// Something for the owner to do.
    Ask {
        /// The asker's number for it.
        rid: u64,
        /// What.
        request: Request,
    },
    /// What came of it.
    Told {
        /// The asker's number.
        rid: u64,
        /// The answer.
        answer: Answer,
    },
    /// Feed me these rooms from now on.
    Feed {
        /// The epoch that is asked: a late request must not be taken for one of the next.
        eid: Eid,
        /// The listener's number for this stream; what came on others is void.
        stream: u64,
        /// Rooms that have been fed up to `after`, and new ones.
        rooms: BTreeMap<Room, bool>,
        /// Up to where the listener has everything of the rooms that are not new.
        after: Option<Position>,
    },
    /// The listener wants one more room, or one less.
    FeedChange {
        /// The stream.
        stream: u64,
        /// How many changes there were before on it.
        nth: u64,
        /// The room.
        room: Room,
        /// Whether it is wanted.
        wanted: bool,
    },
    /// The listener does not want anything more on this stream.
    FeedEnd {
        /// The stream.
        stream: u64,
    },
    /// The next of a stream.
    Fed {
        /// The stream.
        stream: u64,
        /// How many came before on it.
        nth: u64,
        /// Rooms whose entries after the listener's position cannot be had any more.
        cut: Vec<Room>,
        /// Committed entries, rising.
        entries: Vec<Arc<Entry>>,
        /// A room that is fed from here on.
        added: Option<Room>,
        /// Everything of the rooms of this stream up to here has been fed.
        position: Position,
        /// There is more, which must be asked for.
        more: bool,
    },
    /// Feed me what comes after the last message that said that there is more.
    FeedMore {
        /// The stream.
        stream: u64,
        /// How many messages have come on it.
        nth: u64,
    },
    /// All streams that the sender feeds to the receiver, and how much was sent on each.
    Feeding {
        /// Slot, stream, how many.
        streams: Vec<(u8, u64, u64)>,
    },
    /// A connection's record has another home now.
    Evict {
        /// The connection's record.
        pid: Pid,
        /// The home that has lost it.
        home: Home,
    },
}

/// Something that only a slot's owner can do. Safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Append an event; at most [`super::MAX_NAME`] and [`super::MAX_EVENT`] bytes.
    Emit {
        /// Its room.
        room: Room,
        /// Its idempotency key.
        id: Bytes,
        /// The event.
        payload: Bytes,
    },
    /// A connection's record is this now.
    Put {
        /// The connection.
        pid: Pid,
        /// The record.
        record: Record,
        /// Where this home took the record over, or wrote it first; none for the first.
        taken: Option<Position>,
        /// Where this home's last put was; none for the first.
        last: Option<Position>,
    },
    /// A client came back at another connection.
    Take {
        /// Under which name.
        pid: Pid,
        /// Where it is now.
        home: Home,
        /// The offset that it presents, and where the record was written last when that was sent.
        offset: Option<(Bytes, Position)>,
    },
    /// The home has lost its client, which may come back.
    Leave {
        /// The connection.
        pid: Pid,
        /// The home.
        home: Home,
    },
    /// The client will not come back.
    Delete {
        /// The connection.
        pid: Pid,
        /// The home.
        home: Home,
    },
    /// Read rooms.
    Read {
        /// Each after a position.
        rooms: Vec<(Room, Position)>,
        /// Positions that must be on this branch as well.
        known: Vec<Position>,
        /// All up to this; the commit if none.
        upto: Option<Position>,
    },
    /// Read one room, for whoever is not a client.
    History {
        /// The room.
        room: Room,
        /// After this; the oldest that is kept if none.
        after: Option<Position>,
        /// So many entries at most, but one if there is any.
        limit: u32,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The entry is committed, here.
    Done {
        /// Where.
        position: Position,
        /// How many nodes hold it.
        copies: u8,
        /// Whether it is on the branch that goes on, or clients will be told.
        kept: bool,
    },
    /// The record is the asker's home's now; committed.
    Taken {
        /// The record.
        record: Record,
        /// Where that is written.
        position: Position,
        /// Whether it is on the branch that goes on. If not, changes that others kept may lack.
        kept: bool,
    },
    /// The record has another home, or is unknown.
    Lost,
    /// What was read.
    Entries {
        /// Rising.
        entries: Vec<Arc<Entry>>,
        /// Up to where was read. If that is less than was asked for, go on from there.
        upto: Position,
    },
    /// A position proves nothing: what followed it is not known. Or an event is too large, or its
    /// room's name too long.
    Invalid,
    /// The asked node does not own the slot, or not any more: outcome unknown.
    NotOwner,
    /// Nobody did it in time: outcome unknown, to be retried with its id.
    Unavailable,
}
