//! When a slot is opened, and all else that time brings.

use super::context::Context;
use super::machine::{Machine, Role};
use super::rules::Rule;

/// How long a node must be the first in the order of a slot before it opens it.
const FIRST_MS: u64 = 1000;

impl Machine {
    pub(super) fn tick(&mut self, context: &mut Context) {
        self.advance(context);
        self.take_again(context);
        self.copy_again(context);
        self.sweep(context);
        self.ask_fill(context);
        self.trim(context);
        self.consider(context);
    }

    /// Up to where entries may be dropped.
    fn droppable(&self) -> Option<u64> {
        match &self.role {
            Role::Open(owned) => Some(owned.commit),
            // An owner that is being opened answers for what it has.
            Role::Opening(_) => None,
            _ => Some(self.log.end),
        }
    }

    /// When the oldest entry was taken that may be dropped.
    pub(super) fn oldest(&self) -> Option<u64> {
        Some(self.log.first_to_go(self.droppable()?)?.0)
    }

    /// Drops some of the oldest entries, as far as that is needed.
    pub(super) fn shed(&mut self, excess: u64, context: &mut Context) {
        let Some(upto) = self.droppable() else {
            return;
        };
        let mut writes = Vec::new();
        self.log.shed(upto, excess, &mut writes);
        context.store(self.slot, writes, None);
    }

    fn trim(&mut self, context: &mut Context) {
        let Some(upto) = self.droppable() else {
            return;
        };
        let mut writes = Vec::new();
        let limits = context.settings.limits;
        self.log
            .trim(&limits, context.now.wall_ms, upto, &mut writes);
        context.store(self.slot, writes, None);
    }

    fn consider(&mut self, context: &mut Context) {
        let now_ms = context.now.ms;
        if matches!(self.role, Role::Opening(_)) {
            return;
        }
        let owner = self.owner(context);
        if let Role::Open(owned) = &self.role {
            if owner.is_some_and(|(eid, _)| eid > owned.eid) {
                // Another could open without this node; what is appended here has no future.
                return self.close(context);
            }
            if owned.is_late(now_ms) {
                return self.start_open(context);
            }
        }
        if !self.is_due(context) {
            self.due_since_ms = None;
            return;
        }
        let since = *self.due_since_ms.get_or_insert(now_ms);
        let wait_ms = if context.size() == 1 { 0 } else { FIRST_MS };
        if now_ms >= since + wait_ms && now_ms >= self.not_before_ms {
            self.start_open(context);
        }
    }

    /// Whether it is for this node to open the slot.
    fn is_due(&self, context: &Context) -> bool {
        let order = context.order(self.slot);
        if order.first() != Some(&context.id) {
            return false;
        }
        let Role::Open(owned) = &self.role else {
            return true;
        };
        let can_be_kept = context.alive > context.size() / 2;
        // A quorum of the larger cluster must know who held the slot, too.
        let has_grown = context.size() > owned.size && context.rules.keep(Rule::OpenWhenGrown);
        has_grown || owned.follower() != order.get(1).copied() || (!owned.kept && can_be_kept)
    }
}
