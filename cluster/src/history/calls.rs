//! What the program can ask for. A call that is dropped leaves nothing behind.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::input::{Input, Reply};
use super::recover::refusal;
use super::rooms::Listening;
use super::{ASKED, Counts, Done, Failing, History, Refused, Roster, SlotStatus};
use crate::proto::slots::{
    Answer, Entry, Home, MAX_EVENT, MAX_NAME, NodeId, Pid, Position, Record, Request, Room, SlotNo,
};

/// What an ask counts besides its bytes.
const ASK: usize = 1024;
/// What a room costs in a record.
const ROOM: usize = 128;
/// How an emit is answered: once, or not at all if the node stops.
pub type Submitted = oneshot::Receiver<Result<Done, Refused>>;

/// A room that is to be listened to.
#[derive(Debug)]
#[must_use = "dropped, the room is not listened to"]
pub struct Joining(oneshot::Receiver<Result<Listening, Refused>>);

impl Joining {
    /// Waits until the room is fed.
    pub async fn answered(self) -> Result<Listening, Refused> {
        self.0.await.map_err(|_| Refused::Closed)?
    }
}

/// A change of a record that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it is written.
    pub position: Position,
    /// Whether that is on the branch that goes on.
    pub kept: bool,
}

/// A record that has a new home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The record.
    pub record: Record,
    /// Where it is written.
    pub position: Position,
    /// Whether that is on the branch that goes on. If not, changes that others kept may lack.
    pub kept: bool,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Rising.
    pub entries: Vec<std::sync::Arc<Entry>>,
    /// Up to where was read.
    pub upto: Position,
}

impl History {
    /// The slot of a room.
    pub fn slot_of(&self, room: &Room) -> SlotNo {
        (self.slot_of)(room)
    }

    /// Appends an event to its room's log, wherever that is. Waits only while too much is under way
    /// at this node; what is submitted one after the other is appended in that order. The answer
    /// comes within some three seconds.
    pub async fn submit(&self, room: Room, id: Bytes, payload: Bytes) -> Submitted {
        let (answer, answered) = oneshot::channel();
        let bytes = room.len() + id.len() + payload.len();
        let refused = match () {
            () if room.len() > MAX_NAME || bytes > MAX_EVENT => Some(Refused::TooLong),
            () if self.is_failing().is_some() => Some(Refused::Unavailable),
            () => None,
        };
        if let Some(refused) = refused {
            super::figures::add(&self.shared.figures.refused, 1);
            let _ = answer.send(Err(refused));
            return answered;
        }
        self.shared.undelivered.wait().await;
        let Ok(permit) = self.permit(bytes).await else {
            return answered;
        };
        let slot = self.slot_of(&room);
        // If nobody takes it, the answer ends with it.
        let _ = self.send(Input::Ask {
            slot,
            request: Box::new(Request::Emit { room, id, payload }),
            answer: Reply::Done(answer),
            permit,
        });
        answered
    }

    /// Listens to a room, wherever its owner is.
    pub async fn join(&self, room: Room) -> Result<Listening, Refused> {
        self.listen(room).answered().await
    }

    /// The same, but asked for at once: of what is submitted at this node from here on, nothing is
    /// missed if this node owns the room. As many may be under way as there are sockets that join.
    pub fn listen(&self, room: Room) -> Joining {
        let slot = self.slot_of(&room);
        let (answer, answered) = oneshot::channel();
        // If nobody takes it, the answer ends with it.
        let _ = self.send(Input::Join { slot, room, answer });
        Joining(answered)
    }

    /// Says what a connection's record is now. `taken` is where this home took it over, or wrote it
    /// first; `last` is where its last put was; none for the first.
    pub async fn put(
        &self,
        slot: SlotNo,
        pid: Pid,
        record: Record,
        (taken, last): (Option<Position>, Option<Position>),
    ) -> Result<Written, Refused> {
        let put = Request::Put {
            pid,
            record,
            taken,
            last,
        };
        written(self.ask(slot, put).await?)
    }

    /// A client came back at another connection, with an offset and where its record was written
    /// last when that was sent.
    pub async fn take(
        &self,
        slot: SlotNo,
        pid: Pid,
        home: Home,
        offset: Option<(Bytes, Position)>,
    ) -> Result<Taken, Refused> {
        match self.ask(slot, Request::Take { pid, home, offset }).await? {
            Answer::Taken {
                record,
                position,
                kept,
            } => Ok(Taken {
                record,
                position,
                kept,
            }),
            other => Err(refusal(&other)),
        }
    }

    /// The home has lost its client, which may come back.
    pub async fn leave(&self, slot: SlotNo, pid: Pid, home: Home) -> Result<Written, Refused> {
        written(self.ask(slot, Request::Leave { pid, home }).await?)
    }

