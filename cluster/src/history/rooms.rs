//! Which rooms are listened to at this node, and by how many.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::Refused;
use super::input::Input;
use crate::proto::slots::{Position, Room, SlotNo};

/// How long a room that nobody listens to any more is fed: clients come back.
const LINGER_MS: u64 = 2000;
/// How long a join waits for an owner.
const PATIENCE_MS: u64 = 3000;

/// A room that is fed to this node. When the last that listens to it is dropped, the feed ends
/// after a moment.
pub struct Listening {
    slot: SlotNo,
    room: Room,
    at: Position,
    of: Arc<AtomicBool>,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Listening {
    /// The room's slot.
    pub fn slot(&self) -> SlotNo {
        self.slot
    }

    /// The room.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Nothing up to here will come any more, all after will.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Whether the feed was cut: nothing comes for this any more.
    pub fn is_cut(&self) -> bool {
        self.of.load(Ordering::Acquire)
    }

    /// Which feed of the room it is.
    pub(super) fn feed(&self) -> Feed {
        Feed(self.of.clone())
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Listening");
        debug.field("slot", &self.slot).field("at", &self.at);
        debug.finish_non_exhaustive()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (slot, room, feed) = (self.slot, self.room.clone(), self.feed());
        // Nobody is there once the driver has ended.
        let _ = self.inputs.send(Input::Left { slot, room, feed });
    }
}

/// One feed of a room, from a first join to the end or a cut.
#[derive(Clone, Debug)]
pub(super) struct Feed(Arc<AtomicBool>);

impl Feed {
    fn is(&self, other: &Arc<AtomicBool>) -> bool {
        Arc::ptr_eq(&self.0, other)
    }
}

/// How a join is answered.
pub(super) type Joined = oneshot::Sender<Result<Listening, Refused>>;

struct Fed {
    of: Arc<AtomicBool>,
    listening: usize,
    /// Until when it is fed though nobody listens.
    until_ms: u64,
}

struct Waiting {
    guard: Listening,
    answer: Joined,
    until_ms: u64,
}

/// All rooms that this node is fed, or has asked for.
pub(super) struct Rooms {
    inputs: mpsc::WeakUnboundedSender<Input>,
    fed: HashMap<(SlotNo, Room), Fed>,
    waiting: HashMap<u64, Waiting>,
    /// Rooms without listeners, by when they are left.
    lingering: VecDeque<(u64, SlotNo, Room)>,
}

impl Rooms {
    pub(super) fn new(inputs: mpsc::WeakUnboundedSender<Input>) -> Self {
        Self {
            inputs,
            fed: HashMap::new(),
            waiting: HashMap::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Somebody wants to listen; false if nobody is there to be answered.
    pub(super) fn join(
        &mut self,
        rid: u64,
        (slot, room): (SlotNo, Room),
        answer: Joined,
        now_ms: u64,
    ) -> bool {
        let Some(inputs) = self.inputs.upgrade() else {
            return false;
        };
        let fed = self.fed.entry((slot, room.clone())).or_insert_with(|| Fed {
            of: Arc::default(),
            listening: 0,
            until_ms: 0,
        });
        fed.listening += 1;
        let guard = Listening {
            slot,
            room,
            at: Position::default(),
            of: fed.of.clone(),
            inputs,
        };
        let until_ms = now_ms + PATIENCE_MS;
        let waiting = Waiting {
            guard,
            answer,
            until_ms,
        };
        self.waiting.insert(rid, waiting);
        true
    }

    /// The room is fed from here on. Whoever does not wait any more drops its guard.
    pub(super) fn joined(&mut self, rid: u64, at: Position) {
        if let Some(mut waiting) = self.waiting.remove(&rid) {
            waiting.guard.at = at;
            let _ = waiting.answer.send(Ok(waiting.guard));
        }
    }

    /// A guard was dropped.
    pub(super) fn left(&mut self, slot: SlotNo, room: Room, feed: &Feed, now_ms: u64) {
        let key = (slot, room);
        let Some(fed) = self.fed.get_mut(&key).filter(|fed| feed.is(&fed.of)) else {
            return;
        };
        fed.listening -= 1;
        if fed.listening == 0 {
            fed.until_ms = now_ms + LINGER_MS;
            self.lingering.push_back((fed.until_ms, slot, key.1));
        }
    }

    /// Whether it is still this feed that the room has.
    pub(super) fn has(&self, slot: SlotNo, room: &Room, feed: &Feed) -> bool {
        let fed = self.fed.get(&(slot, room.clone()));
        fed.is_some_and(|fed| feed.is(&fed.of))
    }

    /// A room's feed has ended; true if there was one.
    pub(super) fn cut(&mut self, slot: SlotNo, room: &Room) -> bool {
        let Some(fed) = self.fed.remove(&(slot, room.clone())) else {
            return false;
        };
        fed.of.store(true, Ordering::Release);
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|(_, it)| Arc::ptr_eq(&it.guard.of, &fed.of));
        for rid in waiting.map(|(rid, _)| *rid).collect::<Vec<_>>() {
            self.refuse(rid);
        }
        true
    }

    fn refuse(&mut self, rid: u64) {
        if let Some(waiting) = self.waiting.remove(&rid) {
            let _ = waiting.answer.send(Err(Refused::Unavailable));
        }
    }

    /// Turns away who has waited for too long; returns the rooms that are to be left.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<(SlotNo, Room)> {
        let waiting = self.waiting.iter();
        let late = waiting.filter(|(_, it)| now_ms >= it.until_ms || it.answer.is_closed());
        for rid in late.map(|(rid, _)| *rid).collect::<Vec<_>>() {
            self.refuse(rid);
        }
        let mut over = Vec::new();
        while self.lingering.front().is_some_and(|it| it.0 <= now_ms)
            && let Some((_, slot, room)) = self.lingering.pop_front()
        {
            let key = (slot, room);
            let is_over = |fed: &Fed| fed.listening == 0 && fed.until_ms <= now_ms;
            if self.fed.get(&key).is_some_and(is_over) {
                self.fed.remove(&key);
                over.push(key);
            }
        }
        over
    }
}
