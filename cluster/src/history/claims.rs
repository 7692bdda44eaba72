//! Who says that it owns which slot: heard directly, at once, and by gossip, late but surely.
//!
//! Both are about the same node, and either may be behind the other. The epochs that one start of a
//! node opens a slot in rise, so the higher epoch is the later word, and a closed one stays closed.

use std::collections::BTreeMap;

use crate::proto::slots::{Eid, NodeId, SlotNo};

/// How long a claim that was heard directly may be missing from gossip: its end was lost.
const LATE_MS: u64 = 5000;

/// What one node said last of one slot.
#[derive(Clone, Copy, Debug)]
struct Claim {
    eid: Eid,
    is_open: bool,
    is_gossiped: bool,
    since_ms: u64,
}

/// A node's claims since one of its starts.
#[derive(Debug, Default)]
struct Of {
    boot: u64,
    slots: BTreeMap<SlotNo, Claim>,
}

/// What is new: the node owns the slot in this epoch, or does not own it.
pub(super) type Changed = (NodeId, SlotNo, Option<Eid>);

/// All claims of other nodes.
#[derive(Debug, Default)]
pub(super) struct Claims {
    of: BTreeMap<NodeId, Of>,
}

impl Claims {
    /// A node said that it owns slots, or that it does not any more.
    pub(super) fn told(
        &mut self,
        from: (NodeId, u64),
        claims: &[(SlotNo, Eid, bool)],
        now_ms: u64,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        if let Some(of) = self.of(from, &mut changed) {
            for (slot, eid, is_open) in claims {
                changed.extend(of.hear(*slot, (*eid, *is_open), now_ms));
            }
        }
        changed
            .into_iter()
            .map(|(slot, eid)| (from.0, slot, eid))
            .collect()
    }

    /// All that a node owns, by gossip.
    pub(super) fn gossiped(
        &mut self,
        from: (NodeId, u64),
        claims: &BTreeMap<SlotNo, Eid>,
        now_ms: u64,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        if let Some(of) = self.of(from, &mut changed) {
            for (slot, eid) in claims {
                changed.extend(of.hear(*slot, (*eid, true), now_ms));
                if let Some(claim) = of.slots.get_mut(slot).filter(|claim| claim.eid == *eid) {
                    claim.is_gossiped = true;
                }
            }
            for (slot, claim) in &mut of.slots {
                let is_over = claim.is_gossiped || now_ms >= claim.since_ms + LATE_MS;
                if claim.is_open && is_over && !claims.contains_key(slot) {
                    claim.is_open = false;
                    changed.push((*slot, None));
                }
            }
        }
        changed
            .into_iter()
            .map(|(slot, eid)| (from.0, slot, eid))
            .collect()
    }

    /// The claims of a node's latest start; none if this is an earlier one.
    fn of(
        &mut self,
        (node, boot): (NodeId, u64),
        changed: &mut Vec<(SlotNo, Option<Eid>)>,
    ) -> Option<&mut Of> {
        let of = self.of.entry(node).or_default();
        if of.boot < boot {
            let open = of.slots.iter().filter(|(_, claim)| claim.is_open);
            changed.extend(open.map(|(slot, _)| (*slot, None)));
            let slots = BTreeMap::new();
            *of = Of { boot, slots };
        }
        (of.boot == boot).then_some(of)
    }
}

impl Of {
    fn hear(
        &mut self,
        slot: SlotNo,
        (eid, is_open): (Eid, bool),
        now_ms: u64,
    ) -> Option<(SlotNo, Option<Eid>)> {
        let known = self.slots.get(&slot);
        let is_news = known
            .is_none_or(|known| known.eid < eid || (known.eid == eid && known.is_open && !is_open));
        if !is_news {
            return None;
        }
        let was_open = known.is_some_and(|known| known.is_open);
        let claim = Claim {
            eid,
            is_open,
            is_gossiped: false,
            since_ms: now_ms,
        };
        self.slots.insert(slot, claim);
        (is_open || was_open).then_some((slot, is_open.then_some(eid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    fn eid(counter: u64) -> Eid {
        Eid { counter, random: 1 }
    }

    fn all(claims: &[(SlotNo, u64)]) -> BTreeMap<SlotNo, Eid> {
        claims.iter().map(|(slot, it)| (*slot, eid(*it))).collect()
    }

    #[test]
    fn late_gossip_does_not_undo_what_was_told() {
        let mut claims = Claims::default();
        let opened = claims.told((NODE, 1), &[(3, eid(5), true)], 0);
        assert_eq!(opened, [(NODE, 3, Some(eid(5)))]);
        assert_eq!(claims.gossiped((NODE, 1), &all(&[]), 100), []);
        assert_eq!(claims.gossiped((NODE, 1), &all(&[(3, 4)]), 200), []);
        let closed = claims.told((NODE, 1), &[(3, eid(5), false)], 300);
        assert_eq!(closed, [(NODE, 3, None)]);
        assert_eq!(claims.gossiped((NODE, 1), &all(&[(3, 5)]), 400), []);
        let opened = claims.gossiped((NODE, 1), &all(&[(3, 6)]), 500);
        assert_eq!(opened, [(NODE, 3, Some(eid(6)))]);
    }

    #[test]
    fn gossip_mends_what_was_lost() {
        let mut claims = Claims::default();
        claims.told((NODE, 1), &[(3, eid(5), true)], 0);
        assert_eq!(claims.gossiped((NODE, 1), &all(&[(3, 5)]), 100), []);
        let closed = claims.gossiped((NODE, 1), &all(&[]), 200);
        assert_eq!(closed, [(NODE, 3, None)]);
        // The end of one that gossip never had was lost.
        claims.told((NODE, 1), &[(4, eid(5), true)], 300);
        let closed = claims.gossiped((NODE, 1), &all(&[]), 300 + LATE_MS);
        assert_eq!(closed, [(NODE, 4, None)]);
    }

    #[test]
    fn a_restart_voids_all_claims() {
        let mut claims = Claims::default();
        claims.told((NODE, 1), &[(3, eid(5), true)], 0);
        assert_eq!(claims.gossiped((NODE, 2), &all(&[]), 1), [(NODE, 3, None)]);
        assert_eq!(claims.told((NODE, 1), &[(3, eid(9), true)], 2), []);
        // The number of an epoch that was given up may be used again.
        let opened = claims.told((NODE, 2), &[(3, eid(5), true)], 3);
        assert_eq!(opened, [(NODE, 3, Some(eid(5)))]);
    }
}
