//! The other nodes, as the driver sees them: who is there, and the ways to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use super::claims::{Changed, Claims};
use super::figures::{Known, Roster};
use crate::Cluster;
use crate::membership::{Holder, Holding, Holds};
use crate::net::history::{self, Claimed};
use crate::proto::Lifecycle;
use crate::proto::slots::{Eid, Message, NodeId, SlotNo, View};

/// What a look at the others has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who is there.
    pub(super) view: View,
    /// Who owns what, where that is new.
    pub(super) claims: Vec<Changed>,
    /// Whom the others will not hear again.
    pub(super) forgotten: BTreeSet<NodeId>,
}

/// The ways to the cluster's other nodes, if there is a cluster.
pub(super) struct Peers {
    own: Holding,
    /// Whether what is gossiped of this node is behind.
    is_new: bool,
    /// What was opened and closed since the peers were told.
    untold: Claimed,
    cluster: Option<Cluster>,
    holders: Option<watch::Receiver<Arc<Vec<Holder>>>>,
    claims: Claims,
    /// Who is there, by id: name and start.
    names: BTreeMap<NodeId, (Arc<str>, u64)>,
    /// Names of all that were there since the start.
    known: BTreeMap<NodeId, Arc<str>>,
    /// Who is to hold slots.
    ready: BTreeSet<NodeId>,
    is_ready: bool,
}

impl Peers {
    pub(super) fn new(
        (id, boot): (NodeId, u64),
        forgotten: BTreeSet<NodeId>,
        cluster: Option<Cluster>,
    ) -> Self {
        let own = Holding {
            id,
            boot,
            holds: Holds::Yes,
            claims: BTreeMap::new(),
            forgotten,
        };
        let holders = cluster.as_ref().map(|it| it.core.holders.subscribe());
        Self {
            own,
            is_new: true,
            untold: Vec::new(),
            cluster,
            holders,
            claims: Claims::default(),
            names: BTreeMap::new(),
            known: BTreeMap::new(),
            ready: BTreeSet::new(),
            is_ready: false,
        }
    }

