//! The decisions of a whole cluster, run by the thousand from seeds.
//!
//! A world is a few hosts on one thread and in virtual time. Processes on them start, are killed,
//! stopped and continued, drained and started again; clocks are set back; ways between hosts are cut,
//! in one direction or both; links are lost with frames under way, and each end notices when it
//! does; gossip travels on the links, so that who is alive is late and sometimes wrong. Meanwhile
//! rooms are joined and left, and keys are counted. A dropping world loses single frames on links
//! that stay up, and a corrupting one changes rooms in frames: no edge does, but then a check must
//! notice.
//!
//! Checked after every step:
//!
//! - the invariant of [`proto`](crate::proto): what a peer that is ready, linked and mutually alive
//!   accepts for a room whose join the floor covers is forwarded;
//! - a join that the floor covered once stays covered;
//! - what the edge is told agrees: slots, links, masks.
//!
//! Checked after quiet: all are ready and linked both ways, every view of a peer's rooms is exact,
//! all joins are acknowledged, and each node that counts a key knows the sum of the others.
//!
//! `TIDINGS_SIM_SEEDS` sets how many seeds are run, `TIDINGS_SIM_FIRST` the first of them.

mod mutants;
pub(crate) mod random;
mod speed;
mod world;

use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::proto::Rules;
use random::Random;
use world::{Kind, Seen, World};

pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Runs the worlds of these seeds on all cores, and adds up what was seen.
pub(crate) fn run_all<Seen: Default + Send>(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Result<Seen, String> + Sync,
    add: impl Fn(&mut Seen, Seen) + Sync,
) -> Seen {
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new(Seen::default()));
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match run(seed) {
                        Ok(one) => add(&mut all.lock().unwrap(), one),
                        Err(why) => panic!("TIDINGS_SIM_FIRST={seed} TIDINGS_SIM_SEEDS=1: {why}"),
                    }
                }
            });
        }
    });
    all.into_inner().unwrap()
}

/// Runs one world to its end.
fn run(seed: u64, rules: Rules) -> Result<Seen, String> {
    let kind = Kind::ALL[(seed % 4) as usize];
    let mut world = World::new(Random::new(seed), kind, rules);
    world.run()?;
    Ok(world.seen)
}

#[test]
fn nodes_agree() {
    let first = setting("TIDINGS_SIM_FIRST", 1);
    let seeds = setting("TIDINGS_SIM_SEEDS", 2000);
    let mut seen = run_all(
        first..first + seeds,
        |seed| run(seed, Rules::default()),
        Seen::add,
    );
    println!("{seen:?}");
    if seeds >= 200 {
        // A world in which nothing happens proves nothing.
        seen.assert_all_happened();
    }
}
