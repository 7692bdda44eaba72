//! Taking over the log of another node, and filling up what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Body, Entry, Kept, Pid, Room};
use super::trim::stub;
use super::{Basis, Log, Write};

impl Log {
    /// Becomes the log that a basis tells of; keeps what is the same in both.
    pub(in super::super) fn adopt(&mut self, basis: Basis, writes: &mut Vec<Write>, drop: bool) {
        let common = self.chain.common(self.end, &basis.chain, basis.end);
        let same = common.unwrap_or(0);
        if drop {
            self.truncate(same, writes);
        }
        let own = clip((self.from, self.end.min(same)), same);
        let island = self.island.and_then(|it| clip(it, same));
        (self.from, self.island) = match own {
            // All of it is here already.
            Some(own) if same >= basis.end => (own.0, island),
            Some(own) if basis.low <= same => (own.0, island),
            Some(own) => (basis.low, Some(own)),
            None if same >= basis.end => (self.from.min(basis.end), island),
            None => (basis.low, island),
        };
        self.end = basis.end;
        writes.push(Write::End(self.end));
        self.chain = basis.chain;
        writes.push(Write::Chain(self.chain.clone()));
        for entry in basis.entries {
            if entry.position.seq > same {
                let entry = self.admit(entry);
                writes.push(Write::Put(Arc::clone(&entry)));
                self.index(entry);
            }
        }
        self.raise_marks(basis.marks, writes);
        self.replace_records(basis.records.into_iter().collect(), writes);
        self.close_island();
        writes.push(Write::From(self.from));
    }

    /// Nothing that was given out is known any more: the log goes on above every number used.
    pub(in super::super) fn cut(&mut self, end: u64, writes: &mut Vec<Write>) {
        self.truncate(0, writes);
        self.island = None;
        let rooms = std::mem::take(&mut self.trimmed).into_keys();
        writes.extend(rooms.map(|room| Write::Mark(room, 0)));
        self.replace_records(BTreeMap::new(), writes);
        (self.chain, self.from, self.end) = (super::Chain::default(), end, end);
        writes.extend([
            Write::From(end),
            Write::End(end),
            Write::Chain(super::Chain::default()),
        ]);
    }

    /// From where on everything is here up to a number.
    pub(in super::super) fn stretch(&self, upto: u64) -> Option<u64> {
        let island = self.island.filter(|(_, high)| *high >= upto);
        let stretch = [Some((self.from, self.end)), island];
        let mut stretch = stretch.into_iter().flatten();
        stretch.find(|(low, _)| *low < upto).map(|(low, _)| low)
    }

    /// Takes older entries, which are complete in `(low, below]`.
    pub(in super::super) fn fill(
        &mut self,
        (low, below): (u64, u64),
        entries: Vec<Arc<Entry>>,
        marks: Vec<(Room, u64)>,
        writes: &mut Vec<Write>,
    ) -> bool {
        if below < self.from || low >= self.from {
            return false;
        }
        for entry in entries {
            let seq = entry.position.seq;
            let is_whole = self.entries.get(&seq).is_some_and(|own| !own.is_stub());
            if low < seq && seq <= self.from && !is_whole {
                let entry = self.admit(entry);
                writes.push(Write::Put(Arc::clone(&entry)));
                self.index(entry);
            }
        }
        self.raise_marks(marks, writes);
        self.from = low;
        self.close_island();
        writes.push(Write::From(self.from));
        true
    }

    /// An entry as it may be kept: not whole where its room is trimmed.
    pub(super) fn admit(&self, entry: Arc<Entry>) -> Arc<Entry> {
        match &entry.body {
            Body::Event { room, .. } if entry.position.seq <= self.mark(room) => {
                Arc::new(stub(&entry))
            }
            _ => entry,
        }
    }

    fn close_island(&mut self) {
        if let Some((low, high)) = self.island
            && high >= self.from
        {
            self.from = self.from.min(low);
            self.island = None;
        }
    }

    fn raise_marks(&mut self, marks: Vec<(Room, u64)>, writes: &mut Vec<Write>) {
        for (room, mark) in marks {
            self.trim_room(&room, mark.min(self.end), writes);
        }
    }

    /// Writes only what differs.
    fn replace_records(&mut self, records: BTreeMap<Pid, Kept>, writes: &mut Vec<Write>) {
        for (pid, kept) in &records {
            if self.records.get(pid) != Some(kept) {
                writes.push(Write::Record(pid.clone(), Some(kept.clone())));
            }
        }
        let gone = self
            .records
            .keys()
            .filter(|pid| !records.contains_key(*pid));
        writes.extend(gone.map(|pid| Write::Record(pid.clone(), None)));
        self.records = records;
    }

    fn truncate(&mut self, end: u64, writes: &mut Vec<Write>) {
        let above = self.entries.range(end + 1..).map(|(seq, _)| *seq);
        for seq in above.collect::<Vec<_>>() {
            self.unindex(seq);
            writes.push(Write::Remove(seq));
        }
        let marks: Vec<_> = self
            .trimmed
            .iter()
            .map(|(room, mark)| (room.clone(), *mark))
            .collect();
        for (room, mark) in marks {
            if mark > end {
                writes.push(Write::Mark(room.clone(), end));
                self.trimmed.insert(room, end);
            }
        }
        self.trimmed.retain(|_, mark| *mark > 0);
        self.marks_changed = true;
        writes.push(Write::End(end));
        self.end = end;
    }
}

/// What of a stretch is not above a number.
fn clip((low, high): (u64, u64), most: u64) -> Option<(u64, u64)> {
    (low < high.min(most)).then_some((low, high.min(most)))
}
