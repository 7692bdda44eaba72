//! What an operator can see of recoverable rooms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::proto::slots::{Eid, NodeId, Position, SlotNo};

/// A slot, as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// Which.
    pub slot: SlotNo,
    /// Whoever is taken for the owner: its id, and its name if it is there.
    pub owner: Option<(NodeId, Option<Arc<str>>)>,
    /// Since which epoch.
    pub eid: Option<Eid>,
    /// What the owner knows of it, if that is this node.
    pub owned: Option<OwnedStatus>,
}

/// What an owner knows of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedStatus {
    /// Who holds it: itself, and the follower.
    pub copies: Vec<NodeId>,
    /// Whether a quorum knows that.
    pub kept: bool,
    /// Up to where it can be read.
    pub commit: Position,
    /// Entries in its log.
    pub entries: usize,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Records of connections.
    pub records: usize,
    /// Nodes that are fed.
    pub listeners: usize,
}

/// The nodes that the cluster is taken to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// All that are counted: that were ever ready, and were not forgotten.
    pub nodes: Vec<Known>,
    /// How many the cluster has: these, or as many as are configured.
    pub size: u64,
    /// How many of them must know who holds a slot.
    pub quorum: u64,
}

/// A node that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: NodeId,
    /// Its name, if it was there since this node's start.
    pub name: Option<Arc<str>>,
    /// Whether it is there.
    pub alive: bool,
    /// Whether it is to hold slots.
    pub ready: bool,
}

/// Figures of a node since its start, and as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slots that were opened here.
    pub opens: u64,
    /// Attempts that came to nothing.
    pub aborted: u64,
    /// Epochs that began without anything from before.
    pub cuts: u64,
    /// Rooms whose listeners were cut off.
    pub rooms_cut: u64,
    /// Emits and changes of records, made here, that nobody did in time, or that were turned away.
    pub refused: u64,
    /// Emits of this node that were answered as kept.
    pub kept: u64,
    /// Emits of this node that were answered as not kept.
    pub not_kept: u64,
    /// Slots that this node owns now.
    pub owned: u64,
    /// Those of them with fewer copies than there should be, or of which no quorum knows.
    pub under_copied: u64,
    /// Slots that this node is opening now.
    pub opening: u64,
    /// How long it took to own the latest slot, milliseconds since the first attempt.
    pub own_ms: u64,
    /// The longest that it ever took.
    pub own_worst_ms: u64,
    /// Bytes of entries that the program has not delivered yet.
    pub undelivered_bytes: u64,
    /// Messages of peers that were dropped as this node's disk did not keep up.
    pub dropped: u64,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) opens: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) cuts: AtomicU64,
    pub(super) rooms_cut: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) kept: AtomicU64,
    pub(super) not_kept: AtomicU64,
    pub(super) owned: AtomicU64,
    pub(super) under_copied: AtomicU64,
    pub(super) opening: AtomicU64,
    pub(super) own_ms: AtomicU64,
    pub(super) own_worst_ms: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Figures {
    pub(super) fn counts(&self, undelivered: usize) -> Counts {
        Counts {
            opens: self.opens.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            cuts: self.cuts.load(Relaxed),
            rooms_cut: self.rooms_cut.load(Relaxed),
            refused: self.refused.load(Relaxed),
            kept: self.kept.load(Relaxed),
            not_kept: self.not_kept.load(Relaxed),
            owned: self.owned.load(Relaxed),
            under_copied: self.under_copied.load(Relaxed),
            opening: self.opening.load(Relaxed),
            own_ms: self.own_ms.load(Relaxed),
            own_worst_ms: self.own_worst_ms.load(Relaxed),
            undelivered_bytes: undelivered as u64,
            dropped: self.dropped.load(Relaxed),
        }
    }
}

pub(super) fn add(to: &AtomicU64, by: u64) {
    to.fetch_add(by, Relaxed);
}

/// Which slots this node owns or is opening, as the core's actions say.
#[derive(Debug, Default)]
pub(super) struct Reigns {
    /// How many copies there are, and whether a quorum knows of them.
    pub(super) owned: BTreeMap<SlotNo, (usize, bool)>,
    /// Since when, and whether an attempt is under way.
    opening: BTreeMap<SlotNo, (u64, bool)>,
}

impl Reigns {
    pub(super) fn opening(&mut self, slot: SlotNo, now_ms: u64) {
        self.opening.entry(slot).or_insert((now_ms, true)).1 = true;
    }

    /// The attempt came to nothing.
    pub(super) fn aborted(&mut self, slot: SlotNo, figures: &Figures) {
        add(&figures.aborted, 1);
        if let Some(opening) = self.opening.get_mut(&slot) {
            opening.1 = false;
        }
    }

    /// Attempts under way.
    pub(super) fn attempts(&self) -> usize {
        self.opening.values().filter(|(_, is_now)| *is_now).count()
    }

    /// Another node has opened it, or will.
    pub(super) fn given_up(&mut self, slot: SlotNo) {
        self.opening.remove(&slot);
    }

    pub(super) fn opened(
        &mut self,
        slot: SlotNo,
        owned: (usize, bool),
        now_ms: u64,
        figures: &Figures,
    ) {
        add(&figures.opens, 1);
        if let Some((since_ms, _)) = self.opening.remove(&slot) {
            let took_ms = now_ms.saturating_sub(since_ms);
            figures.own_ms.store(took_ms, Relaxed);
            figures.own_worst_ms.fetch_max(took_ms, Relaxed);
        }
        self.owned.insert(slot, owned);
    }

    pub(super) fn closed(&mut self, slot: SlotNo) {
        self.owned.remove(&slot);
    }

    /// Brings the gauges up to date; `size` is how many nodes the cluster has.
    pub(super) fn show(&self, size: u64, figures: &Figures) {
        let wanted = size.min(2) as usize;
        let owned = self.owned.values();
        let under = owned.filter(|(copies, kept)| !kept || *copies < wanted);
        let under = under.count();
        figures.owned.store(self.owned.len() as u64, Relaxed);
        figures.under_copied.store(under as u64, Relaxed);
        figures.opening.store(self.attempts() as u64, Relaxed);
    }
}
