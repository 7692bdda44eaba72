//! A log that is fetched from another node, piece by piece.
//!
//! Whoever serves it has promised the epoch, so that its log does not change meanwhile but for what
//! is trimmed: that is why entries come first, then up to where rooms are trimmed.

use super::context::Context;
use super::log::{Basis, Log, Rest};
use super::{Eid, Message, NodeId, SlotNo};

/// How often what is not answered is asked again.
const AGAIN_MS: u64 = 250;

/// What came so far, and where to go on.
#[derive(Clone, Debug)]
pub(super) struct Fetching {
    eid: Eid,
    from: NodeId,
    basis: Basis,
    rest: Option<Rest>,
    asked_ms: u64,
    /// When the last piece came.
    pub(super) since_ms: u64,
}

/// What a piece made of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// It is one that came before, or was not asked for.
    Repeated,
    /// It is of another log than those before.
    Changed,
    /// More must come.
    Part,
    /// This is all.
    All(Basis),
}

impl Fetching {
    /// Asks for the first piece.
    pub(super) fn start(
        (slot, eid): (SlotNo, Eid),
        from: NodeId,
        log: &Log,
        context: &mut Context,
    ) -> Self {
        let mut fetching = Self {
            eid,
            from,
            basis: Basis::default(),
            rest: None,
            asked_ms: 0,
            since_ms: context.now.ms,
        };
        fetching.ask(slot, log, context);
        fetching
    }

    pub(super) fn eid(&self) -> Eid {
        self.eid
    }

    /// Asks for the next piece.
    fn ask(&mut self, slot: SlotNo, log: &Log, context: &mut Context) {
        self.asked_ms = context.now.ms;
        let message = Message::Fetch {
            eid: self.eid,
            chain: log.chain.clone(),
            end: log.end,
            rest: self.rest.clone(),
        };
        context.send(self.from, slot, message);
    }

    pub(super) fn ask_again(&mut self, slot: SlotNo, log: &Log, context: &mut Context) {
        if context.now.ms >= self.asked_ms + AGAIN_MS {
            self.ask(slot, log, context);
        }
    }

    /// Takes the piece that goes on from `asked`, and asks for the next, at `rest`.
    pub(super) fn take(
        &mut self,
        (slot, from): (SlotNo, NodeId),
        (asked, mut piece, rest): (Option<Rest>, Basis, Option<Rest>),
        log: &Log,
        context: &mut Context,
    ) -> Fetched {
        if from != self.from || asked != self.rest {
            return Fetched::Repeated;
        }
        if self.rest.is_some() {
            let own = &mut self.basis;
            if own.chain != piece.chain || own.end != piece.end {
                return Fetched::Changed;
            }
            own.low = piece.low;
            own.entries.append(&mut piece.entries);
            own.marks.append(&mut piece.marks);
            own.records.append(&mut piece.records);
        } else {
            self.basis = piece;
        }
        self.since_ms = context.now.ms;
        if rest.is_none() {
            return Fetched::All(std::mem::take(&mut self.basis));
        }
        self.rest = rest;
        self.ask(slot, log, context);
        Fetched::Part
    }
}
