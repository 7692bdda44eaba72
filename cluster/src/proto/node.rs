//! One node of a cluster: everything that it decides, in one place.

mod counting;
mod events;
mod frames;
mod links;
mod settle;
mod status;

use std::{net::SocketAddr, sync::Arc};

pub use status::PeerStatus;

use super::counters::Counters;
use super::dial::Dialer;
use super::interest::own::{Own, Sizes};
use super::members::{Members, Peer};
use super::rules::Rules;
use super::{Action, Hello, Lifecycle, Mark, PROTOCOL, RoomKey};
use links::{Conflict, Inbound, Outbound};

/// How often at least the edge calls [`Node::tick`].
const TICK_MS: u64 = 100;
/// A pause between two ticks that shows that the process was stopped.
const STOPPED_MS: u64 = 1000;
/// How long nothing new must have appeared before a joining node is ready.
const CALM_MS: u64 = 500;
/// How long a joining node waits for a seed to answer before it takes itself for the first node.
const ALONE_MS: u64 = 3000;
/// How long a joining node waits for others that are joining and cannot be exchanged with.
const PATIENCE_MS: u64 = 5000;

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, the same over restarts.
    pub name: Arc<str>,
    /// The cluster's name.
    pub cluster: String,
    /// Which start of the node this is; must be higher than at any start before.
    pub generation: u64,
    /// Where others can dial it.
    pub address: SocketAddr,
    /// How long a room that nobody is in any more stays announced.
    pub linger_ms: u64,
    /// Whether the configuration names seeds: if not, the node need not wait for any.
    pub has_seeds: bool,
}

/// Why a link cannot be read further: the edge closes it, and says [`Node::link_in_down`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The link is not one that [`Node::hello_in`] let in, or another has taken its place.
    #[error("the link is not known, or replaced by another")]
    Link,
    /// The peer acknowledged a change that has not been made.
    #[error("the peer acknowledged change {seq}, the last is {last}")]
    Ack {
        /// What it acknowledged.
        seq: u64,
        /// What there is.
        last: u64,
    },
}

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    lifecycle: Lifecycle,
    /// Since when the process has been running: a pause in which it was stopped does not count.
    running_since_ms: u64,
    /// The rooms that this node wants.
    own: Own,
    /// All joins up to this number were reported as known to every peer.
    promised: u64,
    /// Whether any peer must acknowledge a join.
    is_held: bool,
    members: Members,
    outbound: Vec<Outbound>,
    inbound: Vec<Inbound>,
    dialer: Dialer,
    counters: Counters,
    /// The slots of all peers.
    everyone: u64,
    /// The slots of those to which everything is forwarded.
    open: u64,
    /// When last a peer appeared.
    appeared_ms: u64,
    /// The mark that was last given out to be gossiped.
    marked: Option<Mark>,
    /// When that was.
    marked_ms: u64,
    /// When time last passed, after the start.
    ticked_ms: Option<u64>,
    /// Who turned this node away of late.
    conflicts: Vec<Conflict>,
    /// The last random number that was passed in, mixed on with each use.
    random: u64,
    rules: Rules,
    actions: Vec<Action>,
}

impl Node {
    /// A node that has just started, and knows nobody.
    pub fn new(settings: Settings, now_ms: u64) -> Self {
        Self {
            lifecycle: Lifecycle::Joining,
            running_since_ms: now_ms,
            own: Own::new(settings.linger_ms, Sizes::USUAL, Rules::default()),
            promised: 0,
            is_held: false,
            members: Members::default(),
            outbound: Vec::new(),
            inbound: Vec::new(),
            dialer: Dialer::default(),
            counters: Counters::new(settings.name.clone(), Rules::default()),
            everyone: 0,
            open: 0,
            appeared_ms: now_ms,
            marked: None,
            marked_ms: 0,
            ticked_ms: None,
            conflicts: Vec::new(),
            random: 0,
            rules: Rules::default(),
            actions: Vec::new(),
            settings,
        }
    }

    /// A node that meets every limit soon, and may break a rule.
    #[cfg(test)]
    pub(crate) fn with_rules(settings: Settings, now_ms: u64, rules: Rules) -> Self {
        let mut node = Self::new(settings, now_ms);
        node.rules = rules;
        node.own = Own::new(node.settings.linger_ms, Sizes::SMALL, rules);
        node.counters = Counters::new(node.settings.name.clone(), rules);
        node
    }

    /// What this node says first on each link.
    pub fn hello(&self) -> Hello {
        Hello {
            cluster: self.settings.cluster.clone(),
            protocol: PROTOCOL,
            name: self.settings.name.clone(),
            generation: self.settings.generation,
            address: self.settings.address,
        }
    }

    /// Takes what is to be done. To be called after every other call that can change something.
    #[must_use]
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is anything to be done.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// What this node is in.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// This node wants a room: to be called when the room gets its first member here. Returns the
    /// number of the change that announced it. Once that is not above [`Node::floor`], every peer
    /// forwards what is emitted to the room.
    pub fn join(&mut self, room: RoomKey, _now_ms: u64) -> u64 {
        let before = self.own.mark().seq;
        let seq = self.own.join(room);
        if self.own.mark().seq != before {
            self.wake_for_interest();
        }
        seq
    }

    /// The room has lost its last member here. It stays announced for the linger.
    pub fn leave(&mut self, room: RoomKey, now_ms: u64) {
        self.own.leave(room, now_ms);
    }

    /// How many rooms are announced.
    pub fn rooms(&self) -> usize {
        self.own.len()
    }

    /// The number of the last change of this node's rooms.
    pub fn seq(&self) -> u64 {
        self.own.mark().seq
    }

    /// Up to which change every peer that matters has acknowledged; `u64::MAX` if there is none.
    /// A join that it covers once is covered for good.
    pub fn floor(&self) -> u64 {
        if self.is_held {
            self.promised
        } else {
            u64::MAX
        }
    }

    /// The slots of the peers that want what is emitted to any of these rooms, as bits.
    pub fn route(&self, rooms: &[RoomKey]) -> u64 {
        self.inbound.iter().fold(self.open, |mask, inbound| {
            if inbound.bit != 0 && inbound.view.wants(rooms) {
                mask | inbound.bit
            } else {
                mask
            }
        })
    }

    /// The slots of all peers, as bits.
    pub fn everyone(&self) -> u64 {
        self.everyone
    }
}

#[cfg(test)]
mod tests;
