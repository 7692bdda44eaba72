//! OPEN, the side of those that are sealed, serve the base, and note who holds the slot.

use super::context::{Context, Then};
use super::log::Rest;
use super::machine::{Machine, Role};
use super::piece::Piece;
use super::rules::Rule;
use super::{Action, Chain, Eid, Message, NodeId, Reign, Sealed};

impl Machine {
    /// Step 1: promises to follow no lower epoch, and says what it has.
    pub(super) fn on_seal(&mut self, from: NodeId, eid: Eid, context: &mut Context) {
        self.see(eid);
        // A promise of an earlier boot only serves to refuse: this node may have followed that
        // epoch
        // and lost what it copied.
        let voided = eid == self.promise && self.sealed != Some(eid);
        let voided = voided && context.rules.keep(Rule::RestartVoidsPromise);
        if voided || (eid < self.promise && context.rules.keep(Rule::RefuseLower)) {
            let promise = self.promise;
            return context.send(from, self.slot, Message::Refused { eid, promise });
        }
        let own = matches!(&self.role, Role::Opening(opening) if opening.eid == eid);
        self.sealed = Some(eid);
        if self.promise != eid {
            self.promise = eid;
            if !own && context.rules.keep(Rule::SealCloses) {
                self.close(context);
            }
        } else if !matches!(self.role, Role::None) && !own {
            // Asked again, late: it has gone on from there.
            return;
        }
        let sealed = Sealed {
            record: self.record.clone(),
            chain: self.log.chain.clone(),
            end: self.log.end,
            from: self.log.from,
            suspect: self.suspect,
            size: context.size(),
        };
        let message = Message::Sealed { eid, sealed };
        self.sync(Rule::SyncPromise, from, message, context);
    }

    /// Answers when the promise and the record are on the disk.
    fn sync(&mut self, rule: Rule, to: NodeId, message: Message, context: &mut Context) {
        let then = if context.rules.keep(rule) {
            context.send_stored(to, self.slot, message)
        } else {
            context.send(to, self.slot, message.clone());
            // Nobody: what was meant for the asker has gone already.
            Then::Flushed(self.slot, Eid::default(), 0)
        };
        let token = context.wait(then);
        context.actions.push(Action::Sync {
            slot: self.slot,
            promise: self.promise,
            record: self.record.clone(),
            token,
        });
    }

    /// Step 3: the base is served only while no other epoch is being opened; the follower, while it
    /// is waited for.
    pub(super) fn on_fetch(
        &mut self,
        from: NodeId,
        eid: Eid,
        (chain, end): (&Chain, u64),
        rest: Option<Rest>,
        context: &mut Context,
    ) {
        // One that became suspect after it answered is not what was chosen. Nor is one that has
        // restarted: it may be the opener, without what it was opening on.
        let voided = self.sealed != Some(eid) && context.rules.keep(Rule::RestartVoidsPromise);
        let suspect = self.suspect && context.rules.keep(Rule::SuspectIsNoBase);
        let changed = suspect || (self.promise == eid && voided);
        let promised = self.promise == eid || !context.rules.keep(Rule::FetchWhilePromised);
        if changed || !promised || !self.serves(from, eid, &rest, context) {
            let promise = self.promise;
            return context.send(from, self.slot, Message::Refused { eid, promise });
        }
        let piece = Piece::new(&context.settings);
        let (basis, next) = self.log.basis((chain, end), rest.clone(), piece);
        let message = Message::Fetched {
            eid,
            asked: rest,
            basis,
            rest: next,
        };
        context.send(from, self.slot, message);
    }

    /// Step 4: notes who holds the slot.
    pub(super) fn on_install(&mut self, from: NodeId, reign: Reign, context: &mut Context) {
        let eid = reign.eid;
        if self.promise != eid && context.rules.keep(Rule::InstallWhilePromised) {
            return;
        }
        self.record = Some(reign);
        let message = Message::Installed { eid };
        self.sync(Rule::SyncReign, from, message, context);
    }
}
