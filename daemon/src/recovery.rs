//! Recoverable rooms: what a client missed can be replayed, or it is told that it cannot.
//!
//! A recoverable emit is appended to the log of its room's slot, by the slot's owner, wherever that
//! is, and only then delivered, with a cursor as the event's last argument. A client that returns
//! with its cursor, to any node, gets what followed it, once and in order, or is told
//! `recovered: false`. The rules, and what runs them, are the cluster's ([`tidings_cluster`]); a
//! node alone is a cluster of one.
//!
//! | module | what it is |
//! |---|---|
//! | `slot` | where an entry stands |
//! | `room` | a room's name in the log |
//! | `event` | an event in the log: what is delivered, and to whom not |
//! | `cursor` | the text a client keeps as its offset |
//! | `record` | what of a socket is restored, in the record that the cluster keeps |
//! | `session` | what a shard keeps for a socket that may be recovered |
//! | `keep` | the store as the cluster sees it; what is read from it at a start |
//! | `desk` | where shards and emitters ask for recovery |
//! | `feed` | what the cluster tells, on its way to the shards |
//! | `lost` | who may be coming back, so that limits of addresses do not hit them |

pub mod cursor;
pub(crate) mod desk;
pub(crate) mod event;
pub(crate) mod feed;
pub mod keep;
pub(crate) mod lost;
pub mod record;
pub(crate) mod room;
pub(crate) mod session;
pub mod slot;
