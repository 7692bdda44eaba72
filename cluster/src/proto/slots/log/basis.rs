//! What another node lacks of a log, piece by piece.

use std::ops::Bound;
use std::sync::Arc;

use super::super::piece::Piece;
use super::super::{Chain, Entry, Kept, Pid, Room};
use super::Log;
use super::trim::stub;

/// What an epoch starts from: everything of a log but, perhaps, its older entries; or a piece of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Its epochs.
    pub chain: Chain,
    /// Where it ends.
    pub end: u64,
    /// `entries` are whole above this number, but for what `marks` say. Those below are without
    /// what only a reader needs: their ids must be known at once.
    pub low: u64,
    /// Entries, rising.
    pub entries: Vec<Arc<Entry>>,
    /// Up to where rooms are trimmed.
    pub marks: Vec<(Room, u64)>,
    /// Records of connections.
    pub records: Vec<(Pid, Kept)>,
}

/// Where the next piece of a basis begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// See [`Basis::low`]: as it was for the pieces before.
    pub low: u64,
    /// The last that came.
    pub after: After,
}

/// The last that a piece of a basis brought: first come entries, then marks, then records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// An entry.
    Entry(u64),
    /// The mark of a room.
    Mark(Room),
    /// The record of a connection.
    Record(Pid),
}

/// One thing of a basis.
enum Item<'a> {
    Entry(&'a Arc<Entry>),
    Mark(&'a Room, u64),
    Record(&'a Pid, &'a Kept),
}

impl Log {
    /// What a node with this chain and end lacks of the log: the piece that goes on at `rest`, and
    /// where the next one does. Whole are as many of the newest entries as fit into one.
    pub(in super::super) fn basis(
        &self,
        (chain, end): (&Chain, u64),
        rest: Option<Rest>,
        mut piece: Piece,
    ) -> (Basis, Option<Rest>) {
        let common = self.chain.common(self.end, chain, end).unwrap_or(0);
        let (low, mut after) = match rest {
            Some(rest) => (rest.low.max(self.from), rest.after),
            None => {
                let (low, _) = self.newest(common.max(self.from), self.end, piece);
                (low, After::Entry(common))
            }
        };
        let mut basis = Basis {
            chain: self.chain.clone(),
            end: self.end,
            low,
            ..Basis::default()
        };
        for item in self.items(&after.clone()) {
            match item {
                Item::Entry(entry) => {
                    let seq = entry.position.seq;
                    let entry = if seq > low {
                        Arc::clone(entry)
                    } else {
                        Arc::new(stub(entry))
                    };
                    if !piece.fits(entry.size()) {
                        return (basis, Some(Rest { low, after }));
                    }
                    after = After::Entry(seq);
                    basis.entries.push(entry);
                }
                Item::Mark(room, mark) => {
                    if !piece.fits(mark_size(room)) {
                        return (basis, Some(Rest { low, after }));
                    }
                    after = After::Mark(room.clone());
                    basis.marks.push((room.clone(), mark));
                }
                Item::Record(pid, kept) => {
                    if !piece.fits(pid.len() + kept.record.size()) {
                        return (basis, Some(Rest { low, after }));
                    }
                    after = After::Record(pid.clone());
                    basis.records.push((pid.clone(), kept.clone()));
                }
            }
        }
        (basis, None)
    }

    /// All that comes after one of them.
    fn items<'a>(&'a self, after: &'a After) -> impl Iterator<Item = Item<'a>> {
        let all = || Some(Bound::Unbounded);
        let (entries, marks, records) = match after {
            After::Entry(seq) => (Some(*seq), all(), Some(Bound::Unbounded)),
            After::Mark(room) => (None, Some(Bound::Excluded(room)), Some(Bound::Unbounded)),
            After::Record(pid) => (None, None, Some(Bound::Excluded(pid))),
        };
        let entries = entries.into_iter();
        let entries = entries.flat_map(|seq| self.range(seq, self.end));
        let marks = marks.into_iter();
        let marks = marks.flat_map(|low| self.trimmed.range::<Room, _>((low, Bound::Unbounded)));
        let records = records.into_iter();
        let records = records.flat_map(|low| self.records.range::<Pid, _>((low, Bound::Unbounded)));
        entries
            .map(Item::Entry)
            .chain(marks.map(|(room, mark)| Item::Mark(room, *mark)))
            .chain(records.map(|(pid, kept)| Item::Record(pid, kept)))
    }

    /// The newest entries of `(above, upto]`, and the number above which they are all.
    pub(in super::super) fn newest(
        &self,
        above: u64,
        upto: u64,
        mut piece: Piece,
    ) -> (u64, Vec<Arc<Entry>>) {
        let (mut low, mut entries) = (above, Vec::new());
        for entry in self.range(above, upto).rev() {
            if !piece.fits(entry.size()) {
                low = entry.position.seq;
                break;
            }
            entries.push(Arc::clone(entry));
        }
        entries.reverse();
        (low, entries)
    }

    /// Up to where rooms are trimmed, if above a number, and the bytes that this takes.
    pub(in super::super) fn marks(&self, above: u64) -> (Vec<(Room, u64)>, usize) {
        let marks = self.trimmed.iter().filter(|(_, mark)| **mark > above);
        let marks: Vec<_> = marks.map(|(room, mark)| (room.clone(), *mark)).collect();
        let size = marks.iter().map(|(room, _)| mark_size(room)).sum();
        (marks, size)
    }
}

/// The bytes of a mark in a message.
fn mark_size(room: &Room) -> usize {
    4 + room.len() + 8
}
