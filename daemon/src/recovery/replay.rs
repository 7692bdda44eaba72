//! PURE: from a connection's record and the offset it presents to what it missed, or why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::Cursor;
use super::log::{Entry, Log, RoomKey};
use super::record::{self, NotRecoverable, Record};
use super::slot::Position;

/// What a returning socket is to be sent, and from where live delivery goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// What the socket's cursor says before the first of `entries`; each of them advances it.
    pub cursor: Cursor,
    /// What the record's starts become, so that they do not age with a quiet room: where the room was
    /// read up to if nothing was missed, else from where the client was taken up.
    pub start: BTreeMap<String, Position>,
    /// What it missed, in the order of the emits; within a slot always in the slot's order.
    pub entries: Vec<Arc<Entry>>,
    /// Up to where each slot was read: live entries at or below are among `entries`, or were seen
    /// before, or are not for this socket. The cursor stands here after the last of `entries`.
    pub position: Vec<(u8, Position)>,
}

/// Reads everything that the socket missed, if that can be proved to be everything.
pub fn replay(
    log: &Log,
    record: &Record,
    presented: Option<&str>,
) -> Result<Replay, NotRecoverable> {
    let mut rooms = Vec::with_capacity(record.start.len());
    for (room, position) in record::positions(record, presented)? {
        let key = RoomKey::new(&record.namespace, room);
        log.check(&key, position)?;
        rooms.push((key, position));
    }
    // By slot, and the earliest position of each slot first.
    rooms.sort_by_key(|(key, position)| (key.slot(), *position));

    let mut replay = Replay::default();
    for slot in rooms.chunk_by(|a, b| a.0.slot() == b.0.slot()) {
        let (key, earliest) = &slot[0];
        replay
            .cursor
            .advance(key.slot(), earliest.eid, earliest.seq);
        let head = log.head(key.slot());
        replay.position.push((key.slot(), head));
        let first = replay.entries.len();
        for (key, position) in slot {
            let missed = replay.entries.len();
            let entries = log.read(key, position.seq);
            replay
                .entries
                .extend(entries.filter(|entry| is_for(entry, record)).cloned());
            let is_quiet = missed == replay.entries.len();
            let start = if is_quiet { head } else { *position };
            replay.start.insert(key.room().to_owned(), start);
        }
        replay.entries[first..].sort_by_key(|entry| entry.position.seq);
    }
    by_turn(&mut replay.entries);
    Ok(replay)
}

/// Merges entries that are sorted by slot. An entry that was given a lower turn than one before it
/// in its slot, by another node's clock, keeps its place behind that one.
fn by_turn(entries: &mut Vec<Arc<Entry>>) {
    let mut before = (0, 0);
    let turns = entries.drain(..).map(|entry| {
        let slot = entry.room.slot();
        let turn = if before.0 == slot {
            entry.turn.max(before.1)
        } else {
            entry.turn
        };
        before = (slot, turn);
        (turn, entry)
    });
    let mut turns: Vec<_> = turns.collect();
    turns.sort_by_key(|(turn, _)| *turn);
    entries.extend(turns.into_iter().map(|(_, entry)| entry));
}

fn is_for(entry: &Entry, record: &Record) -> bool {
    !entry
        .except
        .iter()
        .any(|name| *name == record.sid || record.rooms.contains(name))
}
