//! The data plane. A shard is one thread that owns a share of the node's connections, their
//! sockets, its part of every room and its outboxes.
//!
//! | module | what it is |
//! |---|---|
//! | `machine` | PURE: one connection's protocol state |
//! | `rooms` | PURE: who is in which room |
//! | `outbox` | PURE: what waits to be written to a connection |
//! | `conflate` | PURE: at most one value per interval |
//! | `timers` | PURE: when what is due |
//! | `command` | what reaches a shard from elsewhere |
//! | `state` | all that a shard owns |
//! | `incoming`, `connect`, `effects`, `deliver`, `run`, `query` | what it does with it |
//! | `records` | what recoverable rooms and coming back take |
//! | `registering` | answers that wait until the peers know of a room's member |
//! | `settling` | work that begins then, and what is held back for it |
//! | `writing`, `ending` | outboxes to sockets; how connections and sockets end |
//! | `watched` | what is told to whoever looks by the admin UI |
//! | `thread` | the loop |

pub(crate) mod command;
pub(crate) mod conflate;
mod connect;
mod deliver;
mod effects;
mod ending;
mod incoming;
pub mod machine;
pub mod outbox;
mod query;
mod records;
mod registering;
pub mod rooms;
mod run;
mod settling;
pub(crate) mod state;
pub(crate) mod thread;
pub(crate) mod timers;
mod watched;
mod writing;