    /// Whether other nodes were configured, so that a node that knows none is not all there is.
    pub(super) fn has_seeds(&self) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|it| !it.core.config.seeds.is_empty())
    }

    /// Whether this node is to hold slots, and whether it can.
    pub(super) fn hold(&mut self, holds: Holds) {
        self.is_new |= self.own.holds != holds;
        self.own.holds = holds;
    }

    /// Whether another node could own a slot.
    pub(super) fn has_heirs(&self) -> bool {
        self.ready.iter().any(|id| *id != self.own.id)
    }

    /// The name of a node that is there.
    pub(super) fn name(&self, id: NodeId) -> Option<&Arc<str>> {
        match &self.cluster {
            Some(cluster) if id == self.own.id => Some(cluster.node()),
            _ => self.names.get(&id).map(|(name, _)| name),
        }
    }

    /// What is known of the nodes that are counted.
    pub(super) fn roster(&self, counted: &BTreeSet<NodeId>, size: u64) -> Roster {
        let nodes = counted.iter().map(|id| Known {
            id: *id,
            name: self.name(*id).or_else(|| self.known.get(id)).cloned(),
            alive: self.is_own(*id) || self.names.contains_key(id),
            ready: self.ready.contains(id),
        });
        Roster {
            nodes: nodes.collect(),
            size,
            quorum: size / 2 + 1,
        }
    }

    /// Messages that gave way as a peer did not keep up.
    pub(super) fn dropped(&self) -> u64 {
        let cluster = self.cluster.as_ref();
        cluster.map_or(0, |it| it.core.figures.history_dropped.load(Relaxed))
    }

    /// Waits until gossip says something new. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if let Some(holders) = &mut self.holders
            && holders.changed().await.is_ok()
        {
            // Seen when it is looked at.
            return holders.mark_changed();
        }
        std::future::pending().await
    }

    /// Whether an id is this node's.
    pub(super) fn is_own(&self, id: NodeId) -> bool {
        id == self.own.id
    }

    /// Looks who is there, if that has changed or is due.
    pub(super) fn look(&mut self, now_ms: u64, is_due: bool) -> Option<Seen> {
        let lifecycle = self.cluster.as_ref().map(Cluster::lifecycle);
        let is_ready =
            self.own.holds == Holds::Yes && lifecycle.is_none_or(|it| it == Lifecycle::Ready);
        let is_new = |it: &watch::Receiver<_>| it.has_changed().unwrap_or(false);
        let is_new = self.holders.as_ref().is_some_and(is_new);
        if std::mem::replace(&mut self.is_ready, is_ready) == is_ready && !is_new && !is_due {
            return None;
        }
        let mut seen = Seen::default();
        seen.view.alive.insert(self.own.id);
        seen.view.boots.insert(self.own.id, self.own.boot);
        if is_ready {
            seen.view.ready.insert(self.own.id);
        }
        let holders = self
            .holders
            .as_mut()
            .map(|it| it.borrow_and_update().clone());
        self.names.clear();
        for Holder {
            name,
            lifecycle,
            holding,
        } in holders.iter().flat_map(|it| &**it)
        {
            let (id, boot) = (holding.id, holding.boot);
            // A copy of a node's data is not a node; whoever was started last speaks for it.
            if id == self.own.id || self.names.get(&id).is_some_and(|it| it.1 > boot) {
                continue;
            }
            self.names.insert(id, (name.clone(), boot));
            if holding.holds == Holds::Fails {
                // It can promise nothing: an opener need not wait for it.
                continue;
            }
            seen.view.alive.insert(id);
            seen.view.boots.insert(id, boot);
            if holding.holds == Holds::Yes && *lifecycle == Lifecycle::Ready {
                seen.view.ready.insert(id);
            }
            let claims = &holding.claims;
            seen.claims
                .extend(self.claims.gossiped((id, boot), claims, now_ms));
            seen.forgotten.extend(&holding.forgotten);
        }
        let named = self.names.iter().map(|(id, (name, _))| (*id, name.clone()));
        self.known.extend(named);
        self.ready.clone_from(&seen.view.ready);
        Some(seen)
    }

    /// A node said that it owns slots, or that it does not any more.
    pub(super) fn told(
        &mut self,
        from: (NodeId, u64),
        claims: &[(SlotNo, Eid, bool)],
        now_ms: u64,
    ) -> Vec<Changed> {
        self.claims.told(from, claims, now_ms)
    }

    /// Queues a message for a node, if it is there.
    pub(super) fn send(&self, to: NodeId, slot: SlotNo, message: &Message) {
        if let (Some(cluster), Some((name, _))) = (&self.cluster, self.names.get(&to)) {
            let frame = history::message(slot, message);
            cluster.core.send_history(name, frame);
        }
    }

    /// This node owns a slot.
    pub(super) fn opened(&mut self, slot: SlotNo, eid: Eid) {
        self.own.claims.insert(slot, eid);
        self.claim(slot, eid, true);
    }

    /// It does not any more.
    pub(super) fn closed(&mut self, slot: SlotNo, eid: Eid) {
        self.own.claims.remove(&slot);
        self.claim(slot, eid, false);
    }

    fn claim(&mut self, slot: SlotNo, eid: Eid, is_open: bool) {
        self.is_new = true;
        if self.cluster.is_some() {
            self.untold.push((slot, eid, is_open));
        }
    }

    /// Ids that this node will not hear again.
    pub(super) fn forget(&mut self, forgotten: BTreeSet<NodeId>) {
        self.own.forgotten = forgotten;
        self.is_new = true;
    }

    /// This node has no recoverable rooms any more: others need not wait for it.
    pub(super) fn leave(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.core.history.send_replace(None);
            cluster.core.own.send_modify(|it| it.history = None);
        }
    }

    /// Tells the others what is new of this node, at once and by gossip.
    pub(super) fn publish(&mut self) {
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        let Some(cluster) = &self.cluster else {
            return;
        };
        let own = Arc::new(self.own.clone());
        cluster.core.own.send_modify(|it| it.history = Some(own));
        if !self.untold.is_empty() {
            let frame = history::claims(&std::mem::take(&mut self.untold));
            for (name, _) in self.names.values() {
                cluster.core.send_history(name, frame.clone());
            }
        }
    }
}
