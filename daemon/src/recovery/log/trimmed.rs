//! What trimming took, room by room.

use std::collections::{BTreeSet, HashMap};

use super::bytes::{Reader, RowError, Writer};
use super::entry::RoomKey;

/// Up to where a room's entries are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The highest number that was taken from the room.
    pub(super) seq: u64,
    /// When that entry had been appended: the oldest marks give way first.
    pub(super) at_ms: u64,
}

/// The marks of all rooms, bounded.
///
/// A mark concerns its room alone. Were trimming to raise the slot's `from` instead, a client that
/// sat for hours in a quiet room would lose its position whenever another room of the slot moved.
#[derive(Debug, Default)]
pub(super) struct Trimmed {
    marks: HashMap<RoomKey, Mark>,
    by_age: BTreeSet<(u64, RoomKey)>,
}

impl Trimmed {
    /// Raises a room's mark. One that is not higher changes nothing.
    pub(super) fn raise(&mut self, room: &RoomKey, mark: Mark) -> bool {
        let old = self.marks.get(room).copied();
        if old.is_some_and(|old| old.seq >= mark.seq) {
            return false;
        }
        if let Some(old) = old {
            self.by_age.remove(&(old.at_ms, room.clone()));
        }
        self.marks.insert(room.clone(), mark);
        self.by_age.insert((mark.at_ms, room.clone()));
        true
    }

    /// Up to where the room's entries are gone; 0 if none are.
    pub(super) fn seq(&self, room: &RoomKey) -> u64 {
        self.marks.get(room).map_or(0, |mark| mark.seq)
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Takes the oldest mark away; its number must go into the slot's `from`.
    pub(super) fn pop_oldest(&mut self) -> Option<(RoomKey, u64)> {
        let (_, room) = self.by_age.pop_first()?;
        let mark = self.marks.remove(&room)?;
        Some((room, mark.seq))
    }
}

const MARK: u8 = b't';
const FROM: u8 = b'f';

/// A row of state: what a slot must remember beyond its entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Up to where a room is trimmed.
    Mark(RoomKey, Mark),
    /// Above which number a slot is complete.
    From(u8, u64),
}

impl State {
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut row = Reader::new(value)?;
        let seq = row.number()?;
        if let [FROM, slot] = key {
            row.end()?;
            return Ok(Self::From(*slot, seq));
        }
        let at_ms = row.number()?;
        row.end()?;
        let (&MARK, key) = key.split_first().ok_or(RowError::Damaged)? else {
            return Err(RowError::Damaged);
        };
        let mut key = Reader::new(key)?;
        let namespace = key.text()?;
        let room = std::str::from_utf8(key.rest()).map_err(|_| RowError::Damaged)?;
        Ok(Self::Mark(
            RoomKey::new(namespace, room),
            Mark { seq, at_ms },
        ))
    }
}

/// The key of a room's mark.
pub(super) fn mark_key(room: &RoomKey) -> Vec<u8> {
    let mut key = Writer::new(8 + room.namespace().len() + room.room().len());
    key.text(room.namespace());
    key.rest(room.room().as_bytes());
    let mut key = key.finish();
    key.insert(0, MARK);
    key
}

/// The value of a room's mark.
pub(super) fn mark_value(mark: Mark) -> Vec<u8> {
    let mut value = Writer::new(16);
    value.number(mark.seq);
    value.number(mark.at_ms);
    value.finish()
}

/// The row of a slot's `from`.
pub(super) fn from_row(slot: u8, from: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = Writer::new(8);
    value.number(from);
    (vec![FROM, slot], value.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use proptest::{collection, prop_assert_eq};

    #[test]
    fn the_oldest_mark_gives_way() {
        let (a, b) = (RoomKey::new("/", "a"), RoomKey::new("/", "b"));
        let mut trimmed = Trimmed::default();
        assert!(trimmed.raise(&a, Mark { seq: 1, at_ms: 10 }));
        assert!(trimmed.raise(&b, Mark { seq: 2, at_ms: 20 }));
        assert!(trimmed.raise(&a, Mark { seq: 3, at_ms: 30 }));
        assert!(!trimmed.raise(&a, Mark { seq: 3, at_ms: 40 }));
        assert_eq!((trimmed.seq(&a), trimmed.seq(&b), trimmed.len()), (3, 2, 2));
        assert_eq!(trimmed.pop_oldest(), Some((b.clone(), 2)));
        assert_eq!(trimmed.seq(&b), 0);
        assert_eq!(trimmed.pop_oldest(), Some((a, 3)));
        assert_eq!(trimmed.pop_oldest(), None);
    }

    proptest! {
        #[test]
        fn marks_round_trip(ns in "\\PC{0,9}", room in "\\PC{0,9}", seq: u64, at_ms: u64) {
            let (room, mark) = (RoomKey::new(&ns, &room), Mark { seq, at_ms });
            let read = State::decode(&mark_key(&room), &mark_value(mark));
            prop_assert_eq!(read, Ok(State::Mark(room, mark)));
        }

        #[test]
        fn froms_round_trip(slot: u8, from: u64) {
            let (key, value) = from_row(slot, from);
            prop_assert_eq!(State::decode(&key, &value), Ok(State::From(slot, from)));
        }

        #[test]
        fn no_bytes_make_it_panic(
            key in collection::vec(any::<u8>(), 0..20),
            value in collection::vec(any::<u8>(), 0..20),
        ) {
            let _ = State::decode(&key, &value);
            let _ = State::decode(&[b"t\x01", &key[..]].concat(), &[b"\x01", &value[..]].concat());
        }
    }
}
