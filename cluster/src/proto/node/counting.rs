//! What this node counts of keys that have a limit across the cluster.

use bytes::Bytes;

use super::Node;
use crate::proto::Part;

impl Node {
    /// What this node counts of a key is this now: for how many milliseconds, and how much. It goes
    /// to the others at the next exchange; what they count comes as [`Action::Others`]. Without
    /// parts the count is withdrawn. A key of more than 1,024 bytes is not exchanged.
    ///
    /// After a restart, what is still counted must be said again: it takes the place of what was
    /// said before.
    ///
    /// [`Action::Others`]: crate::proto::Action::Others
    pub fn count(&mut self, key: Bytes, parts: Vec<Part>, now_ms: u64) {
        self.counters.count(key, &parts, now_ms);
    }
}
