//! What owners say now and then, one message per node for all slots: so that what is lost is
//! noticed where nothing else is said.

use std::collections::BTreeMap;

use super::machine::Role;
use super::{Eid, Message, NodeId, SlotNo, Slots};

/// How often.
const BEAT_MS: u64 = 1000;

impl Slots {
    pub(super) fn beat(&mut self) {
        if self.context.now.ms < self.beat_ms + BEAT_MS {
            return;
        }
        self.beat_ms = self.context.now.ms;
        let mut feeding = BTreeMap::<NodeId, Vec<_>>::new();
        let mut holding = BTreeMap::<NodeId, Vec<_>>::new();
        for machine in &self.machines {
            let Role::Open(owned) = &machine.role else {
                continue;
            };
            for (node, stream, sent) in owned.feeder.streams() {
                feeding
                    .entry(node)
                    .or_default()
                    .push((machine.slot, stream, sent));
            }
            if let Some(follower) = owned.follower() {
                holding
                    .entry(follower)
                    .or_default()
                    .push((machine.slot, owned.eid));
            }
        }
        feeding.remove(&self.context.id);
        for (node, streams) in feeding {
            self.context.send(node, 0, Message::Feeding { streams });
        }
        for (node, slots) in holding {
            self.context.send(node, 0, Message::Holding { slots });
        }
    }

    /// A follower that does not follow any more says so, though nothing is appended.
    pub(super) fn holding(&mut self, from: NodeId, slots: Vec<(SlotNo, Eid)>) {
        for (slot, eid) in slots {
            let Some(machine) = self.machines.get(usize::from(slot)) else {
                continue;
            };
            if !matches!(machine.role, Role::Following(own) if own == eid) {
                let promise = machine.promise;
                let message = Message::CopyRefused { eid, promise };
                self.context.send(from, slot, message);
            }
        }
    }
}
