//! The follower of an epoch: how it becomes one, and takes what the owner appends.

use std::sync::Arc;

use super::context::Context;
use super::fetch::{Fetched, Fetching};
use super::fill::Filling;
use super::log::{Basis, Rest};
use super::machine::{Machine, Role};
use super::rules::Rule;
use super::{Body, Eid, Entry, Kept, Message, NodeId, Write};

/// How long the opener may be silent.
const SILENCE_MS: u64 = 3000;

/// What is fetched to follow an epoch.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    fetching: Fetching,
    /// Who may have what the opener has not.
    sources: Vec<NodeId>,
}

impl Machine {
    /// Step 3: is to become the follower.
    pub(super) fn on_follow(
        &mut self,
        from: NodeId,
        eid: Eid,
        sources: Vec<NodeId>,
        context: &mut Context,
    ) {
        if matches!(self.role, Role::Following(own) if own == eid) {
            // Asked again. The first answer may be lost, and entries may have come since.
            let then = context.send_stored(from, self.slot, Message::Followed { eid });
            return context.store(self.slot, Vec::new(), Some(then));
        }
        if matches!(&self.role, Role::Taking(taking) if taking.fetching.eid() == eid) {
            return;
        }
        let promised = self.promise == eid || !context.rules.keep(Rule::FollowWhilePromised);
        let voided = self.sealed != Some(eid) && context.rules.keep(Rule::RestartVoidsPromise);
        if !promised || (voided && self.promise == eid) {
            return;
        }
        if self.log.chain.has(eid) {
            // Late: it has gone on from there.
            return;
        }
        let fetching = Fetching::start((self.slot, eid), from, &self.log, context);
        self.role = Role::Taking(Box::new(Taking { fetching, sources }));
    }

    /// A piece of what it lacks.
    pub(super) fn take_piece(
        &mut self,
        from: NodeId,
        eid: Eid,
        piece: (Option<Rest>, Basis, Option<Rest>),
        context: &mut Context,
    ) {
        let taking = match &mut self.role {
            Role::Taking(taking) if taking.fetching.eid() == eid => taking,
            _ => return,
        };
        let fetched = taking
            .fetching
            .take((self.slot, from), piece, &self.log, context);
        match fetched {
            Fetched::Repeated | Fetched::Part => {}
            Fetched::Changed => self.role = Role::None,
            Fetched::All(basis) => {
                let sources = std::mem::take(&mut taking.sources);
                self.follow((from, eid), basis, sources, context);
            }
        }
    }

    /// Has all that it needs.
    fn follow(
        &mut self,
        (owner, eid): (NodeId, Eid),
        mut basis: Basis,
        sources: Vec<NodeId>,
        context: &mut Context,
    ) {
        let mut writes = Vec::new();
        if !context.rules.keep(Rule::TransferRecords) {
            basis.records = self.log.records.clone().into_iter().collect();
        }
        if basis.chain.0.len() == 1 {
            // A cut, on which nothing goes on.
            self.log.cut(basis.end, &mut writes);
        }
        self.log
            .adopt(basis, &mut writes, context.rules.keep(Rule::DropUnfit));
        self.suspect = false;
        writes.push(Write::Suspect(false));
        self.role = Role::Following(eid);
        self.fill = Filling::new(sources);
        let then = context.send_stored(owner, self.slot, Message::Followed { eid });
        context.store(self.slot, writes, Some(then));
    }

    /// The opener does not serve it any more.
    pub(super) fn give_up_taking(&mut self, eid: Eid) {
        if matches!(&self.role, Role::Taking(taking) if taking.fetching.eid() == eid) {
            self.role = Role::None;
        }
    }

    /// Asks again for what does not come, for a while.
    pub(super) fn take_again(&mut self, context: &mut Context) {
        let Role::Taking(taking) = &mut self.role else {
            return;
        };
        if context.now.ms >= taking.fetching.since_ms + SILENCE_MS {
            self.role = Role::None;
        } else {
            taking.fetching.ask_again(self.slot, &self.log, context);
        }
    }

    /// The owner's next entries.
    pub(super) fn on_copy(
        &mut self,
        from: NodeId,
        eid: Eid,
        prev: u64,
        entries: Vec<Arc<Entry>>,
        context: &mut Context,
    ) {
        let follows = matches!(self.role, Role::Following(own) if own == eid)
            || (!context.rules.keep(Rule::RestartVoids) && self.log.chain.last() == Some(eid));
        let strict = context.rules.keep(Rule::CopyWhilePromised);
        let loose = !strict && self.log.chain.last() == Some(eid);
        if (self.promise != eid || !follows) && !loose {
            let promise = self.promise;
            return context.send(from, self.slot, Message::CopyRefused { eid, promise });
        }
        if prev > self.log.end && context.rules.keep(Rule::CopyContiguous) {
            // Something is under way, or lost: the owner sends again.
            return;
        }
        let mut writes = Vec::new();
        for (seq, entry) in (prev + 1..).zip(entries) {
            if entry.position.seq != seq && context.rules.keep(Rule::CopyContiguous) {
                break;
            }
            if seq > self.log.end {
                put_record(&entry, &mut writes);
                writes.push(Write::Put(Arc::clone(&entry)));
                self.log.push(entry);
            }
        }
        let seq = self.log.end;
        let message = Message::Copied { eid, seq };
        if context.rules.keep(Rule::FlushCopy) {
            let then = context.send_stored(from, self.slot, message);
            context.store(self.slot, writes, Some(then));
        } else {
            context.send(from, self.slot, message);
            context.store(self.slot, writes, None);
        }
    }
}

/// What an entry changes in the table of records, as it is stored.
pub(super) fn put_record(entry: &Entry, writes: &mut Vec<Write>) {
    if let Body::Record { pid, record } = &entry.body {
        let seq = entry.position.seq;
        let kept = record.clone().map(|record| Kept { record, seq });
        writes.push(Write::Record(pid.clone(), kept));
    }
}
