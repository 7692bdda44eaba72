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
//! Worlds at odds have a lot of one thing and little of another, as drawn from the seed; courses are
//! told step by step; small worlds are gone through in all orders.
//!
//! `TIDINGS_SIM_SEEDS` sets how many seeds are run, `TIDINGS_SIM_FIRST` the first of them.

mod client;
mod courses;
mod disk;
mod mutants;
mod small;
mod truth;
mod world;

use crate::proto::slots::Rules;
use crate::sim::{random::Random, run_all, setting};
use world::{Kind, Odds, Seen, World};

/// Runs one world to its end.
fn run(seed: u64, rules: Rules) -> Result<Seen, String> {
    let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
    let mut world = World::new(Random::new(seed), (kind, Odds::default()), rules);
    world.run().map_err(|why| format!("{kind:?}: {why}"))?;
    Ok(world.seen)
}

/// Runs one world at odds to its end.
fn run_at_odds(seed: u64, rules: Rules) -> Result<Seen, String> {
    let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
    let mut random = Random::new(seed);
    let odds = Odds::draw(&mut random);
    let text = format!("at odds, {kind:?}: {odds:?}");
    let mut world = World::new(random, (kind, odds), rules);
    world.run().map_err(|why| format!("{text}: {why}"))?;
    Ok(world.seen)
}

#[test]
fn no_client_is_misled_at_odds() {
    let first = setting("TIDINGS_SIM_FIRST", 1);
    let seeds = setting("TIDINGS_SIM_SEEDS", 300);
    run_all(
        first..first + seeds,
        |seed| run_at_odds(seed, Rules::default()),
        |seen: &mut Seen, one| seen.add(&one),
    );
}

#[test]
fn no_client_is_misled() {
    let seed = setting("TIDINGS_SIM_SEED", 0);
    let first = setting("TIDINGS_SIM_FIRST", seed.max(1));
    let seeds = setting("TIDINGS_SIM_SEEDS", if seed > 0 { 1 } else { 300 });
    let mut seen = run_all(
        first..first + seeds,
        |seed| run(seed, Rules::default()),
        |seen: &mut Seen, one| seen.add(&one),
    );
    println!("{seen:?}");
    if seeds >= 300 {
        // A world in which nothing happens proves nothing.
        seen.assert_all_happened();
    }
}
