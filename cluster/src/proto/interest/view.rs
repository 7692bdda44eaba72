//! Which rooms a peer wants, as far as its inbound link says: exactly, or not at all.

use super::{Change, Mark};
use crate::proto::RoomKey;
use crate::proto::room::RoomSet;
use crate::proto::rules::{Rule, Rules};

/// How long a stream may lag behind gossip without progress, and a snapshot may be awaited.
const STUCK_MS: u64 = 3000;
/// How long at least between two requests for a snapshot.
const ASK_MS: u64 = 1000;
/// The digests of so many changes are kept: what gossip says is older than what the link said.
const HISTORY: usize = 4096;

/// A peer's rooms. Belongs to one inbound link, and goes with it.
#[derive(Debug)]
pub(crate) struct View {
    rooms: RoomSet,
    mark: Mark,
    /// Whether `rooms` is what the peer wanted at `mark`. If not, it is sent everything.
    is_in_step: bool,
    building: Option<Building>,
    history: History,
    /// What the peer gossiped last.
    gossiped: Option<Mark>,
    /// A change that gossip knows and the link has not told, and since when.
    awaited: Option<(u64, u64)>,
    /// When last the link told something new.
    progress_ms: u64,
    /// Whether the peer must be asked for a snapshot.
    must_ask: bool,
    asked_ms: Option<u64>,
    rules: Rules,
}

/// A snapshot of which not all parts are here.
#[derive(Clone, Debug)]
struct Building {
    seq: u64,
    total: u32,
    rooms: RoomSet,
    /// The sum so far, so that the last part is no more work than the others.
    digest: u64,
}

/// Room is made at once for so many rooms at most, whatever a peer claims to send.
const RESERVED: usize = 1 << 20;

/// Digests after the latest changes.
#[derive(Debug, Default)]
struct History {
    /// By the change's number, modulo the length.
    digests: Vec<u64>,
    /// The first change that was recorded.
    first: u64,
}

impl View {
    /// Of a link that has told nothing yet.
    pub(crate) fn new(now_ms: u64, rules: Rules) -> Self {
        Self {
            rooms: RoomSet::default(),
            mark: Mark::default(),
            is_in_step: false,
            building: None,
            history: History::default(),
            gossiped: None,
            awaited: None,
            progress_ms: now_ms,
            must_ask: false,
            asked_ms: None,
            rules,
        }
    }

    /// Whether the rooms are exact; if not, the peer is sent everything.
    pub(crate) fn is_in_step(&self) -> bool {
        self.is_in_step
    }

    /// Whether the peer wants any of these rooms, if the view is in step.
    pub(crate) fn wants(&self, rooms: &[RoomKey]) -> bool {
        rooms.iter().any(|room| self.rooms.contains(room))
    }

    /// All rooms.
    #[cfg(test)]
    pub(crate) fn rooms(&self) -> std::collections::BTreeSet<RoomKey> {
        self.rooms.iter().copied().collect()
    }

    /// How many rooms are known.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// The last change that has been applied.
    pub(crate) fn applied(&self) -> u64 {
        self.mark.seq
    }

    /// What can be acknowledged.
    pub(crate) fn acknowledgeable(&self) -> Option<u64> {
        let heard_of = match self.gossiped {
            Some(gossiped) if !self.rules.keep(Rule::AckAfterApply) => gossiped.seq,
            _ => 0,
        };
        self.is_in_step.then_some(self.mark.seq.max(heard_of))
    }

    /// A part of a snapshot. It takes effect with the last; until then an older view that is in
    /// step stays so, for nothing newer is acknowledged.
    pub(crate) fn snapshot(
        &mut self,
        (seq, total): (u64, u32),
        (first, last): (bool, bool),
        rooms: &[RoomKey],
        now_ms: u64,
    ) {
        self.progress_ms = now_ms;
        if first {
            self.building = Some(Building::new(seq, total));
        }
        let Some(mut building) = self.building.take() else {
            // The rest of one that was given up.
            return;
        };
        building.add(rooms);
        let count = building.rooms.len();
        if building.seq != seq || building.total != total || count > total as usize {
            self.lose();
        } else if !last {
            if !self.rules.keep(Rule::AtomicSnapshot) {
                self.apply(building.clone());
            }
            self.building = Some(building);
        } else if count == total as usize {
            self.apply(building);
            self.compare(now_ms);
        } else {
            self.lose();
        }
    }

