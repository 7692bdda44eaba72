//! The rules of recovery, run by the thousand from seeds.
//!
//! A world is one node with its disk, its shard's mailbox and some clients. Everything that can
//! happen happens in random order: appends whose flush fails, clients that join, leave, vanish and
//! come back with new, old or broken offsets, stops, kills, power cuts, hours of silence. The truth
//! is kept apart, from what was fed and what a restart found. Checked are, of the invariants in the
//! rules of recovery:
//!
//! - 4: nothing uncommitted is fed or replayed: a client gets only what the truth has;
//! - 5: for each pid and room one branch, rising, nothing left out since the start;
//! - 6: after quiet every session has everything that was kept, or was told `false`;
//! - 7: what was kept is readable after a stop or a kill until it is trimmed;
//! - 8: one entry per id and branch while the id is known;
//! - 10: a recovery restores exactly the rooms that were acknowledged;
//!
//! and that nobody is told `false` when all that was missed is still there.
//!
//! `TIDINGS_SIM_SEEDS` sets how many seeds are run, `TIDINGS_SIM_FIRST` the first of them.

mod client;
mod disk;
mod random;
mod truth;
mod world;

use random::Random;
use world::World;

use super::log::Limits;

/// Which bound is so tight that it trims all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tight {
    Nothing,
    Room,
    Memory,
    Marks,
}

impl Tight {
    const ALL: [Self; 4] = [Self::Nothing, Self::Room, Self::Memory, Self::Marks];

    fn limits(self) -> Limits {
        let mut limits = Limits {
            keep_ms: world::WINDOW_MS + world::LAG_MS,
            known_ms: world::WINDOW_MS,
            entries_per_room: 1000,
            memory: 1 << 24,
            marks: 1000,
            ids: 100_000,
        };
        match self {
            Self::Nothing => {}
            Self::Room => limits.entries_per_room = 3,
            Self::Memory => limits.memory = 4 * 300,
            Self::Marks => limits.marks = 2,
        }
        limits
    }
}

/// Names the seed if the run panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "failed with TIDINGS_SIM_FIRST={} TIDINGS_SIM_SEEDS=1",
                self.0
            );
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn no_client_is_misled() {
    let first = setting("TIDINGS_SIM_FIRST", 1);
    let mut seen = world::Seen::default();
    let seeds = setting("TIDINGS_SIM_SEEDS", 500);
    for seed in first..first + seeds {
        let named = Named(seed);
        let tight = Tight::ALL[(seed % 4) as usize];
        let mut world = World::new(Random::new(seed), tight);
        for _ in 0..400 {
            world.step();
        }
        world.settle();
        seen.add(world.seen);
        drop(named);
    }
    if seeds >= 500 {
        // A world in which nothing happens proves nothing.
        seen.assert_all_happened();
    }
}
