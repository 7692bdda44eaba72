//! What the simulation looks at.

use super::machine::Role;
use super::{Chain, Eid, NodeId, SlotNo, Slots};

/// A slot on a node, from inside.
#[derive(Clone, Debug)]
pub(crate) struct Peek {
    pub(crate) promise: Eid,
    pub(crate) chain: Chain,
    pub(crate) from: u64,
    pub(crate) suspect: bool,
    pub(crate) open: Option<(Eid, bool, u64)>,
    pub(crate) copies: Vec<NodeId>,
    pub(crate) following: Option<Eid>,
    pub(crate) filling: bool,
    pub(crate) size: u64,
}

impl Slots {
    pub(crate) fn peek(&self, slot: SlotNo) -> Peek {
        let machine = &self.machines[usize::from(slot)];
        let mut peek = Peek {
            promise: machine.promise,
            chain: machine.log.chain.clone(),
            from: machine.log.from,
            suspect: machine.suspect,
            open: None,
            copies: Vec::new(),
            following: None,
            filling: machine.fill.is_some(),
            size: 0,
        };
        match &machine.role {
            Role::Open(owned) => {
                peek.open = Some((owned.eid, owned.kept, owned.commit));
                peek.copies.clone_from(&owned.copies);
                peek.size = owned.size;
            }
            Role::Following(eid) => peek.following = Some(*eid),
            _ => {}
        }
        peek
    }

    /// Opens a slot now, whatever time it is.
    pub(crate) fn open_now(&mut self, slot: SlotNo) {
        self.touched.insert(slot);
        self.machines[usize::from(slot)].start_open(&mut self.context);
    }

    /// What decides over all that can become of a slot here, but for what is fed.
    pub(crate) fn print(&self, slot: SlotNo) -> impl std::hash::Hash {
        let machine = &self.machines[usize::from(slot)];
        let log = &machine.log;
        let entries: Vec<_> = log.entries.values().map(|entry| entry.position).collect();
        let promises = (machine.promise, machine.sealed, machine.suspect);
        let text = format!(
            "{:?} {:?} {:?} {:?}",
            machine.record, machine.role, self.context.view.alive, log.chain
        );
        (promises, text, entries, (log.end, log.from, machine.seen))
    }

    /// All rooms' entries that can be read, up to a number.
    pub(crate) fn readable(&self, slot: SlotNo) -> Vec<u64> {
        let log = &self.machines[usize::from(slot)].log;
        let entries = log.entries.iter().filter(|(seq, _)| **seq > log.from);
        entries.map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn trimmed(&self, slot: SlotNo, room: &super::Room) -> u64 {
        let log = &self.machines[usize::from(slot)].log;
        log.trimmed.get(room).copied().unwrap_or(0)
    }

    pub(crate) fn homes(&self, slot: SlotNo) -> Vec<(super::Pid, super::Record)> {
        let log = &self.machines[usize::from(slot)].log;
        let records = log.records.iter();
        records
            .map(|(pid, kept)| (pid.clone(), kept.record.clone()))
            .collect()
    }
}
