//! Changes in an application's MongoDB that become events.
//!
//! Each stream of the configuration is read by one node of a cluster. Another takes over when that
//! leaves or dies, and goes on where the document in MongoDB says: what was emitted and not written
//! down is emitted again, with the same ids, by which it is known.
//!
//! | module | what it is |
//! |---|---|
//! | `reader`, `reader/` | PURE: which node reads, and how far it has come |
//! | `run` | carries that out: the document in MongoDB, the stream, the clock |
//! | `pump` | from the stream to the rooms, in order |
//! | `figures` | what health and metrics tell |

mod figures;
mod pump;
mod reader;
mod run;
#[cfg(test)]
mod sim;

pub(crate) use figures::{StreamFigures, of};
pub(crate) use run::start;

/// What the ids of these emits begin with.
const ID_PREFIX: &str = "change:";

/// Whether an emit's id says that it is a change, which may be emitted by two nodes.
pub(crate) fn is_change(id: &str) -> bool {
    id.starts_with(ID_PREFIX)
}
