//! PURE: what must be known of a connection to give it back its rooms and what it missed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, CursorError};
use super::log::Invalid;
use super::slot::{self, Position};

/// A socket in one namespace, as it must be restored. Stored under its `pid`, before the answer to
/// CONNECT and before the acknowledgement of each subscribe and unsubscribe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The secret name under which the client may come back.
    pub pid: String,
    /// The socket's public id, which a recovered socket keeps.
    pub sid: String,
    /// Whose socket it is; checked again when it comes back.
    pub user: String,
    /// The login it came with; checked again when it comes back.
    pub session: String,
    /// The namespace that it is a socket of.
    pub namespace: String,
    /// All rooms it is in: a recovery restores exactly these.
    pub rooms: Vec<String>,
    /// For each recoverable room, up to where the log was when it joined: nothing before is owed.
    pub start: BTreeMap<String, Position>,
    /// The connection that holds the socket now, unique over nodes and boots.
    pub home: u64,
    /// Rises with each write; a home that has lost the socket cannot write over its successor.
    pub version: u64,
    /// An offset of an earlier pid. The client keeps it until its first event under the new one, so
    /// it says nothing about this socket.
    pub stale: Option<String>,
    /// What the application attached to the socket.
    pub data: serde_json::Value,
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version, or empty.
    #[error("the record has an unknown format, this version knows {VERSION}")]
    Version,
    /// Not what this version writes.
    #[error("the record is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// Why a socket cannot be recovered: it gets a new pid and `recovered` is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecoverable {
    /// The offset is not one of ours.
    #[error(transparent)]
    Offset(#[from] CursorError),
    /// What followed the position is not known any more.
    #[error(transparent)]
    Position(#[from] Invalid),
}

const VERSION: u8 = 1;

impl Record {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // A record has text keys and no custom serializer, and a vector takes every write.
        serde_json::to_writer(&mut bytes, self).expect("a record is always valid JSON");
        bytes
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes.split_first() {
            Some((&VERSION, json)) => Ok(serde_json::from_slice(json)?),
            _ => Err(RecordError::Version),
        }
    }
}

/// Up to where the client has everything, for each recoverable room of the record.
///
/// The later of the room's start and the cursor's position in the room's slot, in the order of the
/// log. The order needs no log: along a branch epochs rise, and of two positions that one socket was
/// given, the one with the lower epoch was given first. So the start also bounds what a client can
/// ask for: a made-up offset cannot read what came before the room was joined.
pub fn positions<'r>(
    record: &'r Record,
    presented: Option<&str>,
) -> Result<Vec<(&'r str, Position)>, NotRecoverable> {
    let cursor = match presented {
        Some(offset) if record.stale.as_deref() != Some(offset) => Cursor::decode(offset)?,
        _ => Cursor::new(),
    };
    let later = |(room, start): (&'r String, &Position)| {
        let sent = cursor.position(slot::slot(room));
        (room.as_str(), sent.map_or(*start, |sent| sent.max(*start)))
    };
    Ok(record.start.iter().map(later).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::slot::Eid;
    use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
    use proptest::{collection, option, prop_assert_eq};

    fn at(counter: u64, seq: u64) -> Position {
        Position {
            eid: Eid { counter, random: 5 },
            seq,
        }
    }

    fn record() -> Record {
        Record {
            pid: "p".into(),
            sid: "s".into(),
            user: "u1".into(),
            session: "x".into(),
            namespace: "/".into(),
            rooms: vec!["user:u1".into(), "trades:u1".into(), "lobby".into()],
            start: BTreeMap::from([("trades:u1".into(), at(2, 10)), ("lobby".into(), at(2, 3))]),
            home: 1,
            version: 1,
            stale: None,
            data: serde_json::Value::Null,
        }
    }

    fn cursor(room: &str, position: Position) -> String {
        Cursor::single(slot::slot(room), position.eid, position.seq).encode()
    }

    #[test]
    fn without_an_offset_the_start_counts() {
        let expected = vec![("lobby", at(2, 3)), ("trades:u1", at(2, 10))];
        assert_eq!(positions(&record(), None), Ok(expected));
    }

    #[test]
    fn the_later_of_start_and_offset_counts() {
        for (offset, expected) in [
            (at(2, 12), at(2, 12)),
            (at(2, 9), at(2, 10)),
            (at(3, 11), at(3, 11)),
            (at(1, 99), at(2, 10)),
        ] {
            let record = record();
            let found = positions(&record, Some(&cursor("trades:u1", offset))).unwrap();
            assert_eq!(found, [("lobby", at(2, 3)), ("trades:u1", expected)]);
        }
    }

    #[test]
    fn an_offset_of_an_earlier_pid_says_nothing() {
        let stale = cursor("trades:u1", at(2, 12));
        let record = Record {
            stale: Some(stale.clone()),
            ..record()
        };
        assert_eq!(positions(&record, Some(&stale)), positions(&record, None));
        let fresh = cursor("trades:u1", at(2, 13));
        assert_eq!(positions(&record, Some(&fresh)).unwrap()[1].1, at(2, 13));
        let unreadable = Record {
            stale: Some("?".into()),
            ..record
        };
        assert_eq!(
            positions(&unreadable, Some("?")),
            positions(&unreadable, None)
        );
    }

    #[test]
    fn an_unreadable_offset_is_refused() {
        let refused = Err(NotRecoverable::Offset(CursorError::Malformed));
        assert_eq!(positions(&record(), Some("gibberish")), refused);
        assert_eq!(positions(&record(), Some("")), refused);
    }

    fn records() -> impl Strategy<Value = Record> {
        let texts = collection::vec("\\PC{0,8}", 5);
        let rooms = collection::vec("\\PC{0,8}", 0..4);
        let start = collection::btree_map("\\PC{0,8}", any::<[u64; 3]>(), 0..4);
        (
            texts,
            rooms,
            start,
            any::<[u64; 2]>(),
            option::of("\\PC{0,8}"),
            any::<i64>(),
        )
            .prop_map(
                |(texts, rooms, start, [home, version], stale, data)| Record {
                    pid: texts[0].clone(),
                    sid: texts[1].clone(),
                    user: texts[2].clone(),
                    session: texts[3].clone(),
                    namespace: texts[4].clone(),
                    rooms,
                    start: start
                        .into_iter()
                        .map(|(room, [counter, random, seq])| {
                            (
                                room,
                                Position {
                                    eid: Eid { counter, random },
                                    seq,
                                },
                            )
                        })
                        .collect(),
                    home,
                    version,
                    stale,
                    data: serde_json::json!({ "a": data }),
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn records_round_trip(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in collection::vec(any::<u8>(), 0..40)) {
            assert!(Record::decode(&bytes).is_err());
            assert!(Record::decode(&[&[VERSION], &bytes[..]].concat()).is_err());
        }
    }
}