    /// The client will not come back.
    pub async fn delete(&self, slot: SlotNo, pid: Pid, home: Home) -> Result<Written, Refused> {
        written(self.ask(slot, Request::Delete { pid, home }).await?)
    }

    /// Reads a room, after a position or from the oldest entry that is kept: at most so many
    /// entries, and no more than nodes send in one piece. The next read goes on from where this one
    /// ends; it is over when one has no entries.
    pub async fn history(
        &self,
        room: Room,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Read, Refused> {
        let slot = self.slot_of(&room);
        let request = Request::History { room, after, limit };
        match self.ask(slot, request).await? {
            Answer::Entries { entries, upto } => Ok(Read { entries, upto }),
            other => Err(refusal(&other)),
        }
    }

    /// Reads rooms of one slot, each after a position, up to what is committed; no more than nodes
    /// send in one piece.
    pub async fn read(&self, slot: SlotNo, rooms: Vec<(Room, Position)>) -> Result<Read, Refused> {
        let (known, upto) = (Vec::new(), None);
        match self.ask(slot, Request::Read { rooms, known, upto }).await? {
            Answer::Entries { entries, upto } => Ok(Read { entries, upto }),
            other => Err(refusal(&other)),
        }
    }

    /// Whether the disk does not take what it is given, since when and why. Meanwhile nothing is
    /// appended that comes from this node.
    pub fn is_failing(&self) -> Option<Failing> {
        self.shared.health.failing()
    }

    /// A node will not come back: it is not counted any more and never heard again, by any node that
    /// hears of it. What only it had is lost. A node cannot forget itself.
    pub async fn forget(&self, node: NodeId) -> Result<(), Refused> {
        let (done, forgotten) = oneshot::channel();
        self.send(Input::Forget { node, done })?;
        match forgotten.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Invalid),
            Err(_) => Err(Refused::Closed),
        }
    }

    /// Whether the others have forgotten this node: it is to start anew, without its data.
    pub fn is_forgotten(&self) -> bool {
        self.shared.is_forgotten.load(Relaxed)
    }

    /// Lets others own this node's slots, for good; until they do, it goes on owning them. Returns
    /// when it owns none, when nobody is there to own them, or after so long: with how many it
    /// still owns.
    pub async fn hand_over(&self, patience: Duration) -> usize {
        let (done, left) = oneshot::channel();
        if self.send(Input::HandOver { patience, done }).is_err() {
            return 0;
        }
        left.await.unwrap_or(0)
    }

    /// What is known here of each slot; nothing once the node stops.
    pub async fn status(&self) -> Vec<SlotStatus> {
        let (answer, answered) = oneshot::channel();
        if self.send(Input::Status(answer)).is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Which nodes are counted; nothing once this node stops.
    pub async fn roster(&self) -> Roster {
        let (answer, answered) = oneshot::channel();
        if self.send(Input::Roster(answer)).is_err() {
            return Roster::default();
        }
        answered.await.unwrap_or_default()
    }

    /// Figures since the start.
    pub fn counts(&self) -> Counts {
        let undelivered = self.shared.undelivered.bytes();
        self.shared.figures.counts(undelivered)
    }

    /// Waits until it is stored that the newest part of what was found may be missing, if so.
    pub async fn marked(&self) {
        let mut marked = self.shared.marked.subscribe();
        let _ = marked.wait_for(|marked| *marked).await;
    }

    /// Stores what is to be stored, and ends. What was not answered then will not be.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Input::Close(done)).is_ok() {
            let _ = closed.await;
        }
    }

    pub(super) async fn ask(&self, slot: SlotNo, request: Request) -> Result<Answer, Refused> {
        let permit = self.permit(weight(&request)).await?;
        let (answer, answered) = oneshot::channel();
        self.send(Input::Ask {
            slot,
            request: Box::new(request),
            answer: Reply::Answer(answer),
            permit,
        })?;
        answered.await.map_err(|_| Refused::Closed)
    }

    async fn permit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let bytes = (ASK + bytes).min(ASKED) as u32;
        let permit = self.shared.asked.clone().acquire_many_owned(bytes).await;
        permit.map_err(|_| Refused::Closed)
    }

    pub(super) fn send(&self, input: Input) -> Result<(), Refused> {
        self.inputs.send(input).map_err(|_| Refused::Closed)
    }
}

fn written(answer: Answer) -> Result<Written, Refused> {
    match answer {
        Answer::Done { position, kept, .. } => Ok(Written { position, kept }),
        other => Err(refusal(&other)),
    }
}

fn weight(request: &Request) -> usize {
    match request {
        Request::Emit { payload, .. } => payload.len(),
        Request::Put { record, .. } => record.data.len() + ROOM * record.rooms.len(),
        Request::Read { rooms, .. } => ROOM * rooms.len(),
        Request::History { room, .. } => room.len(),
        _ => 0,
    }
}
