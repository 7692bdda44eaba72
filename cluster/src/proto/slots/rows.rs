//! What is stored, as bytes.
//!
//! A slot's log is rows: its entries by slot and number, and state by key. One action's writes, or
//! those of several in their order, become one [`Changes`], to be stored as one piece. Promises and
//! records of all slots are one [`Table`], written whole and through; the roster is one value, too.
//!
//! Every value begins with a version, so that a later form can be told from damage. The rest is
//! written as in messages: who changes how a field is sent changes the version here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::ids::MAX_SEQ;
use super::wire::{Field, Input};
use super::{Eid, Entry, NodeId, Position, Reign, SlotNo, StoredSlot, Write};

/// The first byte of every value. 1 is what a node wrote before there were clusters.
const VERSION: u8 = 2;

/// The first byte of a key of state; the second is the slot.
const CHAIN: u8 = b'c';
const END: u8 = b'e';
const FROM: u8 = b'f';
const MARK: u8 = b'm';
const RECORD: u8 = b'r';
const SUSPECT: u8 = b's';

/// As many as a slot's number can name.
const SLOTS: usize = SlotNo::MAX as usize + 1;

/// Rows to store, all of them or none; of several changes of a row the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries by slot and number: what they are now, or that they are removed.
    pub entries: BTreeMap<(SlotNo, u64), Option<Vec<u8>>>,
    /// State by key: what it is now, or that it is removed.
    pub state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Changes {
    /// Adds what [`super::Action::Store`] asks for, after all that was added before.
    pub fn add(&mut self, slot: SlotNo, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(entry) => {
                    let row = (entry.position.eid, (entry.at_ms, entry.body.clone()));
                    let key = (slot, entry.position.seq);
                    self.entries.insert(key, Some(encode(&row)));
                }
                Write::Remove(seq) => drop(self.entries.insert((slot, *seq), None)),
                Write::Chain(chain) => self.set((CHAIN, slot), &[], Some(encode(chain))),
                Write::From(from) => self.set((FROM, slot), &[], Some(encode(from))),
                Write::End(end) => self.set((END, slot), &[], Some(encode(end))),
                Write::Mark(room, mark) => {
                    self.set((MARK, slot), room, (*mark > 0).then(|| encode(mark)));
                }
                Write::Record(pid, kept) => {
                    self.set((RECORD, slot), pid, kept.as_ref().map(encode));
                }
                Write::Suspect(suspect) => {
                    self.set((SUSPECT, slot), &[], suspect.then(|| encode(suspect)));
                }
            }
        }
    }

    fn set(&mut self, (kind, slot): (u8, SlotNo), name: &[u8], value: Option<Vec<u8>>) {
        let key = [&[kind, slot], name].concat();
        self.state.insert(key, value);
    }

    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.state.is_empty()
    }
}

/// The promise and the record of every slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(Vec<(Eid, Option<Reign>)>);

impl Default for Table {
    fn default() -> Self {
        Self(vec![(Eid::default(), None); SLOTS])
    }
}

impl Table {
    /// The table of what was loaded.
    pub fn of(stored: &[StoredSlot]) -> Self {
        let mut table = Self::default();
        for (slot, of) in table.0.iter_mut().zip(stored) {
            *slot = (of.promise, of.record.clone());
        }
        table
    }

    /// Makes the change that [`super::Action::Sync`] asks for.
    pub fn set(&mut self, slot: SlotNo, promise: Eid, record: Option<Reign>) {
        self.0[usize::from(slot)] = (promise, record);
    }

    /// The bytes to write.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// Reads what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let table = decode(bytes.to_vec()).map_err(|why| Damaged::new(Row::Table, why))?;
        match Self(table) {
            table if table.0.len() == SLOTS => Ok(table),
            _ => Err(Damaged::new(Row::Table, Why::Content)),
        }
    }
}

/// The bytes of [`super::Action::Roster`].
pub fn encode_roster(roster: &BTreeSet<NodeId>, forgotten: &BTreeSet<NodeId>) -> Vec<u8> {
    let list = |ids: &BTreeSet<NodeId>| ids.iter().copied().collect::<Vec<_>>();
    encode(&(list(roster), list(forgotten)))
}

/// The roster and the forgotten ids.
pub fn decode_roster(bytes: &[u8]) -> Result<(BTreeSet<NodeId>, BTreeSet<NodeId>), Damaged> {
    let lists = decode::<(Vec<NodeId>, Vec<NodeId>)>(bytes.to_vec());
    let (roster, forgotten) = lists.map_err(|why| Damaged::new(Row::Roster, why))?;
    Ok((
        roster.into_iter().collect(),
        forgotten.into_iter().collect(),
    ))
}

