//! What there is to see of a slot from outside: for status and metrics.

use super::machine::Role;
use super::{Eid, NodeId, SlotNo, Slots};

/// A slot as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Who is taken for its owner, since which epoch.
    pub owner: Option<(Eid, NodeId)>,
    /// What there is to say if that is this node.
    pub owned: Option<Owned>,
    /// Entries in this node's copy of the log, and those that can be read.
    pub entries: usize,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Records of connections.
    pub records: usize,
}

/// A slot that this node owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Since which epoch.
    pub eid: Eid,
    /// Who holds it: this node and its follower.
    pub copies: Vec<NodeId>,
    /// Whether a quorum knows.
    pub kept: bool,
    /// Up to where it can be read.
    pub commit: u64,
    /// Nodes that are fed.
    pub listeners: usize,
}

impl Slots {
    /// How a slot is.
    pub fn look(&self, slot: SlotNo) -> Look {
        let Some(machine) = self.machines.get(usize::from(slot)) else {
            return Look::default();
        };
        let owned = match &machine.role {
            Role::Open(owned) => Some(Owned {
                eid: owned.eid,
                copies: owned.copies.clone(),
                kept: owned.kept,
                commit: owned.commit,
                listeners: owned.feeder.streams().count(),
            }),
            _ => None,
        };
        let (entries, bytes) = machine.log.held();
        Look {
            owner: machine.owner(&self.context),
            owned,
            entries,
            bytes,
            records: machine.log.records.len(),
        }
    }
}
