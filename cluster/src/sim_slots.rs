//! The rules of recoverable rooms, run by the thousand from seeds.
//!
//! A world is one to five nodes on one thread and in virtual time, each with its disk and its own
//! idea of who is there. Ways between them are cut, in one direction or both; messages are lost,
//! late and repeated; processes are killed and lose what they had in memory and some of what was
//! not flushed; power is cut, and what was flushed and not synced is lost as well; clocks are set;
//! nodes drain, come new and are forgotten; logs are trimmed. Backends emit and repeat themselves;
//! clients subscribe, lose their connections, come back at any node with what they last saw.
//!
//! The truth is kept apart, from what owners wrote, opened and committed. The numbers in messages
//! are those of the invariants in the rules of recovery.
//!
//! `TIDINGS_SIM_SEEDS` sets how many seeds are run, `TIDINGS_SIM_FIRST` the first of them.

mod client;
mod disk;
mod mutants;
mod truth;
mod world;

use crate::proto::slots::Rules;
use crate::sim::random::Random;
use world::{Kind, Seen, World};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Runs one world to its end.
fn run(seed: u64, rules: Rules) -> Result<Seen, String> {
    let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
    let mut world = World::new(Random::new(seed), kind, rules);
    world.run().map_err(|why| format!("{kind:?}: {why}"))?;
    Ok(world.seen)
}

#[test]
fn no_client_is_misled() {
    let seed = setting("TIDINGS_SIM_SEED", 0);
    let first = setting("TIDINGS_SIM_FIRST", seed.max(1));
    let seeds = setting("TIDINGS_SIM_SEEDS", if seed > 0 { 1 } else { 300 });
    let mut seen = Seen::default();
    for seed in first..first + seeds {
        match run(seed, Rules::default()) {
            Ok(one) => seen.add(&one),
            Err(why) => panic!("TIDINGS_SIM_FIRST={seed} TIDINGS_SIM_SEEDS=1: {why}"),
        }
    }
    println!("{seen:?}");
    if seeds >= 300 {
        // A world in which nothing happens proves nothing.
        seen.assert_all_happened();
    }
}
