//! The rooms that this node wants, and how they changed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::{Change, Mark};
use crate::proto::RoomKey;
use crate::proto::room::RoomMap;
use crate::proto::rules::{Rule, Rules};
use crate::proto::wire::{MAX_CHANGES, MAX_ROOMS};

/// How much there may be of what at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Rooms in one frame of a snapshot.
    pub(crate) rooms: usize,
    /// Changes in one delta.
    pub(crate) changes: usize,
    /// Changes that are kept for links that have not been told of them. A link that lags further
    /// behind gets a new snapshot.
    pub(crate) log: usize,
}

impl Sizes {
    /// Frames of some 32 KiB, and 4 MiB of changes.
    pub(crate) const USUAL: Self = Self {
        rooms: MAX_ROOMS,
        changes: MAX_CHANGES,
        log: 1 << 18,
    };
    /// So small that a few rooms reach every limit.
    #[cfg(test)]
    pub(crate) const SMALL: Self = Self {
        rooms: 3,
        changes: 3,
        log: 12,
    };
}

/// This node's rooms.
#[derive(Debug)]
pub(crate) struct Own {
    linger_ms: u64,
    sizes: Sizes,
    rooms: RoomMap<Held>,
    mark: Mark,
    /// The latest changes; the last has the mark's number.
    log: VecDeque<Change>,
    /// Rooms that nobody is in, and when to look at them again. Each is here at most once.
    idle: VecDeque<(u64, RoomKey)>,
    /// All rooms as of a change, as long as some link still sends it.
    snapshot: (u64, Weak<[RoomKey]>),
    rules: Rules,
}

/// A room that is announced.
#[derive(Debug)]
struct Held {
    /// Rooms of this key that have members; 0 while it lingers.
    rooms: u32,
    /// The number of the change that announced it.
    seq: u64,
    /// Until when it stays announced though nobody is in it.
    idle_until_ms: u64,
    /// Whether it is in the queue of idle rooms.
    is_queued: bool,
}

impl Own {
    pub(crate) fn new(linger_ms: u64, sizes: Sizes, rules: Rules) -> Self {
        Self {
            linger_ms,
            sizes,
            rooms: RoomMap::default(),
            mark: Mark::default(),
            log: VecDeque::new(),
            idle: VecDeque::new(),
            snapshot: (0, Weak::<[RoomKey; 0]>::new()),
            rules,
        }
    }

    /// The number of the last change and the digest after it.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// How much there may be at once.
    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// All rooms.
    #[cfg(test)]
    pub(crate) fn rooms(&self) -> std::collections::BTreeSet<RoomKey> {
        self.rooms.keys().copied().collect()
    }

    /// How many rooms are announced.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// A room has members; returns the number of the change that announced it.
    pub(crate) fn join(&mut self, room: RoomKey) -> u64 {
        if let Some(held) = self.rooms.get_mut(&room) {
            held.rooms += 1;
            return held.seq;
        }
        self.record(Change::Join(room));
        let seq = self.mark.seq;
        let held = Held {
            rooms: 1,
            seq,
            idle_until_ms: 0,
            is_queued: false,
        };
        self.rooms.insert(room, held);
        seq
    }

    /// A room has no members any more. It stays announced for the linger, for it may come back.
    pub(crate) fn leave(&mut self, room: RoomKey, now_ms: u64) {
        let Some(held) = self.rooms.get_mut(&room) else {
            return;
        };
        held.rooms = held.rooms.saturating_sub(1);
        if held.rooms > 0 {
            return;
        }
        held.idle_until_ms = now_ms + self.linger_ms;
        if !held.is_queued {
            held.is_queued = true;
            self.idle.push_back((held.idle_until_ms, room));
        }
    }

