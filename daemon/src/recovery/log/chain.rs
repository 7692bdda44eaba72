//! Which epochs made up a slot's log, and from where on it is complete.

use sha2::{Digest, Sha256};

use super::bytes::{Reader, RowError, Writer};
use crate::recovery::slot::{Eid, Position, SLOTS};

/// How many epochs of a slot are remembered. A position of an older one can no longer be proved,
/// so a client that slept through more restarts than this is told `false`.
pub const MAX_EPOCHS: usize = 64;

/// Numbers left out at a cut, so that none that a lost tail may have used is given again.
pub(super) const CUT_GAP: u64 = 1 << 16;

/// No slot gets there; a higher number on the disk is damage, and must not stop the count.
pub(super) const MAX_SEQ: u64 = 1 << 62;

/// One reign over the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// The reign's name.
    pub(super) eid: Eid,
    /// The number of its first entry; it ends where the next one starts.
    pub(super) start: u64,
}

/// The state of one slot, but for its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The epochs of this branch, the last one open. Never empty once the log is open.
    pub(super) epochs: Vec<Epoch>,
    /// Nothing at or below this number belongs to this branch: where it was cut off.
    pub(super) floor: u64,
    /// Complete above this number, for every room; at least `floor`.
    pub(super) from: u64,
    /// The highest number given to an entry, committed or not.
    pub(super) end: u64,
    /// The highest number whose entry is committed: none above it may be read or fed.
    pub(super) commit: u64,
}

impl Chain {
    /// Begins an epoch on this branch, right after its end.
    pub(super) fn open(&mut self, eid: Eid) {
        self.epochs.push(Epoch {
            eid,
            start: self.end + 1,
        });
        let excess = self.epochs.len().saturating_sub(MAX_EPOCHS);
        self.epochs.drain(..excess);
        self.commit = self.end;
    }

    /// Begins a branch of which nothing is known: no position given out before is valid on it.
    pub(super) fn cut(&mut self, eid: Eid) {
        self.epochs.clear();
        self.end += CUT_GAP;
        self.floor = self.end;
        self.from = self.end;
        self.open(eid);
    }

    /// Whether any position can have been given out, be it only that of an empty slot.
    pub(super) fn is_used(&self) -> bool {
        !self.epochs.is_empty() || self.end > 0
    }

    /// The open epoch's name.
    pub(super) fn eid(&self) -> Eid {
        self.epochs.last().map_or(Eid::default(), |epoch| epoch.eid)
    }

    /// Up to where the slot can be read.
    pub(super) fn head(&self) -> Position {
        Position {
            eid: self.eid(),
            seq: self.commit,
        }
    }

    /// Whether the position lies on this branch: its epoch is known and was open at its number.
    pub(super) fn holds(&self, position: Position) -> bool {
        let Some(at) = self
            .epochs
            .iter()
            .rposition(|epoch| epoch.eid == position.eid)
        else {
            return false;
        };
        let end = self
            .epochs
            .get(at + 1)
            .map_or(self.commit, |next| next.start - 1);
        // Before an epoch's first entry the position is the end of what preceded it.
        (self.epochs[at].start - 1..=end).contains(&position.seq)
    }

    /// Whether an entry read from disk is one of this branch. Below the oldest epoch that is
    /// remembered this cannot be told, and does not matter, as no position there is valid.
    pub(super) fn fits(&self, entry: Position) -> bool {
        let epoch = self.epochs.iter().rfind(|epoch| epoch.start <= entry.seq);
        entry.seq > self.floor && epoch.is_none_or(|epoch| epoch.eid == entry.eid)
    }
}

/// Length of the check at the end of a table.
const CHECK: usize = 8;

/// The slot table: the epochs and the floor of every slot, one blob in a file of its own. It is
/// written through to the disk before an epoch is used, as no later loss may undo it.
pub(super) fn encode(chains: &[Chain]) -> Vec<u8> {
    let mut table = Writer::new(SLOTS * 48);
    for chain in chains {
        table.number(chain.floor);
        table.byte(chain.epochs.len() as u8);
        for epoch in &chain.epochs {
            table.eid(epoch.eid);
            table.number(epoch.start);
        }
    }
    let mut table = table.finish();
    let check = Sha256::digest(&table);
    table.extend_from_slice(&check[..CHECK]);
    table
}

