//! How often what happened, over all worlds.

#[derive(Clone, Debug, Default)]
pub(in crate::sim_slots) struct Seen {
    pub(super) messages: u64,
    pub(super) lost: u64,
    pub(super) starts: u64,
    pub(super) kills: u64,
    pub(super) power_cuts: u64,
    pub(super) drains: u64,
    pub(super) cut_ways: u64,
    pub(super) clocks: u64,
    pub(super) grown: u64,
    pub(super) shrunk: u64,
    pub(super) opened: u64,
    pub(super) kept: u64,
    pub(super) cuts: u64,
    pub(super) aborted: u64,
    pub(super) emitted: u64,
    pub(super) repeated: u64,
    pub(super) unavailable: u64,
    pub(super) committed: u64,
    pub(super) recovered: u64,
    pub(super) replayed: u64,
    pub(super) refused: u64,
    pub(super) cut_sockets: u64,
    /// The longest time that it took until all was well.
    pub(super) quiet_ms: u64,
}

impl Seen {
    pub(in crate::sim_slots) fn add(&mut self, other: &Self) {
        self.quiet_ms = self.quiet_ms.max(other.quiet_ms);
        let mut other = other.clone();
        for (mine, its) in self.counts().into_iter().zip(other.counts()) {
            *mine += *its;
        }
    }

    pub(in crate::sim_slots) fn assert_all_happened(&mut self) {
        let seen = self.clone();
        assert!(
            self.counts().into_iter().all(|count| *count > 20),
            "{seen:?}"
        );
    }

    fn counts(&mut self) -> [&mut u64; 22] {
        [
            &mut self.messages,
            &mut self.lost,
            &mut self.starts,
            &mut self.kills,
            &mut self.power_cuts,
            &mut self.drains,
            &mut self.cut_ways,
            &mut self.clocks,
            &mut self.grown,
            &mut self.shrunk,
            &mut self.opened,
            &mut self.kept,
            &mut self.cuts,
            &mut self.aborted,
            &mut self.emitted,
            &mut self.repeated,
            &mut self.unavailable,
            &mut self.committed,
            &mut self.recovered,
            &mut self.replayed,
            &mut self.refused,
            &mut self.cut_sockets,
        ]
    }
}