    /// Announces as gone what has lingered long enough; true if anything has.
    ///
    /// A room that came back and left again meanwhile is queued once more, behind the others: it
    /// may stay for up to twice the linger.
    pub(crate) fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.mark.seq;
        while let Some((due_ms, room)) = self.idle.front().copied()
            && due_ms <= now_ms
        {
            self.idle.pop_front();
            let Some(held) = self.rooms.get_mut(&room) else {
                continue;
            };
            if held.rooms > 0 && self.rules.keep(Rule::CancelLinger) {
                held.is_queued = false;
            } else if held.idle_until_ms > now_ms {
                self.idle.push_back((held.idle_until_ms, room));
            } else {
                self.rooms.remove(&room);
                self.record(Change::Leave(room));
            }
        }
        self.mark.seq != before
    }

    /// When next a room may have lingered long enough.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        Some(self.idle.front()?.0)
    }

    /// Up to so many changes after a number; none if they are not kept any more.
    pub(crate) fn changes_after(&self, seq: u64, most: usize) -> Option<Vec<Change>> {
        let kept_after = self.mark.seq - self.log.len() as u64;
        let skip = usize::try_from(seq.checked_sub(kept_after)?).ok()?;
        Some(self.log.iter().skip(skip).take(most).copied().collect())
    }

    /// All rooms as of the last change. Links that come up together share one copy.
    pub(crate) fn snapshot(&mut self) -> Arc<[RoomKey]> {
        match self.snapshot.1.upgrade() {
            Some(rooms) if self.snapshot.0 == self.mark.seq => rooms,
            _ => {
                let rooms: Arc<[RoomKey]> = self.rooms.keys().copied().collect();
                self.snapshot = (self.mark.seq, Arc::downgrade(&rooms));
                rooms
            }
        }
    }

    /// Drops the changes up to a number: every link has been told.
    pub(crate) fn trim(&mut self, told: u64) {
        let kept = usize::try_from(self.mark.seq.saturating_sub(told)).unwrap_or(usize::MAX);
        self.log.drain(..self.log.len().saturating_sub(kept));
        // What one storm needed is not held for ever.
        if self.log.len() < self.log.capacity() / 8 {
            self.log.shrink_to(self.log.len() * 2);
        }
    }

    fn record(&mut self, change: Change) {
        self.mark = self.mark.after(change);
        if self.log.len() == self.sizes.log {
            self.log.pop_front();
        }
        self.log.push_back(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomKey = RoomKey(7);

    fn own() -> Own {
        Own::new(10, Sizes::SMALL, Rules::default())
    }

    #[test]
    fn rooms_of_one_key_leave_one_by_one() {
        let mut own = own();
        assert_eq!((own.join(ROOM), own.join(ROOM)), (1, 1));
        own.leave(ROOM, 0);
        assert!(!own.expire(100), "the other room is still wanted");
        own.leave(ROOM, 100);
        assert!(own.expire(110));
        assert_eq!(own.mark(), Mark { seq: 2, digest: 0 });
    }

    #[test]
    fn coming_back_within_the_linger_costs_nothing() {
        let mut own = own();
        own.join(ROOM);
        own.leave(ROOM, 0);
        assert!(!own.expire(9));
        assert_eq!(own.join(ROOM), 1);
        assert!(!own.expire(10));
        own.leave(ROOM, 11);
        assert!(!own.expire(20) && own.expire(21));
        assert_eq!(own.join(ROOM), 3);
    }

    #[test]
    fn flapping_does_not_fill_the_queue() {
        let mut own = own();
        for now_ms in 0..1000 {
            own.join(ROOM);
            own.leave(ROOM, now_ms);
            own.expire(now_ms);
        }
        assert_eq!((own.idle.len(), own.mark().seq), (1, 1));
        assert!(own.expire(2000) && own.idle.is_empty());
    }

    #[test]
    fn leaving_what_is_not_held_changes_nothing() {
        let mut own = own();
        own.leave(ROOM, 0);
        own.join(ROOM);
        own.leave(ROOM, 0);
        own.leave(ROOM, 5);
        assert!(own.expire(30));
        assert_eq!((own.len(), own.mark().seq), (0, 2));
    }

    #[test]
    fn changes_are_kept_as_far_as_needed() {
        let mut own = own();
        for room in 0..5 {
            own.join(RoomKey(room));
        }
        own.trim(2);
        assert_eq!(own.changes_after(1, 9), None);
        let changes = own.changes_after(2, 2).unwrap();
        assert_eq!(
            changes,
            [Change::Join(RoomKey(2)), Change::Join(RoomKey(3))]
        );
        assert_eq!(own.changes_after(5, 9), Some(Vec::new()));
        own.trim(5);
        assert_eq!(own.changes_after(5, 9), Some(Vec::new()));
        for room in 5..6 + Sizes::SMALL.log as u64 {
            own.join(RoomKey(room));
        }
        assert_eq!(own.log.len(), Sizes::SMALL.log);
        assert_eq!(own.changes_after(5, 9), None);
    }

    #[test]
    fn links_share_a_snapshot_until_something_changes() {
        let mut own = own();
        own.join(ROOM);
        let first = own.snapshot();
        assert!(Arc::ptr_eq(&first, &own.snapshot()));
        own.join(RoomKey(8));
        assert_eq!((first.len(), own.snapshot().len()), (1, 2));
    }
}
