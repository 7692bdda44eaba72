//! What is told to the program, in order.
//!
//! The driver never waits for whoever takes it. Entries are bounded in bytes: the rooms of what
//! does not fit are cut, and a slow taker pulls them. All else is told at most once per room, slot
//! or record at a time, so it may wait here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::proto::slots::{Body, Eid, Entry, Home, Pid, Room, SlotNo};

/// Messages that may be on their way.
const MESSAGES: usize = 64 << 10;
/// Bytes of entries that may be on their way.
const BYTES: usize = 64 << 20;
/// Beyond this, whoever emits at this node waits.
const MUCH: usize = BYTES / 2;
/// What an entry costs besides its payload.
const ENTRY: usize = 128;

/// Something for the sockets of this node. Told in order.
#[derive(Debug)]
pub enum Told {
    /// Committed entries of rooms that are listened to. A socket takes those of its rooms that are
    /// after where its room began.
    Deliver {
        /// Of which slot.
        slot: SlotNo,
        /// Rising.
        entries: Vec<Arc<Entry>>,
        /// Counts them as not delivered until it is dropped.
        weight: Weight,
    },
    /// What follows in a room cannot be proved to be all: the transports of its sockets are to be
    /// closed. Those who still listen must [join](super::History::join) again.
    Cut {
        /// Of which slot.
        slot: SlotNo,
        /// The room.
        room: Room,
    },
    /// A connection's record has another home: its socket is to be closed.
    Evicted {
        /// The record.
        pid: Pid,
        /// The home that lost it.
        home: Home,
    },
    /// Another epoch is open: homes put their records of this slot again.
    Epoch {
        /// Of which slot.
        slot: SlotNo,
        /// Which.
        eid: Eid,
    },
    /// Places in a slot will soon be too old to be proved: homes put the records again that have
    /// rooms of this slot, wherever the records are. In time; no client waits for it.
    Renew {
        /// Which.
        slot: SlotNo,
    },
}

/// What is told at most once at a time.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Once {
    Cut(SlotNo, Room),
    Evicted(Pid, Home),
    Epoch(SlotNo),
    Renew(SlotNo),
}

impl Told {
    /// A later one makes an earlier one needless; none for entries.
    fn once(&self) -> Option<Once> {
        match self {
            Self::Cut { slot, room } => Some(Once::Cut(*slot, room.clone())),
            Self::Evicted { pid, home } => Some(Once::Evicted(pid.clone(), *home)),
            Self::Epoch { slot, .. } => Some(Once::Epoch(*slot)),
            Self::Renew { slot } => Some(Once::Renew(*slot)),
            Self::Deliver { .. } => None,
        }
    }
}

/// Bytes that are not delivered yet.
#[derive(Debug, Default)]
pub(super) struct Undelivered {
    bytes: AtomicUsize,
    fell: Notify,
}

impl Undelivered {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits while there is much. Cancel-safe.
    pub(super) async fn wait(&self) {
        while self.bytes() > MUCH {
            let fell = self.fell.notified();
            if self.bytes() > MUCH {
                fell.await;
            }
        }
    }
}

/// The share of some entries in what is not delivered.
#[derive(Debug)]
pub struct Weight {
    bytes: usize,
    of: Arc<Undelivered>,
}

impl Weight {
    fn new(bytes: usize, of: &Arc<Undelivered>) -> Self {
        of.bytes.fetch_add(bytes, Ordering::Relaxed);
        let of = of.clone();
        Self { bytes, of }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        let before = self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if before > MUCH && before - self.bytes <= MUCH {
            self.of.fell.notify_waiters();
        }
    }
}

/// The driver's end.
pub(super) struct Teller {
    to: mpsc::Sender<Told>,
    undelivered: Arc<Undelivered>,
    /// What did not fit, by when it came. Nothing else is told before it.
    late: BTreeMap<u64, Told>,
    nth: u64,
    nth_of: HashMap<Once, u64>,
}

impl Teller {
    pub(super) fn new(undelivered: Arc<Undelivered>) -> (Self, mpsc::Receiver<Told>) {
        let (to, told) = mpsc::channel(MESSAGES);
        let teller = Self {
            to,
            undelivered,
            late: BTreeMap::new(),
            nth: 0,
            nth_of: HashMap::new(),
        };
        (teller, told)
    }

