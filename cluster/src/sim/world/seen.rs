//! How often what happened, over all worlds.

use crate::proto::Frame;

#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Seen {
    pub(super) starts: u64,
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) drains: u64,
    pub(super) cuts: u64,
    pub(super) losses: u64,
    pub(super) timeouts: u64,
    pub(super) hangups: u64,
    pub(super) distrusts: u64,
    pub(super) downs: u64,
    pub(super) joins: u64,
    pub(super) snapshots: u64,
    pub(super) deltas: u64,
    pub(super) resyncs: u64,
    pub(super) others: u64,
    pub(super) spoiled: u64,
    /// Pairs of nodes that were looked at, and the promises between them.
    pub(super) checks: u64,
    pub(super) promises: u64,
    /// The longest time that it took until all was well.
    pub(super) quiet_ms: u64,
}

impl Seen {
    pub(super) fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Snapshot { .. } => self.snapshots += 1,
            Frame::Delta { .. } => self.deltas += 1,
            Frame::Resync => self.resyncs += 1,
            _ => {}
        }
    }

    pub(in crate::sim) fn add(&mut self, mut other: Self) {
        self.quiet_ms = self.quiet_ms.max(other.quiet_ms);
        for (mine, its) in self.counts().into_iter().zip(other.counts()) {
            *mine += *its;
        }
    }

    pub(in crate::sim) fn assert_all_happened(&mut self) {
        let seen = self.clone();
        assert!(
            self.counts().into_iter().all(|count| *count > 50),
            "{seen:?}"
        );
    }

    fn counts(&mut self) -> [&mut u64; 18] {
        [
            &mut self.starts,
            &mut self.kills,
            &mut self.stops,
            &mut self.drains,
            &mut self.cuts,
            &mut self.losses,
            &mut self.timeouts,
            &mut self.hangups,
            &mut self.distrusts,
            &mut self.downs,
            &mut self.joins,
            &mut self.snapshots,
            &mut self.deltas,
            &mut self.resyncs,
            &mut self.others,
            &mut self.spoiled,
            &mut self.checks,
            &mut self.promises,
        ]
    }
}
