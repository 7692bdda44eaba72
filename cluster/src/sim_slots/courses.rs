//! Courses that break a promise if one rule is left out, step by step.
//!
//! They are for rules that worlds left to chance hardly ever miss: it takes several things in a row
//! that chance does not bring about.

use super::world::World;
use crate::proto::slots::{Message, Rule, Rules};

type Course = fn(u64, Rules) -> Result<(), String>;

/// How often each course is gone through: what a disk loses is still left to chance.
const SEEDS: u64 = 8;

/// A course goes well, and not without the rule.
fn takes(rule: Rule, course: Course) {
    for seed in 1..=SEEDS {
        course(seed, Rules::default()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let missed = (1..=SEEDS).find_map(|seed| course(seed, Rules::without(rule)).err());
    println!("{rule:?}: {missed:?}");
    assert!(missed.is_some(), "the course goes well without {rule:?}");
}

fn is_install(message: &Message) -> bool {
    matches!(message, Message::Install { .. })
}

/// Three nodes, of which two hold the slot and know it; two more come. If the slot is not opened
/// again, the three that do not know of it are more than half.
#[test]
fn an_epoch_is_of_its_size() {
    takes(Rule::OpenWhenGrown, |seed, rules| {
        let mut world = World::course(seed, (3, &[1, 2, 3]), rules)?;
        world.hold(&[2], is_install);
        world.go_on_until_well()?;
        world.lose_held();
        world.add()?;
        world.go_on_until_well()?;
        world.add()?;
        world.go_on_until_well()?;
        world.say(1, "known")?;
        world.go_on(100)?;
        world.part(&[1, 3]);
        world.go_on(6000)?;
        world.heal();
        world.ends_with(&["known"])
    });
}

/// Of the three of five that noted who holds the slot, one has not written it through and loses
/// power. The three that do not know it are more than half.
#[test]
fn a_reign_is_synced() {
    takes(Rule::SyncReign, |seed, rules| {
        let mut world = World::course(seed, (5, &[2, 4, 5]), rules)?;
        world.go_on(4000)?;
        world.hold(&[2, 4, 5], is_install);
        world.start_one(1)?;
        world.start_one(3)?;
        world.go_on_until_held(3)?;
        world.stick(5);
        world.let_go(1, 5);
        world.hold(&[2, 4], is_install);
        world.go_on(50)?;
        world.power_off_one(5);
        world.lose_held();
        world.part(&[1, 3]);
        world.say(1, "known")?;
        world.unstick();
        world.start_one(5)?;
        world.go_on(6000)?;
        world.heal();
        world.ends_with(&[])
    });
}

fn is_follow(message: &Message) -> bool {
    matches!(message, Message::Follow { .. })
}

fn is_taking(message: &Message) -> bool {
    matches!(message, Message::Follow { .. } | Message::Fetched { .. })
}

fn is_feed(message: &Message) -> bool {
    matches!(message, Message::Feed { .. })
}

/// A follower loses power, and what it copied; then comes late what once made it the follower.
#[test]
fn a_restart_voids_a_promise() {
    takes(Rule::RestartVoidsPromise, |seed, rules| {
        let mut world = World::course(seed, (3, &[1, 2, 3]), rules)?;
        world.note(&[3], is_taking);
        world.go_on_until_well()?;
        world.say(1, "known")?;
        world.go_on(50)?;
        world.settle(1);
        world.power_off_one(3);
        world.start_one(3)?;
        world.repeat();
        world.go_on(20)?;
        world.kill_one(1);
        world.go_on(6000)?;
        world.start_one(1)?;
        world.ends_with(&["known"])
    });
}

/// Whoever has promised a higher epoch is asked to follow a lower one, which is still being opened.
#[test]
fn a_follower_follows_while_promised() {
    takes(Rule::FollowWhilePromised, |seed, rules| {
        let mut world = World::course(seed, (3, &[2, 3]), rules)?;
        world.cut_one_way(1, 3);
        world.cut_one_way(3, 1);
        world.hold(&[2], is_follow);
        world.go_on(300)?;
        world.start_one(1)?;
        // The third asks first, and goes on asking for a second.
        world.go_on_until_held_by(1)?;
        world.let_go(3, 2);
        world.go_on(20)?;
        world.lose_held();
        world.heal();
        world.ends_with(&[])
    });
}

/// A request to be fed comes again, at the next epoch of the same owner, of which the listener has
/// not heard: the same stream begins anew there, and the listener takes what follows for the next.
#[test]
fn a_stream_is_of_one_epoch() {
    takes(Rule::FeedOfEpoch, |seed, rules| {
        let mut world = World::course(seed, (3, &[1, 2, 3]), rules)?;
        world.go_on_until_well()?;
        world.note(&[1], is_feed);
        world.client_at(2)?;
        for name in ["one", "two", "three"] {
            world.say(1, name)?;
            world.go_on(30)?;
        }
        world.reads()?;
        world.deafen(2, true);
        world.settle(3);
        world.kill_one(3);
        world.go_on(3000)?;
        world.repeat();
        world.go_on(20)?;
        for name in ["four", "five", "six", "seven", "eight", "nine"] {
            world.say(1, name)?;
            world.go_on(30)?;
        }
        world.reads()?;
        world.deafen(2, false);
        world.go_on(2000)?;
        world.reads()?;
        world.start_one(3)?;
        world.ends_with(&["nine"])
    });
}

fn is_answer_to_join(message: &Message) -> bool {
    matches!(message, Message::Fed { added: Some(_), .. })
}

fn is_join(message: &Message) -> bool {
    matches!(message, Message::FeedChange { wanted: true, .. })
}

/// A room is left before the answer to its join is there, and joined again: the late answer is to
/// the first join, and the owner feeds nothing of the room until it hears of the second.
#[test]
fn a_room_is_fed_since_its_last_join() {
    takes(Rule::FeedOfLastJoin, |seed, rules| {
        let mut world = World::course(seed, (3, &[1, 2, 3]), rules)?;
        world.go_on_until_well()?;
        world.client_at(2)?;
        world.comes(1, 2)?;
        world.comes(2, 2)?;
        world.hold(&[2], is_answer_to_join);
        world.changes(1, "b:0")?;
        world.go_on_until_held(1)?;
        world.breaks(1)?;
        world.go_on(20)?;
        world.hold(&[1], is_join);
        world.changes(2, "b:0")?;
        world.go_on(20)?;
        world.let_go(1, 2);
        world.go_on(50)?;
        world.reads()?;
        world.say_in("b:0", 1, "between")?;
        world.go_on(30)?;
        world.let_go(2, 1);
        world.go_on(300)?;
        world.reads()?;
        world.say_in("b:0", 1, "after")?;
        world.go_on(300)?;
        world.reads()?;
        world.ends_with(&["between", "after"])
    });
}

fn is_copy(message: &Message) -> bool {
    matches!(message, Message::Copy { .. })
}

fn is_ask(message: &Message) -> bool {
    matches!(message, Message::Ask { .. })
}

/// Three nodes of five are parted. A client that comes back to one side joins a room; that is not
/// kept, and lost with the branch when they meet, where the client is cut off before its record is
/// asked for. Whoever could still ask for it dies; the record is found as it was before all this.
#[test]
fn an_offset_is_voided() {
    takes(Rule::VoidOffset, |seed, rules| {
        let mut world = World::course(seed, (5, &[1, 2, 3, 4, 5]), rules)?;
        world.go_on_until_well()?;
        world.client_at(1)?;
        world.say(1, "known")?;
        world.go_on(100)?;
        world.reads()?;
        (1..=5).for_each(|id| world.settle(id));
        world.kill_one(4);
        world.kill_one(5);
        world.part(&[3]);
        world.go_on(4000)?;
        // Its epochs are later than those of the other side.
        world.kill_one(3);
        world.start_one(3)?;
        world.go_on(4000)?;
        world.breaks(0)?;
        world.comes(0, 2)?;
        world.changes(0, "b:0")?;
        world.go_on(300)?;
        world.reads()?;
        (1..=3).for_each(|id| world.settle(id));
        world.kill_one(1);
        world.hold(&[3], is_ask);
        world.heal();
        world.go_on_until_open(3, &[3, 2])?;
        world.let_go(2, 3);
        world.hold(&[2], is_copy);
        world.go_on_until_gone(0)?;
        world.power_off_one(3);
        world.lose_held();
        world.settle(2);
        world.kill_one(2);
        for id in [1, 2, 4, 5] {
            world.start_one(id)?;
        }
        world.go_on(8000)?;
        world.comes(0, 4)?;
        world.go_on(1000)?;
        world.reads()?;
        world.start_one(3)?;
        world.ends_with(&["known"])
    });
}

/// One of the two that hold the slot is down, the other loses power: nothing is kept until the
/// first is back, however often the slot is opened.
#[test]
fn a_copy_has_the_reign() {
    takes(Rule::CopyHasReign, |seed, rules| {
        let mut world = World::course(seed, (3, &[1, 2, 3]), rules)?;
        world.go_on_until_well()?;
        world.say(1, "known")?;
        world.go_on(100)?;
        world.settle(3);
        world.kill_one(3);
        world.power_off_one(1);
        world.start_one(1)?;
        world.go_on(8000)?;
        world.start_one(3)?;
        world.ends_with(&["known"])
    });
}

/// The owner of two nodes adds what the other never gets, and goes down. What the other answers
/// alone meanwhile stays when the owner is back, though its log is longer.
#[test]
fn a_base_is_the_latest() {
    takes(Rule::LatestBase, |seed, rules| {
        let mut world = World::course(seed, (2, &[1, 2]), rules)?;
        world.go_on_until_well()?;
        world.cut_one_way(1, 2);
        for name in ["never", "answered", "to anybody"] {
            world.say(1, name)?;
        }
        world.go_on(20)?;
        world.settle(1);
        world.kill_one(1);
        world.heal();
        world.go_on(4000)?;
        world.say(2, "alone")?;
        world.go_on(500)?;
        world.start_one(1)?;
        world.ends_with(&["alone"])
    });
}