/// What is stored of all slots, from all rows of entries and of state, and the table.
///
/// It is all or nothing. If it is not to be had, a node may only start as a new one, with a new id
/// and nothing stored: it cannot keep promises that it does not know.
pub fn load(
    entries: impl IntoIterator<Item = (SlotNo, u64, Vec<u8>)>,
    state: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    table: Option<&[u8]>,
) -> Result<Vec<StoredSlot>, Damaged> {
    let mut slots = vec![StoredSlot::default(); SLOTS];
    for (slot, seq, row) in entries {
        let damaged = |why| Damaged::new(Row::Entry { slot, seq }, why);
        let entry = entry(seq, row).map_err(damaged)?;
        let log = &mut slots[usize::from(slot)].log;
        log.entries.insert(seq, Arc::new(entry));
    }
    for (key, value) in state {
        set_state(&mut slots, &key, value).map_err(|why| Damaged::new(Row::State(key), why))?;
    }
    match table.map(Table::decode).transpose()? {
        Some(table) => {
            for (slot, (promise, record)) in slots.iter_mut().zip(table.0) {
                (slot.promise, slot.record) = (promise, record);
            }
        }
        // Nothing is stored before a promise is.
        None if slots.iter().any(|slot| *slot != StoredSlot::default()) => {
            return Err(Damaged::new(Row::Table, Why::Missing));
        }
        None => {}
    }
    Ok(slots)
}

fn entry(seq: u64, row: Vec<u8>) -> Result<Entry, Why> {
    let (eid, (at_ms, body)) = decode(row)?;
    if seq > MAX_SEQ {
        return Err(Why::Content);
    }
    let position = Position { eid, seq };
    Ok(Entry {
        position,
        at_ms,
        body,
    })
}

fn set_state(slots: &mut [StoredSlot], key: &[u8], value: Vec<u8>) -> Result<(), Why> {
    let [kind, slot, name @ ..] = key else {
        return Err(Why::Content);
    };
    let log = &mut slots[usize::from(*slot)].log;
    let name_bytes = Bytes::copy_from_slice(name);
    match (*kind, name) {
        (CHAIN, []) => log.chain = decode(value)?,
        (FROM, []) => log.from = number(value)?,
        (END, []) => log.end = number(value)?,
        (SUSPECT, []) => log.suspect = decode(value)?,
        (MARK, _) => drop(log.marks.insert(name_bytes, number(value)?)),
        (RECORD, _) => drop(log.records.insert(name_bytes, decode(value)?)),
        _ => return Err(Why::Content),
    }
    Ok(())
}

fn number(value: Vec<u8>) -> Result<u64, Why> {
    decode(value).and_then(|number| (number <= MAX_SEQ).then_some(number).ok_or(Why::Content))
}

fn encode<T: Field>(value: &T) -> Vec<u8> {
    let mut row = BytesMut::with_capacity(64);
    row.put_u8(VERSION);
    value.put(&mut row);
    row.into()
}

fn decode<T: Field>(row: Vec<u8>) -> Result<T, Why> {
    let mut input = Input(row.into());
    match u8::take(&mut input) {
        Some(VERSION) => {}
        Some(other) => return Err(Why::Version(other)),
        None => return Err(Why::Content),
    }
    let value = T::take(&mut input).filter(|_| input.0.is_empty());
    value.ok_or(Why::Content)
}

/// Something that is stored is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{row} {why}")]
pub struct Damaged {
    /// What.
    pub row: Row,
    /// How.
    pub why: Why,
}

impl Damaged {
    fn new(row: Row, why: Why) -> Self {
        Self { row, why }
    }
}

/// Names something that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An entry.
    Entry {
        /// Of this slot.
        slot: SlotNo,
        /// With this number.
        seq: u64,
    },
    /// State under this key.
    State(Vec<u8>),
    /// The table of promises.
    Table,
    /// The roster.
    Roster,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { slot, seq } => write!(f, "entry {seq} of slot {slot}"),
            // The rest of the key can name a connection, which is secret.
            Self::State(key) => match key[..] {
                [kind, slot, ..] => write!(f, "state {:?} of slot {slot}", char::from(kind)),
                _ => write!(f, "state with a key of {} bytes", key.len()),
            },
            Self::Table => write!(f, "the table of promises"),
            Self::Roster => write!(f, "the roster"),
        }
    }
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Another version wrote it.
    #[error("has format {0}, this version knows {VERSION}")]
    Version(u8),
    /// Cut short, too long, or not what should be there.
    #[error("is damaged")]
    Content,
    /// Other things are there that it should be with.
    #[error("is missing")]
    Missing,
}

#[cfg(test)]
mod tests;
