//! How likely what is.
//!
//! Worlds with the usual odds go through a little of everything, and never through a lot of one
//! thing: so courses that take several of one kind in a row do not happen. Worlds at odds have
//! their odds drawn from the seed, each by itself (swarm testing: Groce and others 2012).

use crate::sim::random::Random;

/// In one world. Percentages, and milliseconds at most.
#[derive(Clone, Debug)]
pub(in crate::sim_slots) struct Odds {
    /// How many nodes there are at first, if that is not left to chance.
    pub(super) hosts: Option<usize>,
    /// Messages are lost; those that open a feed, beside that.
    pub(super) lost: u64,
    pub(super) feeds_lost: u64,
    /// Messages of OPEN come twice; those that open a feed; all others.
    pub(super) twice: [u64; 3],
    /// How much later.
    pub(super) twice_ms: u64,
    /// Messages come late.
    pub(super) late: u64,
    /// The disk is slow.
    pub(super) slow: u64,
    /// A process stands still for a while.
    pub(super) stalls: u64,
    /// How often gossip is looked at.
    pub(super) look_ms: u64,
    /// How long a process gathers what it is told before it does what follows: a turn. None if it
    /// does so each time.
    pub(super) turn_ms: u64,
    /// A client changes its rooms; loses its connection.
    pub(super) changes: u64,
    pub(super) breaks: u64,
    /// How soon the next thing is done.
    pub(super) act_ms: u64,
    /// How soon what went down starts again.
    pub(super) down_ms: u64,
    /// A cut is one between two halves.
    pub(super) halves: u64,
    /// Nothing to do is a reason to grow.
    pub(super) grows: u64,
}

impl Default for Odds {
    fn default() -> Self {
        Self {
            hosts: None,
            lost: 2,
            feeds_lost: 0,
            twice: [15, 10, 2],
            twice_ms: 3000,
            late: 2,
            slow: 2,
            stalls: 1,
            look_ms: 500,
            turn_ms: 0,
            changes: 12,
            breaks: 5,
            act_ms: 60,
            down_ms: 3000,
            halves: 0,
            grows: 0,
        }
    }
}

impl Odds {
    /// Nothing goes wrong by chance.
    pub(in crate::sim_slots) fn fair(hosts: usize) -> Self {
        Self {
            hosts: Some(hosts),
            lost: 0,
            twice: [0, 0, 0],
            late: 0,
            slow: 0,
            stalls: 0,
            ..Self::default()
        }
    }

    /// Some odds.
    pub(in crate::sim_slots) fn draw(random: &mut Random) -> Self {
        Self {
            hosts: *random.pick(&[None, Some(2), Some(3), Some(4), Some(5)]),
            lost: *random.pick(&[0, 2, 2, 15]),
            feeds_lost: *random.pick(&[0, 0, 40]),
            twice: [
                *random.pick(&[15, 70]),
                *random.pick(&[10, 80]),
                *random.pick(&[2, 30]),
            ],
            twice_ms: *random.pick(&[3000, 500, 100]),
            late: *random.pick(&[2, 2, 20]),
            slow: *random.pick(&[0, 2, 20, 50]),
            stalls: 1,
            look_ms: *random.pick(&[500, 500, 3000, 50]),
            turn_ms: *random.pick(&[0, 0, 20, 100]),
            changes: *random.pick(&[12, 12, 60]),
            breaks: *random.pick(&[5, 5, 30]),
            act_ms: *random.pick(&[60, 60, 10]),
            down_ms: *random.pick(&[3000, 100, 500]),
            halves: *random.pick(&[0, 50, 90]),
            grows: *random.pick(&[0, 0, 40]),
        }
    }
}
