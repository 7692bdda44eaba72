//! Reading an owned slot, piece by piece.

use std::sync::Arc;

use super::context::Context;
use super::log::Invalid;
use super::machine::{Machine, Role};
use super::piece::Piece;
use super::rules::Rule;
use super::{Answer, Entry, Position, Room};

impl Machine {
    /// Committed entries of rooms, each after its position and all up to another.
    pub(super) fn read(
        &self,
        rooms: &[(Room, Position)],
        known: &[Position],
        upto: Option<Position>,
        context: &Context,
    ) -> Answer {
        let Role::Open(owned) = &self.role else {
            return Answer::NotOwner;
        };
        let eid = owned.eid;
        let commit = Position {
            eid,
            seq: owned.commit,
        };
        let upto = upto
            .filter(|_| context.rules.keep(Rule::ReadUptoFeed))
            .unwrap_or(commit);
        if upto.eid > eid {
            // Fed by a later owner.
            return Answer::NotOwner;
        }
        let holds = |position: &Position| self.log.chain.holds(*position, owned.commit);
        if !(holds(&upto) && known.iter().all(holds)) && context.rules.keep(Rule::PositionOnBranch)
        {
            return Answer::Invalid;
        }
        for (room, after) in rooms {
            match self.check(room, *after, owned.commit, context) {
                Ok(()) => {}
                Err(Invalid::NotYet) if self.fill.is_some() => return Answer::NotOwner,
                Err(_) => return Answer::Invalid,
            }
        }
        let rooms = rooms.iter().map(|(room, after)| (room, after.seq));
        let (entries, upto) = self.read_piece(rooms, upto, Piece::new(&context.settings));
        Answer::Entries { entries, upto }
    }

    /// Committed entries of one room.
    pub(super) fn history(
        &self,
        room: &Room,
        after: Option<Position>,
        limit: u32,
        context: &Context,
    ) -> Answer {
        let Role::Open(owned) = &self.role else {
            return Answer::NotOwner;
        };
        let commit = Position {
            eid: owned.eid,
            seq: owned.commit,
        };
        let after = match after.map(|after| (after, self.log.check(room, after, commit.seq))) {
            None => self.log.oldest(room),
            Some((after, Ok(()))) => after.seq,
            Some((_, Err(Invalid::NotYet))) if self.fill.is_some() => return Answer::NotOwner,
            Some(_) => return Answer::Invalid,
        };
        let piece = Piece::at_most(&context.settings, limit as usize);
        let (entries, upto) = self.read_piece([(room, after)].into_iter(), commit, piece);
        Answer::Entries { entries, upto }
    }

    /// The first entries of rooms, each after its number and all up to a position; and up to where
    /// these are all.
    pub(super) fn read_piece<'a>(
        &self,
        rooms: impl Iterator<Item = (&'a Room, u64)>,
        upto: Position,
        mut piece: Piece,
    ) -> (Vec<Arc<Entry>>, Position) {
        let mut found = Vec::new();
        for (room, after) in rooms {
            // As much of each as would fit alone, and one more that says that there is more.
            let mut of_room = piece;
            for entry in self.log.read(room, after, upto.seq) {
                found.push(Arc::clone(entry));
                if !of_room.fits(entry.size()) {
                    break;
                }
            }
        }
        found.sort_by_key(|entry| entry.position.seq);
        let fit = found.iter().take_while(|entry| piece.fits(entry.size()));
        let fit = fit.count();
        let is_cut = fit < found.len();
        found.truncate(fit);
        let last = found.last().filter(|_| is_cut);
        let upto = last.map_or(upto, |entry| entry.position);
        (found, upto)
    }

    pub(super) fn check(
        &self,
        room: &Room,
        position: Position,
        commit: u64,
        context: &Context,
    ) -> Result<(), Invalid> {
        let rule = match self.log.check(room, position, commit) {
            Ok(()) => return Ok(()),
            Err(Invalid::OtherBranch) => Rule::PositionOnBranch,
            Err(Invalid::Trimmed) => Rule::PositionNotTrimmed,
            Err(Invalid::NotYet) => Rule::PositionComplete,
        };
        if context.rules.keep(rule) {
            self.log.check(room, position, commit)
        } else {
            Ok(())
        }
    }
}
