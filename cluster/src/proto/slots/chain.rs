//! Which epochs made up a slot's log.

use super::{Eid, Position};

/// How many epochs of a slot are remembered. A position of an older one can no longer be proved.
pub const MAX_EPOCHS: usize = 256;

/// The epochs of one branch and the number at which each began; the last may be open.
///
/// An epoch has one opener, who fixed once what went before it: two chains that share an epoch are
/// the same up to its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub Vec<(Eid, u64)>);

impl Chain {
    /// The latest epoch.
    pub fn last(&self) -> Option<Eid> {
        self.0.last().map(|(eid, _)| *eid)
    }

    /// Whether the branch has this epoch.
    pub fn has(&self, eid: Eid) -> bool {
        self.0.iter().any(|(own, _)| *own == eid)
    }

    /// Begins an epoch; the oldest is forgotten if there are too many.
    pub fn open(&mut self, eid: Eid, start: u64) {
        self.0.push((eid, start));
        let excess = self.0.len().saturating_sub(MAX_EPOCHS);
        self.0.drain(..excess);
    }

    /// The first number of the oldest epoch that is remembered: none below can be asked for.
    pub fn lowest(&self) -> u64 {
        self.0.first().map_or(0, |(_, start)| *start)
    }

    /// The first number of an epoch and its last, if the log ends at `end`.
    pub fn extent(&self, eid: Eid, end: u64) -> Option<(u64, u64)> {
        let at = self.0.iter().rposition(|(own, _)| *own == eid)?;
        let last = self.0.get(at + 1).map_or(end, |(_, next)| next - 1);
        Some((self.0[at].1, last))
    }

    /// Which epoch a number belongs to, or the latest if that will be forgotten soon.
    pub fn name(&self, seq: u64) -> Option<Eid> {
        let recent = &self.0[self.0.len().saturating_sub(MAX_EPOCHS / 2)..];
        let at = recent.iter().rfind(|(_, start)| *start <= seq);
        at.or(recent.last()).map(|(eid, _)| *eid)
    }

    /// Whether a position lies on this branch, which can be read up to `end`.
    ///
    /// It may be before its epoch, as all that went before an epoch is fixed.
    pub fn holds(&self, position: Position, end: u64) -> bool {
        let extent = self.extent(position.eid, end);
        extent.is_some_and(|(_, last)| position.seq <= last)
    }

    /// Up to where two logs are the same; none if they share nothing that is remembered.
    pub fn common(&self, end: u64, other: &Self, other_end: u64) -> Option<u64> {
        self.0.iter().rev().find_map(|(eid, _)| {
            let (_, own) = self.extent(*eid, end)?;
            let (_, its) = other.extent(*eid, other_end)?;
            Some(own.min(its))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eid(counter: u64) -> Eid {
        Eid { counter, random: 7 }
    }

    fn at(counter: u64, seq: u64) -> Position {
        Position {
            eid: eid(counter),
            seq,
        }
    }

    fn chain(epochs: &[(u64, u64)]) -> Chain {
        Chain(
            epochs
                .iter()
                .map(|(it, start)| (eid(*it), *start))
                .collect(),
        )
    }

    #[test]
    fn a_position_is_held_up_to_the_end_of_its_epoch() {
        let chain = chain(&[(1, 1), (2, 4), (3, 4)]);
        let held = [at(1, 0), at(1, 3), at(2, 2), at(2, 3), at(3, 1), at(3, 5)];
        let not = [at(1, 4), at(2, 4), at(3, 6), at(4, 5)];
        assert!(held.iter().all(|position| chain.holds(*position, 5)));
        assert!(!not.iter().any(|position| chain.holds(*position, 5)));
    }

    #[test]
    fn logs_are_the_same_up_to_where_their_last_shared_epoch_ends_in_one() {
        let one = chain(&[(1, 1), (2, 4)]);
        assert_eq!(
            one.common(9, &chain(&[(1, 1), (2, 4), (3, 8)]), 20),
            Some(7)
        );
        assert_eq!(
            one.common(5, &chain(&[(1, 1), (2, 4), (3, 8)]), 20),
            Some(5)
        );
        assert_eq!(one.common(9, &chain(&[(1, 1), (3, 3)]), 20), Some(2));
        assert_eq!(one.common(9, &chain(&[(3, 3)]), 20), None);
        assert_eq!(Chain::default().common(0, &one, 9), None);
    }

    #[test]
    fn a_number_is_named_by_its_epoch_unless_that_is_old() {
        let mut chain = chain(&[(1, 1), (2, 4)]);
        assert_eq!((chain.name(3), chain.name(4)), (Some(eid(1)), Some(eid(2))));
        for counter in 3..MAX_EPOCHS as u64 {
            chain.open(eid(counter), 10);
        }
        assert_eq!(chain.name(3), chain.last());
        assert_eq!(Chain::default().name(3), None);
    }

    #[test]
    fn old_epochs_are_forgotten() {
        let mut chain = Chain::default();
        for counter in 1..=MAX_EPOCHS as u64 + 1 {
            chain.open(eid(counter), counter);
        }
        assert!(!chain.holds(at(1, 0), 100) && chain.holds(at(2, 1), 100));
        assert_eq!((chain.0.len(), chain.lowest()), (MAX_EPOCHS, 2));
    }
}
