//! Recoverable rooms on one node: what a client missed can be replayed, or it is told that it cannot.
//!
//! A recoverable emit is appended to the log of its room's slot, flushed, and only then delivered,
//! with a cursor as the event's last argument. A client that returns with its cursor gets what
//! followed it, exactly once and in order, or is told `recovered: false`.
//!
//! | module | what it is |
//! |---|---|
//! | [`slot`] | room → tag → slot; epochs and positions |
//! | [`cursor`] | the text a client keeps as its offset |
//! | [`log`] | PURE: the entries of all slots, their epochs, what of them has been trimmed |
//! | [`record`] | PURE: what must be known of a connection to restore it |
//! | [`replay`] | PURE: from a record and an offset to the missed entries, or to a reason |
//! | [`journal`] | the store, as the log sees it; opening the log at a start |
//! | [`committer`] | the one task that owns the log: group commit, order, answers |
//!
//! Nothing but [`journal`] and [`committer`] acts. Epochs are opened by [`log::Log::open`] alone, so a cluster's
//! way of agreeing on an epoch can later take the place of one node's without a change elsewhere.

pub mod committer;
pub mod cursor;
pub(crate) mod desk;
pub mod journal;
pub mod log;
pub mod record;
pub mod replay;
pub(crate) mod session;
pub mod slot;

#[cfg(test)]
mod sim;
