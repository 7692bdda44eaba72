//! Steps 4 and 5 of OPEN: a quorum stores who holds the slot, then the opener owns it.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::machine::{Machine, Role};
use super::super::owner::Ownership;
use super::super::{Action, Eid, Message, NodeId, Reign, Sealed};
use super::{Stage, base};

impl Machine {
    /// Step 4: who holds the slot is to be known to a quorum, if it may be.
    pub(super) fn install(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &self.role else {
            return;
        };
        let copied = opening.in_step || context.size() == 1;
        if copied && base::may_install(&opening.answers, context) {
            self.enter(Stage::Installing, context);
            self.ask_installs(context);
        } else {
            self.finish(false, context);
        }
    }

    pub(super) fn ask_installs(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        opening.asked_ms = context.now.ms;
        let reign = Reign {
            eid: opening.eid,
            copies: opening.copies(context.id),
        };
        let missing = opening
            .answers
            .keys()
            .filter(|it| !opening.installed.contains(it));
        for node in missing.copied().collect::<Vec<_>>() {
            let reign = reign.clone();
            context.send(node, self.slot, Message::Install { reign });
        }
    }

    pub(in super::super) fn on_installed(&mut self, from: NodeId, eid: Eid, context: &mut Context) {
        if let Some(opening) = self.opening(eid)
            && opening.stage == Stage::Installing
        {
            opening.installed.insert(from);
            self.advance(context);
        }
    }

    /// Step 5.
    pub(super) fn finish(&mut self, kept: bool, context: &mut Context) {
        let Role::Opening(opening) = std::mem::take(&mut self.role) else {
            return;
        };
        if self.promise != opening.eid {
            return self.abort(context);
        }
        let copies = opening.copies(context.id);
        context.actions.push(Action::Opened {
            slot: self.slot,
            eid: opening.eid,
            copies: copies.clone(),
            kept,
            cut: opening.is_cut,
        });
        context.opened.push(self.slot);
        self.claims.remove(&context.id);
        self.due_since_ms = None;
        if kept {
            self.attempts = 0;
        } else {
            self.back_off(context);
        }
        let (eid, end) = (opening.eid, opening.base_end);
        let size = size(&opening.answers, context);
        let owned = Ownership::new(eid, copies, (kept, size), end, context);
        self.role = Role::Open(Box::new(owned));
    }
}

/// How many nodes the cluster has, by what all that were sealed know.
fn size(answers: &BTreeMap<NodeId, Sealed>, context: &Context) -> u64 {
    let sizes = answers.values().map(|sealed| sealed.size);
    sizes.fold(context.size(), u64::max)
}

pub(super) fn quorum(answers: &BTreeMap<NodeId, Sealed>, context: &Context) -> u64 {
    size(answers, context) / 2 + 1
}
