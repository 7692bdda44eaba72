//! A socket's way through recovery as its shard sees it.
//!
//! The shard joins the rooms first and holds deliveries back; then the control plane reads the
//! history or writes the record; then CONNECT is answered and what was held follows. An entry is
//! sent to shards only after it is committed, so what was read before the answer and is delivered
//! again after it has a position that the cursor has passed already, and is skipped.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    cursor::Cursor,
    record::Record,
    slot::{Offset, Position},
};
use crate::{event::Event, protocol::frame::Frame, shard::machine::Reason};

/// How a socket that may come in starts.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Without recovery: its namespace has none, or the client wants none.
    Plain,
    /// With a new record.
    Fresh {
        /// The name under which the client may come back.
        pid: Arc<str>,
        /// The offset it presented, which belongs to an earlier name.
        stale: Option<String>,
    },
    /// From a record that this connection has taken over.
    Returning {
        /// The record as it is kept now.
        record: Box<Record>,
        /// The offset that the client presented.
        offset: Option<String>,
    },
}

/// What the control plane did for a socket's record.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The record is kept; these recoverable rooms start here.
    Kept {
        /// Starts of the rooms that had none.
        starts: Vec<(String, Position)>,
    },
    /// The client gets what it missed.
    Recovered {
        /// What the cursor says before the first of them.
        cursor: Cursor,
        /// Missed events in order.
        entries: Vec<Missed>,
        /// Up to where each slot was read.
        read: Vec<Offset>,
    },
    /// The store does not take the record. A client that was given a `pid` must come again; a new
    /// one can go on without recovery.
    NotKept,
    /// Neither: the transport closes and the client tries again.
    Failed(Reason),
}

/// An event that a client missed.
#[derive(Debug)]
pub(crate) struct Missed {
    /// Where it stands in the history.
    pub(crate) offset: Offset,
    /// The event.
    pub(crate) event: Event,
}

/// What a shard keeps for a socket whose client was given a `pid`.
#[derive(Debug)]
pub(crate) struct Following {
    /// The name under which the client may come back.
    pub(crate) pid: Arc<str>,
    /// Up to where everything has been queued to this socket.
    pub(crate) cursor: Cursor,
    /// Where its recoverable rooms start.
    pub(crate) starts: BTreeMap<String, Position>,
    /// An offset that says nothing about this socket.
    pub(crate) stale: Option<String>,
    /// The version of the last write of the record.
    pub(crate) version: u64,
    /// Frames that wait until the record is kept.
    pub(crate) waiting: Vec<Frame>,
    writing: bool,
    again: bool,
}

impl Following {
    /// A socket with a new record.
    pub(crate) fn fresh(pid: Arc<str>, stale: Option<String>) -> Self {
        Self {
            pid,
            cursor: Cursor::new(),
            starts: BTreeMap::new(),
            stale,
            version: 0,
            waiting: Vec::new(),
            writing: false,
            again: false,
        }
    }

    /// A socket restored from a record. The reading of what it missed counts as a write.
    pub(crate) fn returning(record: &Record) -> Self {
        Self {
            pid: Arc::from(record.pid.as_str()),
            cursor: Cursor::new(),
            starts: record.start.clone(),
            stale: record.stale.clone(),
            version: record.version,
            waiting: Vec::new(),
            writing: true,
            again: false,
        }
    }

    /// Notes an entry as queued; false if it was queued before.
    pub(crate) fn advance(&mut self, offset: Offset) -> bool {
        let Offset { slot, position } = offset;
        if self
            .cursor
            .position(slot)
            .is_some_and(|sent| sent >= position)
        {
            return false;
        }
        self.cursor.advance(slot, position.eid, position.seq);
        true
    }

    /// Whether the cursor is just this offset, so that the frame shared by all can be used.
    pub(crate) fn is_only(&self, offset: Offset) -> bool {
        let mut entries = self.cursor.iter();
        entries.next() == Some((offset.slot, offset.position)) && entries.next().is_none()
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing
    }

    /// The record must be written: true if a write may start now, else it follows the current one.
    pub(crate) fn begin_write(&mut self) -> bool {
        if self.writing {
            self.again = true;
            return false;
        }
        self.writing = true;
        self.version += 1;
        true
    }

    /// A write is done: true if another must follow.
    pub(crate) fn end_write(&mut self) -> bool {
        self.writing = false;
        std::mem::take(&mut self.again)
    }
}
