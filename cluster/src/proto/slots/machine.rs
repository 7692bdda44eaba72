//! One slot on one node.

use super::context::Context;
use super::follow::Taking;
use super::log::Log;
use super::open::Opening;
use super::owner::Ownership;
use super::rules::Rule;
use super::{Action, Eid, NodeId, Reign, Settings, SlotNo, Stored, StoredSlot};

/// What a node is for a slot. A restart voids it.
#[derive(Clone, Debug, Default)]
pub(super) enum Role {
    /// Nothing, or it answers for an epoch that others open.
    #[default]
    None,
    /// It fetches what it lacks to follow an epoch.
    Taking(Box<Taking>),
    /// The follower of an epoch.
    Following(Eid),
    /// It is opening an epoch.
    Opening(Box<Opening>),
    /// It owns the slot.
    Open(Box<Ownership>),
}

/// One slot on one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) slot: SlotNo,
    /// The highest epoch sealed for.
    pub(super) promise: Eid,
    /// The epoch that it was sealed for last in this boot.
    pub(super) sealed: Option<Eid>,
    /// Who held the slot at the last epoch that a quorum knows.
    pub(super) record: Option<Reign>,
    pub(super) log: Log,
    /// The newest part of the log may be missing.
    pub(super) suspect: bool,
    pub(super) role: Role,
    /// The highest counter of any epoch heard of.
    pub(super) seen: u64,
    /// What each node says it owns the slot since.
    pub(super) claims: std::collections::BTreeMap<NodeId, Eid>,
    /// Since when it is for this node to open the slot.
    pub(super) due_since_ms: Option<u64>,
    /// Not to try again before.
    pub(super) not_before_ms: u64,
    /// Attempts in a row that came to nothing more than before.
    pub(super) attempts: u32,
    /// What is missing of the log, and from whom to get it.
    pub(super) fill: Option<super::fill::Filling>,
}

impl Machine {
    /// A slot as it was stored.
    pub(super) fn load(
        slot: SlotNo,
        stored: StoredSlot,
        unclean: bool,
        settings: &Settings,
    ) -> Self {
        let is_used = stored.promise != Eid::default() || stored.log != Stored::default();
        let suspect = stored.log.suspect || (unclean && is_used);
        let (known_ms, limits_of) = (settings.limits.known_ms, settings.limits_of.clone());
        let log = Log::load(stored.log, known_ms, limits_of);
        let epochs = log.chain.0.iter().map(|(eid, _)| eid.counter);
        Self {
            slot,
            seen: epochs.max().unwrap_or(0).max(stored.promise.counter),
            promise: stored.promise,
            record: stored.record,
            log,
            suspect,
            ..Self::default()
        }
    }

    pub(super) fn see(&mut self, eid: Eid) {
        self.seen = self.seen.max(eid.counter);
    }

    /// The epoch that this node owns the slot in.
    pub(super) fn open_eid(&self) -> Option<Eid> {
        match &self.role {
            Role::Open(owned) => Some(owned.eid),
            _ => None,
        }
    }

    /// Whoever is taken for the owner, with its epoch.
    pub(super) fn owner(&self, context: &Context) -> Option<(Eid, NodeId)> {
        let own = self.open_eid().map(|eid| (eid, context.id));
        let others = self
            .claims
            .iter()
            .filter(|(node, _)| context.is_alive(**node));
        others.map(|(node, eid)| (*eid, *node)).chain(own).max()
    }

    /// Gives up whatever it is for the slot. All that waited is told.
    pub(super) fn close(&mut self, context: &mut Context) {
        // What was added this turn is part of the log that the next epoch begins on.
        if context.rules.keep(Rule::StoreAtClose) {
            self.pump(context);
        }
        if let Role::Open(owned) = std::mem::take(&mut self.role) {
            context.actions.push(Action::Closed {
                slot: self.slot,
                eid: owned.eid,
            });
            owned.turn_away(self.slot, context);
        }
    }
}
