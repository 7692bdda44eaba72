//! OPEN, the side of those that are sealed, follow and fill up others.

use super::context::{Context, Then};
use super::log::Basis;
use super::machine::{Machine, Role};
use super::rules::Rule;
use super::{Action, Chain, Eid, Message, NodeId, Reign, Sealed, Write};

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

    /// Step 3: the base is served only while no other epoch is being opened.
    pub(super) fn on_fetch(
        &mut self,
        from: NodeId,
        eid: Eid,
        chain: &Chain,
        end: u64,
        context: &mut Context,
    ) {
        // One that became suspect after it answered is not what was chosen.
        let changed = self.suspect && context.rules.keep(Rule::SuspectIsNoBase);
        if changed || (self.promise != eid && context.rules.keep(Rule::FetchWhilePromised)) {
            let promise = self.promise;
            return context.send(from, self.slot, Message::Refused { eid, promise });
        }
        let basis = self.log.basis(chain, end, context.settings.fetch_entries);
        context.send(from, self.slot, Message::Fetched { eid, basis });
    }

    /// Step 3: becomes the follower.
    pub(super) fn on_follow(
        &mut self,
        from: NodeId,
        eid: Eid,
        mut basis: Basis,
        sources: Vec<NodeId>,
        context: &mut Context,
    ) {
        if matches!(self.role, Role::Following(own) if own == eid) {
            // Asked again. The first answer may be lost, and entries may have come since.
            let then = context.send_stored(from, self.slot, Message::Followed { eid });
            return context.store(self.slot, Vec::new(), Some(then));
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
        self.fill = super::fill::Filling::new(sources);
        let then = context.send_stored(from, self.slot, Message::Followed { eid });
        context.store(self.slot, writes, Some(then));
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

    /// The owner's next entries.
    pub(super) fn on_copy(
        &mut self,
        from: NodeId,
        eid: Eid,
        prev: u64,
        entries: Vec<std::sync::Arc<super::Entry>>,
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
        for entry in entries {
            if entry.position.seq > self.log.end {
                self.put_record(&entry, &mut writes);
                writes.push(Write::Put(entry.clone()));
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

    /// What an entry changes in the table of records, as it is stored.
    pub(super) fn put_record(&self, entry: &super::Entry, writes: &mut Vec<Write>) {
        if let super::Body::Record { pid, record } = &entry.body {
            let seq = entry.position.seq;
            let kept = record.clone().map(|record| super::Kept { record, seq });
            writes.push(Write::Record(pid.clone(), kept));
        }
    }
}
