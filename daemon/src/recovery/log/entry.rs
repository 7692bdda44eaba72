//! One recoverable event of one room, in memory and as a row.

use std::sync::Arc;

use bytes::Bytes;

use super::bytes::{Reader, RowError, Writer};
use crate::recovery::slot::{self, Offset, Position};

/// A room of a namespace, with its slot worked out once. Cloning costs a reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey {
    /// Namespace and room in one text, so that a key is one allocation.
    text: Arc<str>,
    /// Where in `text` the room begins.
    split: usize,
    /// The slot of the room.
    slot: u8,
}

impl RoomKey {
    /// Names a room. The namespace has no part in the slot.
    pub fn new(namespace: &str, room: &str) -> Self {
        let text = [namespace, room].concat().into();
        Self {
            text,
            split: namespace.len(),
            slot: slot::slot(room),
        }
    }

    /// The namespace that the room is in.
    pub fn namespace(&self) -> &str {
        &self.text[..self.split]
    }

    /// The room's name.
    pub fn room(&self) -> &str {
        &self.text[self.split..]
    }

    /// The slot of the room.
    pub fn slot(&self) -> u8 {
        self.slot
    }
}

/// One event as it is kept, replayed and fed. Shared, as a hot room's entries have many readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The place in the slot of `room`.
    pub position: Position,
    /// The room that it was emitted to.
    pub room: RoomKey,
    /// The emit's idempotency key.
    pub id: Arc<str>,
    /// When it was appended, unix milliseconds, for trimming by age.
    pub at_ms: u64,
    /// When it was appended among the entries of all slots: unix microseconds, made to rise. Puts
    /// a replay of several slots into the order of the emits.
    pub turn: u64,
    /// Rooms and socket ids whose sockets do not get it.
    pub except: Vec<String>,
    /// The event as the hub stores it; the log does not look inside.
    pub payload: Bytes,
}

impl Entry {
    /// What the emitter is given, and what the event's cursor says of this slot.
    pub fn offset(&self) -> Offset {
        Offset {
            slot: self.room.slot(),
            position: self.position,
        }
    }

    /// The memory that keeping it takes, with its places in the indexes.
    pub(super) fn cost(&self) -> usize {
        const INDEXES: usize = 256;
        let except: usize = self
            .except
            .iter()
            .map(|name| name.len() + size_of::<String>())
            .sum();
        INDEXES + self.room.text.len() + self.id.len() + except + self.payload.len()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = self.encode_head(WHOLE);
        row.number(self.except.len() as u64);
        for name in &self.except {
            row.text(name);
        }
        row.rest(&self.payload);
        row.finish()
    }

    /// The row without what only a replay needs: it keeps the id known.
    pub(super) fn encode_stub(&self) -> Vec<u8> {
        self.encode_head(STUB).finish()
    }

    fn encode_head(&self, kind: u8) -> Writer {
        let mut row = Writer::new(self.cost());
        row.byte(kind);
        row.eid(self.position.eid);
        row.number(self.at_ms);
        row.number(self.turn);
        row.text(self.room.namespace());
        row.text(self.room.room());
        row.text(&self.id);
        row
    }
}

pub(super) fn cost(room: &RoomKey, id: &str, except: &[String], payload: &[u8]) -> usize {
    const INDEXES: usize = 256;
    let except: usize = except
        .iter()
        .map(|name| name.len() + size_of::<String>())
        .sum();
    INDEXES + room.text.len() + id.len() + except + payload.len()
}

const WHOLE: u8 = 0;
const STUB: u8 = 1;

/// What a row holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// An entry that can be replayed.
    Whole(Entry),
    /// One that was trimmed by size; of use for its id alone.
    Stub(Entry),
}

impl Row {
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Whole(entry) | Self::Stub(entry) => entry,
        }
    }

    pub(super) fn decode(slot: u8, seq: u64, row: &[u8]) -> Result<Self, RowError> {
        let mut row = Reader::new(row)?;
        let kind = row.byte()?;
        let position = Position {
            eid: row.eid()?,
            seq,
        };
        let at_ms = row.number()?;
        let turn = row.number()?;
        let room = RoomKey::new(row.text()?, row.text()?);
        let id = row.text()?.into();
        let mut entry = Entry {
            position,
            room,
            id,
            at_ms,
            turn,
            except: Vec::new(),
            payload: Bytes::new(),
        };
        if entry.room.slot() != slot {
            return Err(RowError::Damaged);
        }
        if kind == STUB {
            row.end()?;
            return Ok(Self::Stub(entry));
        }
        for _ in 0..row.number()? {
            entry.except.push(row.text()?.to_owned());
        }
        entry.payload = Bytes::copy_from_slice(row.rest());
        Ok(Self::Whole(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::slot::Eid;
    use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
    use proptest::{collection, prop_assert_eq};

    fn entries() -> impl Strategy<Value = Entry> {
        let texts = (
            "\\PC{0,8}",
            "\\PC{0,8}",
            "\\PC{0,8}",
            collection::vec("\\PC{0,8}", 0..3),
        );
        let bytes = collection::vec(any::<u8>(), 0..20);
        (texts, any::<[u64; 5]>(), bytes).prop_map(|(texts, numbers, bytes)| Entry {
            position: Position {
                eid: Eid {
                    counter: numbers[0],
                    random: numbers[1],
                },
                seq: numbers[2],
            },
            room: RoomKey::new(&texts.0, &texts.1),
            id: texts.2.into(),
            at_ms: numbers[3],
            turn: numbers[4],
            except: texts.3,
            payload: bytes.into(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn rows_round_trip(entry in entries()) {
            let (slot, seq) = (entry.room.slot(), entry.position.seq);
            let stub = Row::decode(slot, seq, &entry.encode_stub());
            let bare = Entry { except: Vec::new(), payload: Bytes::new(), ..entry.clone() };
            prop_assert_eq!(stub, Ok(Row::Stub(bare)));
            prop_assert_eq!(Row::decode(slot, seq, &entry.encode()), Ok(Row::Whole(entry)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in collection::vec(any::<u8>(), 0..80), slot: u8) {
            let mut row = vec![super::super::bytes::VERSION, 0];
            row.extend_from_slice(&bytes);
            let _ = Row::decode(slot, 1, &row);
            let _ = Row::decode(slot, 1, &bytes);
        }

        #[test]
        fn a_cut_row_is_refused(entry in entries(), cut in 0..60_usize) {
            let row = entry.encode_stub();
            let cut = &row[..cut.min(row.len() - 1)];
            prop_assert_eq!(Row::decode(entry.room.slot(), 1, cut), Err(RowError::Damaged));
        }
    }

    #[test]
    fn namespace_and_room_do_not_run_into_each_other() {
        assert_ne!(RoomKey::new("/a", "b"), RoomKey::new("/", "ab"));
        let key = RoomKey::new("/a", "user:u1");
        assert_eq!(
            (key.namespace(), key.room(), key.slot()),
            ("/a", "user:u1", slot::slot("u1"))
        );
    }

    #[test]
    fn a_row_under_another_slot_is_refused() {
        let entry = Entry {
            position: Position::default(),
            room: RoomKey::new("/", "lobby"),
            id: "1".into(),
            at_ms: 0,
            turn: 0,
            except: Vec::new(),
            payload: Bytes::new(),
        };
        let other = entry.room.slot() ^ 1;
        assert_eq!(
            Row::decode(other, 1, &entry.encode()),
            Err(RowError::Damaged)
        );
    }
}
