//! What the driver is told, by this node's program and by peers.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::figures::{Roster, SlotStatus};
use super::rooms::{Feed, Joined};
use super::{Done, Refused};
use crate::net::history::Heard;
use crate::proto::slots::{Answer, NodeId, Position, Request, Room, SlotNo};

/// Something for the driver. What weighs something comes with a permit, which bounds the queue.
pub(super) enum Input {
    /// Something for a slot's owner to do.
    Ask {
        slot: SlotNo,
        request: Box<Request>,
        answer: Reply,
        permit: OwnedSemaphorePermit,
    },
    /// Somebody wants to listen to a room.
    Join {
        slot: SlotNo,
        room: Room,
        answer: Joined,
    },
    /// Somebody does not any more. There are as many as were joined.
    Left {
        slot: SlotNo,
        room: Room,
        feed: Feed,
    },
    /// Up to where has a room been delivered? None if it is not this feed's any more.
    Fed {
        slot: SlotNo,
        room: Room,
        feed: Feed,
        answer: oneshot::Sender<Option<Position>>,
    },
    /// A peer said something.
    Heard(Heard),
    /// A node will not come back.
    Forget {
        node: NodeId,
        done: oneshot::Sender<bool>,
    },
    /// Let others own this node's slots.
    HandOver {
        patience: Duration,
        done: oneshot::Sender<usize>,
    },
    /// What is known of each slot.
    Status(oneshot::Sender<Vec<SlotStatus>>),
    /// Which nodes are counted.
    Roster(oneshot::Sender<Roster>),
    /// Store what is to be stored, and end.
    Close(oneshot::Sender<()>),
}

/// Who waits for an answer.
pub(super) enum Reply {
    /// An emitter.
    Done(oneshot::Sender<Result<Done, Refused>>),
    /// Anybody else.
    Answer(oneshot::Sender<Answer>),
}
