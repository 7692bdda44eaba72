//! What really happened, kept apart from the log.

use std::collections::BTreeMap;

use super::Tight;
use crate::recovery::cursor::Cursor;
use crate::recovery::log::{Entry, Log, MAX_EPOCHS, RoomKey};
use crate::recovery::record::Record;
use crate::recovery::slot::{self, Position};

/// An entry that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) seq: u64,
    pub(super) id: String,
    at_ms: u64,
    except: Vec<String>,
}

impl Fact {
    fn of(entry: &Entry) -> Self {
        Self {
            seq: entry.position.seq,
            id: entry.id.to_string(),
            at_ms: entry.at_ms,
            except: entry.except.clone(),
        }
    }
}

pub(super) struct Truth {
    tight: Tight,
    /// Counts the cuts.
    pub(super) branch: u64,
    /// What was committed on this branch, by room.
    rooms: BTreeMap<String, Vec<Fact>>,
    /// The highest number committed, by slot.
    ends: BTreeMap<u8, u64>,
}

impl Truth {
    pub(super) fn new(tight: Tight) -> Self {
        Self {
            tight,
            branch: 0,
            rooms: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn facts(&self, room: &str) -> &[Fact] {
        self.rooms.get(room).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, room: &str, seq: u64, id: &str) -> bool {
        self.facts(room)
            .iter()
            .any(|fact| fact.seq == seq && fact.id == id)
    }

    /// The entry that a member with this id gets next after a number.
    pub(super) fn next(&self, room: &str, after: u64, sid: &str) -> Option<&Fact> {
        let mut facts = self.facts(room).iter();
        facts.find(|fact| fact.seq > after && !fact.except.iter().any(|name| name == sid))
    }

    pub(super) fn committed(&mut self, entry: &Entry, now_ms: u64) {
        let known_ms = self.tight.limits().known_ms;
        let facts = self.rooms.entry(entry.room.room().to_owned()).or_default();
        let same = facts.iter().rfind(|fact| *fact.id == *entry.id);
        assert!(
            same.is_none_or(|fact| now_ms - fact.at_ms > known_ms),
            "one entry per id: {entry:?}"
        );
        let end = self.ends.entry(entry.room.slot()).or_default();
        assert!(entry.position.seq > *end, "numbers rise: {entry:?}");
        *end = entry.position.seq;
        facts.push(Fact::of(entry));
    }

    pub(super) fn cut(&mut self) {
        self.branch += 1;
        self.rooms.clear();
    }

    /// What a restart finds must be the end of what was, but for trimming, and may be followed by
    /// what was stored and not fed. `whole` is the log as it is without tight bounds.
    pub(super) fn restarted(&mut self, log: &Log, whole: &Log, rooms: &[&str], now_ms: u64) {
        let ends = self.ends.clone();
        for room in rooms {
            let key = RoomKey::new("/", room);
            let end = ends.get(&key.slot()).copied().unwrap_or(0);
            for entry in whole.read(&key, end) {
                self.rooms
                    .entry((*room).to_owned())
                    .or_default()
                    .push(Fact::of(entry));
                let end = self.ends.entry(key.slot()).or_default();
                *end = entry.position.seq.max(*end);
            }
            let found: Vec<Fact> = log.read(&key, 0).map(|entry| Fact::of(entry)).collect();
            let facts = self.facts(room);
            let (gone, kept) = facts.split_at(facts.len().saturating_sub(found.len()));
            assert_eq!(kept, found, "what was kept is readable in {room}");
            let may_go = |fact: &Fact| self.may_be_trimmed(room, fact, now_ms);
            assert!(
                gone.iter().all(may_go),
                "kept entries are lost in {room}: {gone:?}"
            );
        }
    }

    fn may_be_trimmed(&self, room: &str, fact: &Fact, now_ms: u64) -> bool {
        let limits = self.tight.limits();
        let later = self
            .facts(room)
            .iter()
            .filter(|other| other.seq > fact.seq)
            .count();
        now_ms - fact.at_ms > limits.keep_ms
            || later >= limits.entries_per_room
            || self.tight == Tight::Memory
    }

    /// Whether the socket must be recovered, as all that it missed on this branch is still there.
    /// Written from the rules anew, not with the code that they are tested on.
    pub(super) fn must_recover(
        &self,
        record: &Record,
        offset: Option<&str>,
        head: Position,
        now_ms: u64,
    ) -> bool {
        let cursor = match offset {
            Some(offset) if record.stale.as_deref() == Some(offset) => Cursor::new(),
            Some(offset) => match Cursor::decode(offset) {
                Ok(cursor) => cursor,
                Err(_) => return false,
            },
            None => Cursor::new(),
        };
        record.start.iter().all(|(room, start)| {
            let sent = cursor.position(slot::slot(room)).unwrap_or_default();
            let from = if sent > *start { sent } else { *start };
            let missed = self.facts(room).iter().filter(|fact| fact.seq > from.seq);
            let is_remembered = head.eid.counter - from.eid.counter < MAX_EPOCHS as u64;
            self.tight != Tight::Marks
                && is_remembered
                && missed
                    .into_iter()
                    .all(|fact| !self.may_be_trimmed(room, fact, now_ms))
        })
    }
}