/// Reads a table. A damaged one is refused as a whole: half a truth about epochs is a silent gap.
pub(super) fn decode(table: &[u8]) -> Result<Vec<Chain>, RowError> {
    let split = table.len().checked_sub(CHECK).ok_or(RowError::Damaged)?;
    let (table, check) = table.split_at(split);
    if Sha256::digest(table)[..CHECK] != *check {
        return Err(RowError::Damaged);
    }
    let mut reader = Reader::new(table)?;
    let mut chains = Vec::with_capacity(SLOTS);
    for _ in 0..SLOTS {
        let mut chain = Chain {
            floor: reader.number()?,
            ..Chain::default()
        };
        for _ in 0..reader.byte()? {
            chain.epochs.push(Epoch {
                eid: reader.eid()?,
                start: reader.number()?,
            });
        }
        chain.from = chain.floor;
        chain.end = chain
            .epochs
            .last()
            .map_or(chain.floor, |last| last.start.saturating_sub(1));
        chains.push(chain);
    }
    reader.end()?;
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eid(counter: u64) -> Eid {
        Eid {
            counter,
            random: counter * 7,
        }
    }

    fn at(counter: u64, seq: u64) -> Position {
        Position {
            eid: eid(counter),
            seq,
        }
    }

    /// Epoch 1 has entries 1 to 3, epoch 2 none, epoch 3 entries 4 and 5.
    fn chain() -> Chain {
        let mut chain = Chain::default();
        chain.open(eid(1));
        chain.end = 3;
        chain.open(eid(2));
        chain.open(eid(3));
        chain.end = 6;
        chain.commit = 5;
        chain
    }

    #[test]
    fn a_position_is_held_within_its_epoch() {
        let chain = chain();
        let held = [at(1, 0), at(1, 3), at(2, 3), at(3, 3), at(3, 5)];
        let not = [at(1, 4), at(2, 2), at(2, 4), at(3, 2), at(3, 6), at(4, 5)];
        assert!(held.iter().all(|position| chain.holds(*position)));
        assert!(!not.iter().any(|position| chain.holds(*position)));
        assert_eq!(chain.head(), at(3, 5));
    }

    #[test]
    fn an_entry_fits_its_epoch_only() {
        let chain = chain();
        assert!(chain.fits(at(1, 1)) && chain.fits(at(1, 3)) && chain.fits(at(3, 4)));
        assert!(!chain.fits(at(1, 4)) && !chain.fits(at(2, 4)) && !chain.fits(at(3, 3)));
    }

    #[test]
    fn after_a_cut_no_older_position_is_held() {
        let mut chain = chain();
        chain.cut(eid(4));
        for counter in 0..4 {
            assert!(!(0..9).any(|seq| chain.holds(at(counter, seq))));
        }
        assert!(!chain.fits(at(3, 5)));
        assert!(chain.holds(at(4, 6 + CUT_GAP)));
        assert_eq!(chain.from, 6 + CUT_GAP);
    }

    #[test]
    fn old_epochs_are_forgotten() {
        let mut chain = Chain::default();
        for counter in 1..=MAX_EPOCHS as u64 + 1 {
            chain.open(eid(counter));
        }
        assert!(!chain.holds(at(1, 0)));
        assert!(chain.holds(at(2, 0)));
        assert_eq!(chain.epochs.len(), MAX_EPOCHS);
    }

    #[test]
    fn a_table_round_trips_and_refuses_damage() {
        let mut chains = vec![Chain::default(); SLOTS];
        chains[3] = chain();
        chains[4].end = 9;
        chains[4].cut(eid(1));
        let table = encode(&chains);
        let read = decode(&table).unwrap();
        assert_eq!(read[3].epochs, chains[3].epochs);
        assert_eq!(
            (read[4].floor, read[4].from, read[4].end),
            (9 + CUT_GAP, 9 + CUT_GAP, 9 + CUT_GAP)
        );
        assert_eq!(read[0], Chain::default());
        for at in (0..table.len()).step_by(97) {
            let mut damaged = table.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err());
        }
        assert!(decode(&table[..table.len() - 1]).is_err());
        assert!(decode(b"").is_err());
    }
}
