//! PURE: what a node of a cluster decides.
//!
//! No clock, no randomness, no sockets: time comes as `now_ms`, this node's own monotonic
//! milliseconds, and random numbers as arguments. The edge calls [`Node`] with what happened, then
//! takes [`Node::actions`] and does them. It calls [`Node::tick`] when it is due, at the latest
//! every 100 ms. The simulation (`sim`) runs many nodes against each other from a seed.
//!
//! | module | what it decides |
//! |---|---|
//! | `room` | a room's name as a number, the same on every node |
//! | `interest` | which rooms this node wants (`own`), what each link is to be told of it (`feed`), which rooms a peer wants (`view`) |
//! | `members` | from gossip: who is a peer, in which slot |
//! | `dial` | whom to dial, and when again |
//! | `hello` | whom to let in |
//! | `counters` | sums over all nodes: a key's owner adds up what the others report |
//! | `wire` | frames of the control lane as bytes |
//! | `node` | all of it together |
//! | `slots` | recoverable rooms across nodes: who owns a slot, what an append promises |
//!
//! # What the edge owes
//!
//! - Actions are done in order; a link can be found by its id before `link_out_up` or `hello_in`
//!   names it, or the action that follows from that finds nothing.
//! - Every dial is answered once. Frames of a link are handed over in order, and none after its end.
//! - [`Node::floor`] is read with the node at hand, after the join: what was told of it earlier may
//!   be from a time when there was no peer, and everything was covered.
//! - Gossip is handed over whole, each time it has changed. Generations rise with each start.
//! - After a restart, what is still counted is said again.
//!
//! # Links
//!
//! Each node dials every other and sends only on its own *outbound* link; *inbound* links are only
//! read. So an acknowledgement of what came in travels on the outbound link to the same peer.
//!
//! # Interest
//!
//! Every change of the rooms that a node wants has a number, its *seq*. On a new link the peer gets
//! a snapshot as of one seq, then the changes after it. Frames are pulled ([`Node::next_frame`])
//! when the link can write, so changes coalesce by themselves. A peer's view is exact, or it is
//! *open*: then everything is forwarded to that peer. It is open until a snapshot is complete on
//! the present inbound link, and again when that link is lost, when a change is missing, when the
//! digest that the peer gossips differs, or when the stream is stuck.
//!
//! **Invariant.** Let a room's join at node A have a number not above A's [floor](Node::floor). Let
//! B be ready, A and B each take the other for alive, and B's inbound link from A, if it has one, be
//! A's present outbound link. Then B forwards to A what is emitted to the room.
//!
//! So all alive peers hold the floor, except one that is joining and that no link of ours has ever
//! reached: its view can only be open. One that is joining and linked does hold it, and so does a
//! node that a link has reached before gossip has said that it is alive: it may have a snapshot and
//! be ready before we hear of it. The floor never falls: a peer that comes back or comes new has an
//! open view until it has a snapshot that is newer than all floors before.

mod action;
mod counters;
mod dial;
mod hello;
mod interest;
mod members;
mod node;
mod room;
mod rules;
pub mod slots;
mod wire;

pub use action::{Action, LinkId};
pub use counters::Part;
pub use hello::{Hello, PROBE, PROTOCOL, Refused};
pub use interest::{Change, Mark};
pub use members::{Gossiped, Lifecycle, SLOTS};
pub use node::{Broken, Node, PeerStatus, Settings};
pub use room::RoomKey;
pub use wire::{Answered, Frame, Malformed, Reported};

#[cfg(test)]
pub(crate) use rules::{Rule, Rules};
