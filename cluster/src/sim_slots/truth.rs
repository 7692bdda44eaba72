//! What really happened, kept apart from the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::proto::slots::{Body, Chain, Eid, Entry, NodeId, Position, Room};

/// An event that an owner wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) room: Option<Room>,
    pub(super) id: Bytes,
    /// When it was written, world time.
    pub(super) at_ms: u64,
}

/// What is known of one epoch.
#[derive(Clone, Debug)]
struct Epoch {
    /// The epochs before, to the last cut, and this one.
    chain: Chain,
    kept: bool,
    /// Up to where it committed.
    commit: u64,
}

/// The truth about one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// Each value that was written.
    values: BTreeMap<(Eid, u64), Fact>,
    by_id: BTreeMap<(Room, Bytes), Vec<(Eid, u64)>>,
    openers: BTreeMap<Eid, NodeId>,
    epochs: BTreeMap<Eid, Epoch>,
    /// Up to where each epoch's own entries were committed, by it or a later one.
    committed: BTreeMap<Eid, u64>,
    /// Epochs that some node noted to hold the slot.
    noted: BTreeSet<Eid>,
    /// The latest kept epoch, and who holds it.
    reign: Option<(Eid, Vec<NodeId>)>,
    /// Cuts of kept epochs.
    pub(super) cuts: u64,
    /// Kept epochs before the last kept cut.
    lost: BTreeSet<Eid>,
}

type Checked = Result<(), String>;

