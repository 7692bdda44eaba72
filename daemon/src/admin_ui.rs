//! The namespace of Socket.IO's Admin UI (`@socket.io/admin-ui`): a page that is served from
//! elsewhere, logs in here, and sees and acts on all nodes. `docs/admin-ui.md` is for operators.
//!
//! | module | what it is |
//! |---|---|
//! | `handler` | the namespace, beside those of the application |
//! | `login` | who may look, and for how long |
//! | `wish` | PURE: what the page asks for |
//! | `watch` | this node's one task for whoever looks, on any node |
//! | `note` | PURE: what shards tell meanwhile, and the events that it becomes |
//! | `view` | PURE: a socket as the page shows it |
//! | `redact` | PURE: what is left out of it |
//! | `figures` | what the node has done, second by second |
//! | `bucket` | PURE: so many things in a second |
//!
//! Whoever looks is in the room `ROOM` of the namespace, so each node knows by the interest in
//! that room, as with any other, whether there is somebody. If so, its shards note what happens, and
//! its task emits that to the room: the way of all emits carries it to every node. If not, the shards
//! note nothing and the task collects nothing.

mod bucket;
mod figures;
mod handler;
mod login;
mod note;
mod redact;
mod view;
mod watch;
mod wish;

pub(crate) use bucket::Bucket;
pub use handler::AdminUi;
pub use login::{Operator, Operators, Stamp};
pub(crate) use note::{Note, What, shown_data, shown_event};
pub(crate) use view::Seen;
pub use watch::Watch;
pub(crate) use watch::run;

/// The room of everybody who looks.
pub(crate) const ROOM: &str = "operators";

/// Sockets that one look shows: pages do not take many more.
pub(crate) const SHOWN: usize = 1000;
