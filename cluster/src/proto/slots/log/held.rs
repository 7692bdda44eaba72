//! What of each room can be read, and how long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::super::{Body, Entry, Room};
use super::Log;

/// How much is kept of a room for clients that come back. The oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes of their payloads; the newest stays, however large.
    pub bytes: u64,
    /// How long an entry can be read, milliseconds: the window, and as much more as it can take to
    /// notice that a client is gone.
    pub keep_ms: u64,
}

impl RoomLimits {
    /// All is kept.
    pub const NONE: Self = Self {
        entries: usize::MAX,
        bytes: u64::MAX,
        keep_ms: u64::MAX,
    };
}

/// Says what is kept of each room. It must say the same of a room each time.
#[derive(Clone)]
pub struct LimitsOf(Arc<dyn Fn(&Room) -> RoomLimits + Send + Sync>);

impl LimitsOf {
    /// By a function, which is called each time that a room gets its first entry.
    pub fn new(of: impl Fn(&Room) -> RoomLimits + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }
}

impl From<RoomLimits> for LimitsOf {
    /// The same of all rooms.
    fn from(limits: RoomLimits) -> Self {
        Self::new(move |_| limits)
    }
}

impl Default for LimitsOf {
    fn default() -> Self {
        RoomLimits::NONE.into()
    }
}

impl fmt::Debug for LimitsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitsOf(..)")
    }
}

/// What can be read of a room.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Rising.
    pub(super) seqs: VecDeque<u64>,
    bytes: u64,
    limits: RoomLimits,
}

impl Held {
    fn is_full(&self) -> bool {
        self.seqs.len() > self.limits.entries || self.bytes > self.limits.bytes
    }

    /// Up to where too much is held.
    pub(super) fn excess(&self, log: &Log) -> Option<u64> {
        let (mut count, mut bytes) = (self.seqs.len(), self.bytes);
        let mut excess = None;
        for seq in self.seqs.iter().take(self.seqs.len().saturating_sub(1)) {
            if count <= self.limits.entries && bytes <= self.limits.bytes {
                break;
            }
            count -= 1;
            bytes -= log.entries.get(seq).map_or(0, |entry| payload(entry));
            excess = Some(*seq);
        }
        excess
    }
}

/// Entries by how long they are kept, and from the oldest.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages(BTreeMap<u64, BTreeSet<u64>>);

impl Ages {
    fn add(&mut self, span_ms: u64, seq: u64) {
        self.0.entry(span_ms).or_default().insert(seq);
    }

    fn remove(&mut self, span_ms: u64, seq: u64) {
        if let Some(seqs) = self.0.get_mut(&span_ms) {
            seqs.remove(&seq);
            if seqs.is_empty() {
                self.0.remove(&span_ms);
            }
        }
    }

    /// The oldest of each span.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (u64, u64)> {
        let spans = self.0.iter();
        spans.filter_map(|(span_ms, seqs)| Some((*span_ms, *seqs.first()?)))
    }
}

fn payload(entry: &Entry) -> u64 {
    match &entry.body {
        Body::Event { payload, .. } => payload.as_ref().map_or(0, |it| it.len() as u64),
        Body::Record { .. } => 0,
    }
}

impl Log {
    /// Makes an entry known, and readable if it is whole.
    pub(super) fn index(&mut self, entry: Arc<Entry>) {
        let seq = entry.position.seq;
        let is_last = self
            .entries
            .last_key_value()
            .is_none_or(|(last, _)| *last < seq);
        if !is_last && self.entries.contains_key(&seq) {
            self.unindex(seq);
        }
        let mut span_ms = self.known_ms;
        if let Body::Event {
            room,
            id,
            payload: it,
        } = &entry.body
        {
            let known = self.ids.entry((room.clone(), id.clone())).or_insert(seq);
            *known = seq.max(*known);
            if it.is_some() {
                let held = self.rooms.entry(room.clone()).or_insert_with(|| Held {
                    seqs: VecDeque::new(),
                    bytes: 0,
                    limits: (self.limits_of.0)(room),
                });
                span_ms = held.limits.keep_ms;
                held.bytes += payload(&entry);
                self.whole += 1;
                self.bytes += payload(&entry);
                if held.seqs.back().is_none_or(|last| *last < seq) {
                    held.seqs.push_back(seq);
                } else {
                    let at = held.seqs.partition_point(|other| *other < seq);
                    held.seqs.insert(at, seq);
                }
                if held.is_full() {
                    self.full.insert(room.clone());
                }
            }
        }
        self.ages.add(span_ms, seq);
        self.entries.insert(seq, entry);
    }

    /// Takes an entry out of all indexes.
    pub(super) fn unindex(&mut self, seq: u64) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&seq)?;
        let mut span_ms = self.known_ms;
        if let Body::Event {
            room,
            id,
            payload: it,
        } = &entry.body
        {
            let key = (room.clone(), id.clone());
            if self.ids.get(&key) == Some(&seq) {
                self.ids.remove(&key);
            }
            if it.is_some()
                && let Some(held) = self.rooms.get_mut(room)
            {
                span_ms = held.limits.keep_ms;
                held.bytes -= payload(&entry);
                self.whole -= 1;
                self.bytes -= payload(&entry);
                let at = held.seqs.partition_point(|other| *other < seq);
                held.seqs.remove(at);
                if held.seqs.is_empty() {
                    self.rooms.remove(room);
                }
            }
        }
        self.ages.remove(span_ms, seq);
        Some(entry)
    }

    /// Entries that can be read, and the bytes of their payloads.
    pub(in super::super) fn held(&self) -> (usize, u64) {
        (self.whole, self.bytes)
    }
}