impl Truth {
    pub(super) fn opening(&mut self, eid: Eid, node: NodeId) -> Checked {
        match self.openers.insert(eid, node) {
            Some(other) => Err(format!("1: {eid:?} is opened by {other:?} and {node:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn reign(&self) -> Option<(Eid, Vec<NodeId>)> {
        self.reign.clone()
    }

    /// A node stores who holds the slot.
    pub(super) fn noted(&mut self, eid: Eid) {
        self.noted.insert(eid);
    }

    pub(super) fn is_noted_between(&self, low: Eid, high: Eid) -> bool {
        let above = (Bound::Excluded(low), Bound::Excluded(high));
        self.noted.range(above).next().is_some()
    }

    /// A kept epoch begins.
    pub(super) fn reigns(&mut self, eid: Eid, copies: Vec<NodeId>) {
        if self.reign.as_ref().is_none_or(|(last, _)| *last < eid) {
            self.reign = Some((eid, copies));
        }
    }

    /// An entry is stored somewhere.
    pub(super) fn stored(&mut self, entry: &Entry, now_ms: u64, known_ms: Option<u64>) -> Checked {
        let Position { eid, seq } = entry.position;
        let (room, id) = match &entry.body {
            Body::Event { room, id, .. } => (Some(room.clone()), id.clone()),
            Body::Record { pid, record } => (None, Bytes::from(format!("{pid:?} {record:?}"))),
        };
        let fact = Fact {
            room: room.clone(),
            id: id.clone(),
            at_ms: now_ms,
        };
        if let Some(known) = self.values.get(&(eid, seq)) {
            if (&known.room, &known.id) != (&fact.room, &fact.id) {
                return Err(format!("1: {eid:?} {seq} is {known:?} and {fact:?}"));
            }
            return Ok(());
        }
        self.values.insert((eid, seq), fact);
        let Some(room) = room else {
            return Ok(());
        };
        let same = self.by_id.entry((room, id)).or_default();
        same.push((eid, seq));
        if let (Some(known_ms), Some(epoch)) = (known_ms, self.epochs.get(&eid)) {
            let others = same.iter().filter(|it| **it != (eid, seq));
            for (other, at) in others {
                let on_branch = epoch
                    .chain
                    .extent(*other, seq)
                    .is_some_and(|it| *at <= it.1);
                let age_ms = now_ms - self.values[&(*other, *at)].at_ms;
                if on_branch && age_ms <= known_ms {
                    return Err(format!("8: {entry:?} is at {other:?} {at} already"));
                }
            }
        }
        Ok(())
    }

    /// An epoch begins.
    pub(super) fn opened(&mut self, eid: Eid, chain: &Chain, kept: bool) -> Checked {
        let start = chain.0.last().map_or(0, |it| it.1);
        let before = chain.0.iter().rev().nth(1);
        let mut full = match before {
            Some((before, _)) => match self.epochs.get(before) {
                Some(epoch) => epoch.chain.clone(),
                // It was never open, and is only a name.
                None => {
                    let mut full = chain.clone();
                    full.0.pop();
                    let first = full.0.first().and_then(|it| self.epochs.get(&it.0));
                    if let Some(first) = first {
                        let mut older = first.chain.clone();
                        older.0.pop();
                        older.0.append(&mut full.0);
                        older
                    } else {
                        full
                    }
                }
            },
            None => Chain::default(),
        };
        full.0.push((eid, start));
        for (own, _) in &full.0 {
            let last = full.extent(*own, start - 1).map_or(0, |it| it.1);
            let committed = self.committed.entry(*own).or_default();
            *committed = last.max(*committed);
        }
        if kept {
            self.keep(eid, &full, start - 1)?;
        }
        let epoch = Epoch {
            chain: full,
            kept,
            commit: start - 1,
        };
        self.epochs.insert(eid, epoch);
        Ok(())
    }

    /// A kept epoch must have all kept entries, or none.
    fn keep(&mut self, eid: Eid, chain: &Chain, end: u64) -> Checked {
        let earlier = self
            .epochs
            .iter()
            .filter(|(other, epoch)| epoch.kept && **other < eid);
        let earlier: Vec<(Eid, u64)> = earlier.map(|(other, it)| (*other, it.commit)).collect();
        let (lost, known): (Vec<_>, Vec<_>) = earlier
            .into_iter()
            .partition(|(other, _)| self.lost.contains(other));
        if let Some((other, _)) = lost.iter().find(|(other, _)| chain.has(*other)) {
            return Err(format!("3: {eid:?} goes on from {other:?}, before a cut"));
        }
        // What an epoch committed includes what was before it.
        let has = |other: Eid, commit| chain.extent(other, end).is_some_and(|it| commit <= it.1);
        if known.iter().all(|(other, commit)| has(*other, *commit)) {
            return Ok(());
        }
        if known.iter().any(|(other, _)| chain.has(*other)) {
            return Err(format!(
                "3: {eid:?} on {chain:?} up to {end} lacks some of {known:?}"
            ));
        }
        self.cuts += 1;
        self.lost.extend(known.iter().map(|(other, _)| *other));
        Ok(())
    }

    pub(super) fn commit(&mut self, position: Position, kept: bool) -> Checked {
        let Position { eid, seq } = position;
        let Some(epoch) = self.epochs.get_mut(&eid) else {
            return Err(format!("4: {eid:?} commits and is not open"));
        };
        if kept != epoch.kept {
            return Err(format!("{eid:?} was not opened so"));
        }
        epoch.commit = seq;
        let committed = self.committed.entry(eid).or_default();
        *committed = seq.max(*committed);
        if !kept {
            return Ok(());
        }
        if self.lost.contains(&eid) {
            return Err(format!("3: {eid:?} keeps {seq} after a cut"));
        }
        // Later kept epochs, which have been opened already, must have it.
        let later = self.epochs.range(eid..).skip(1);
        for (other, later) in later.filter(|(_, it)| it.kept) {
            let start = later.chain.extent(*other, u64::MAX).map_or(0, |it| it.0);
            if later
                .chain
                .extent(eid, start - 1)
                .is_none_or(|it| it.1 < seq)
            {
                return Err(format!(
                    "3: {eid:?} keeps {seq} after {other:?} began without"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn is_committed(&self, position: Position) -> bool {
        let upto = self.committed.get(&position.eid);
        upto.is_some_and(|upto| position.seq <= *upto)
    }

    pub(super) fn fact(&self, position: Position) -> Option<&Fact> {
        self.values.get(&(position.eid, position.seq))
    }

    /// Where an id is, for messages.
    pub(super) fn find(&self, id: &Bytes) -> Vec<(Eid, u64, String)> {
        let found = self.values.iter().filter(|(_, fact)| fact.id == *id);
        let chain = |eid| format!("{:?}", self.epochs.get(&eid));
        found
            .map(|((eid, seq), _)| (*eid, *seq, chain(*eid)))
            .collect()
    }

    /// The chain of an epoch to the last cut.
    pub(super) fn chain(&self, eid: Eid) -> Option<&Chain> {
        self.epochs.get(&eid).map(|epoch| &epoch.chain)
    }

    /// The events of a room after one position and up to another, on the branch of the latter; none
    /// if the first is not on it.
    pub(super) fn between(
        &self,
        room: &Room,
        after: Position,
        upto: Position,
    ) -> Option<Vec<Position>> {
        let chain = self.chain(upto.eid)?;
        if !chain.holds(after, upto.seq) {
            return None;
        }
        let mut found = Vec::new();
        for (eid, start) in &chain.0 {
            let last = chain.extent(*eid, upto.seq)?.1.min(upto.seq);
            let first = (*start).max(after.seq + 1);
            if first <= last {
                let values = self.values.range((*eid, first)..=(*eid, last));
                let of_room = values.filter(|(_, fact)| fact.room.as_ref() == Some(room));
                found.extend(of_room.map(|((eid, seq), _)| Position {
                    eid: *eid,
                    seq: *seq,
                }));
            }
        }
        Some(found)
    }

    /// All that is on the branch of an epoch, up to a number.
    pub(super) fn all(&self, eid: Eid, upto: u64) -> Vec<Position> {
        let mut found = Vec::new();
        let Some(chain) = self.chain(eid) else {
            return found;
        };
        for (eid, start) in &chain.0 {
            let last = chain.extent(*eid, upto).map_or(0, |it| it.1);
            if *start <= last {
                let values = self.values.range((*eid, *start)..=(*eid, last));
                found.extend(values.map(|((eid, seq), _)| Position {
                    eid: *eid,
                    seq: *seq,
                }));
            }
        }
        found
    }
}