    /// Hands on entries, or gives back those that do not fit.
    pub(super) fn deliver(
        &mut self,
        slot: SlotNo,
        entries: Vec<Arc<Entry>>,
    ) -> Result<(), Vec<Arc<Entry>>> {
        let bytes: usize = entries.iter().map(|entry| ENTRY + size(entry)).sum();
        self.catch_up();
        // One that is too long by itself still goes, alone.
        let waiting = self.undelivered.bytes();
        if !self.late.is_empty() || (waiting > 0 && waiting + bytes > BYTES) {
            return Err(entries);
        }
        let Ok(place) = self.to.try_reserve() else {
            return Err(entries);
        };
        let weight = Weight::new(bytes, &self.undelivered);
        place.send(Told::Deliver {
            slot,
            entries,
            weight,
        });
        Ok(())
    }

    /// Tells anything else, now or later.
    pub(super) fn tell(&mut self, told: Told) {
        self.catch_up();
        if !self.late.is_empty() {
            self.tell_later(told);
        } else if let Err(mpsc::error::TrySendError::Full(told)) = self.to.try_send(told) {
            self.tell_later(told);
        }
    }

    fn tell_later(&mut self, told: Told) {
        self.nth += 1;
        if let Some(once) = told.once()
            && let Some(earlier) = self.nth_of.insert(once, self.nth)
        {
            self.late.remove(&earlier);
        }
        self.late.insert(self.nth, told);
    }

    /// Tells what can be told of what did not fit.
    pub(super) fn catch_up(&mut self) {
        while !self.late.is_empty() {
            let Ok(place) = self.to.try_reserve() else {
                return;
            };
            if let Some((_, told)) = self.late.pop_first() {
                if let Some(once) = told.once() {
                    self.nth_of.remove(&once);
                }
                place.send(told);
            }
        }
    }
}

fn size(entry: &Entry) -> usize {
    match &entry.body {
        Body::Event { payload, .. } => payload.as_ref().map_or(0, bytes::Bytes::len),
        Body::Record { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::slots::Position;

    fn entry(bytes: usize) -> Arc<Entry> {
        let body = Body::Event {
            room: Bytes::from_static(b"r"),
            id: Bytes::new(),
            payload: Some(Bytes::from(vec![0; bytes])),
        };
        Arc::new(Entry {
            position: Position::default(),
            at_ms: 0,
            body,
        })
    }

    #[tokio::test]
    async fn entries_are_bounded_in_bytes_until_they_are_delivered() {
        let undelivered = Arc::new(Undelivered::default());
        let (mut teller, mut told) = Teller::new(undelivered.clone());
        assert!(teller.deliver(0, vec![entry(BYTES - ENTRY)]).is_ok());
        assert!(teller.deliver(0, vec![entry(1)]).is_err());
        let waiting = tokio::spawn({
            let undelivered = undelivered.clone();
            async move { undelivered.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(told.recv().await.unwrap());
        waiting.await.unwrap();
        assert_eq!(undelivered.bytes(), 0);
        assert!(teller.deliver(0, vec![entry(1)]).is_ok());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_in_order_and_once() {
        let (mut teller, mut told) = Teller::new(Arc::default());
        let cut = |room: &'static str| Told::Cut {
            slot: 1,
            room: Bytes::from_static(room.as_bytes()),
        };
        (0..MESSAGES).for_each(|_| teller.tell(cut("a")));
        for room in ["b", "c", "b"] {
            teller.tell(cut(room));
        }
        assert!(teller.deliver(0, vec![entry(1)]).is_err());
        (0..MESSAGES).for_each(|_| drop(told.try_recv().unwrap()));
        teller.catch_up();
        let rest: Vec<Told> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        let rooms = rest.iter().map(|told| match told {
            Told::Cut { room, .. } => room.clone(),
            _ => Bytes::new(),
        });
        assert_eq!(rooms.collect::<Vec<_>>(), ["c", "b"]);
    }
}