    fn apply(&mut self, whole: Building) {
        let Building {
            seq, digest, rooms, ..
        } = whole;
        self.rooms = rooms;
        self.mark = Mark { seq, digest };
        self.history.restart(self.mark);
        self.is_in_step = true;
        self.must_ask = false;
    }

    /// Changes after a number.
    pub(crate) fn delta(&mut self, from: u64, changes: &[Change], now_ms: u64) {
        if self.building.is_some() {
            // The last part of a snapshot is missing.
            return self.lose();
        }
        if !self.is_in_step {
            // A snapshot will follow; what this says is in it.
            return;
        }
        if from != self.mark.seq {
            if self.rules.keep(Rule::OpenOnGap) {
                return self.lose();
            }
            self.mark.seq = from;
        }
        for change in changes {
            let is_change = match change {
                Change::Join(room) => self.rooms.insert(*room),
                Change::Leave(room) => self.rooms.remove(room),
            };
            self.mark = self.mark.after(*change);
            self.history.push(self.mark);
            if !is_change && self.rules.keep(Rule::OpenOnGap) {
                return self.lose();
            }
        }
        self.progress_ms = now_ms;
        self.compare(now_ms);
    }

    /// The peer gossiped its rooms.
    pub(crate) fn gossiped(&mut self, mark: Mark, now_ms: u64) {
        self.gossiped = Some(mark);
        self.compare(now_ms);
    }

    /// Compares the stream with gossip.
    fn compare(&mut self, now_ms: u64) {
        let Some(gossiped) = self.gossiped.filter(|_| self.is_in_step) else {
            return;
        };
        let differs = self
            .history
            .digest(gossiped.seq, self.mark.seq)
            .is_some_and(|digest| digest != gossiped.digest);
        if differs && self.rules.keep(Rule::CompareDigest) {
            return self.lose();
        }
        if self.awaited.is_some_and(|(seq, _)| seq <= self.mark.seq) {
            self.awaited = None;
        }
        if self.awaited.is_none() && gossiped.seq > self.mark.seq {
            self.awaited = Some((gossiped.seq, now_ms));
        }
    }

    /// Looks whether the stream is stuck.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if !self.rules.keep(Rule::NoticeStuck) || now_ms < self.progress_ms + STUCK_MS {
            return;
        }
        if self.is_in_step && self.building.is_none() {
            let is_stuck = |(_, since_ms)| now_ms >= since_ms + STUCK_MS;
            if self.awaited.is_some_and(is_stuck) {
                self.lose();
            }
        } else {
            // A snapshot that is awaited, or of which no further part comes.
            self.lose();
        }
    }

    /// The view is not to be trusted any more: the peer is sent everything, and must send a
    /// snapshot.
    pub(crate) fn lose(&mut self) {
        self.is_in_step = false;
        self.building = None;
        self.awaited = None;
        self.rooms = RoomSet::default();
        self.must_ask = true;
    }

    /// Whether the peer is to be asked for a snapshot now.
    pub(crate) fn asks(&self, now_ms: u64) -> bool {
        let is_due = |asked_ms| now_ms >= asked_ms + ASK_MS;
        self.must_ask && self.rules.keep(Rule::AskAgain) && self.asked_ms.is_none_or(is_due)
    }

    /// The peer has been asked; if nothing comes of it, it will be asked again.
    pub(crate) fn asked(&mut self, now_ms: u64) {
        self.must_ask = false;
        self.asked_ms = Some(now_ms);
        self.progress_ms = now_ms;
    }
}

impl Building {
    fn new(seq: u64, total: u32) -> Self {
        let mut rooms = RoomSet::default();
        rooms.reserve(RESERVED.min(total as usize));
        Self {
            seq,
            total,
            rooms,
            digest: 0,
        }
    }

    fn add(&mut self, rooms: &[RoomKey]) {
        for room in rooms {
            if self.rooms.insert(*room) {
                self.digest = self.digest.wrapping_add(room.mix());
            }
        }
    }
}

impl History {
    fn restart(&mut self, mark: Mark) {
        self.digests.resize(HISTORY, 0);
        self.first = mark.seq;
        self.push(mark);
    }

    fn push(&mut self, mark: Mark) {
        self.digests[(mark.seq % HISTORY as u64) as usize] = mark.digest;
    }

    /// The digest after a change, if it is known.
    fn digest(&self, seq: u64, last: u64) -> Option<u64> {
        let is_known = self.first <= seq && seq <= last && last - seq < HISTORY as u64;
        is_known.then(|| self.digests[(seq % HISTORY as u64) as usize])
    }
}

#[cfg(test)]
mod tests;
