//! Which slot a room belongs to, and who is to hold a slot.

use sha2::{Digest, Sha256};

use super::{NodeId, SlotNo};
use crate::proto::room::{finish, hash};

/// The part of a room's name that decides its slot: what follows the first colon, else all of it.
pub fn tag(room: &str) -> &str {
    room.split_once(':').map_or(room, |(_, tag)| tag)
}

/// The slot of a room: the first byte of SHA-256 over its tag in UTF-8.
///
/// Stored cursors and other nodes rely on it: it may never change.
pub fn slot_of(room: &str) -> SlotNo {
    slot_of_tag(tag(room))
}

/// The slot of a tag. Records of a user are in that of the user's id, which is that of
/// `portfolio:{id}` and `trades:{id}`, too: one owner to ask.
pub fn slot_of_tag(tag: &str) -> SlotNo {
    Sha256::digest(tag)[0]
}

/// Nodes in the order in which they are to hold a slot (rendezvous hashing).
pub fn rendezvous(slot: SlotNo, nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let weight = |node: &NodeId| {
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&node.0.to_be_bytes());
        bytes[8] = slot;
        (finish(hash(&bytes)), node.0)
    };
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(weight(node)));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with coreutils: `printf %s TAG | sha256sum | cut -c1-2`.
    #[test]
    fn slots_are_the_same_on_every_node_and_version() {
        assert_eq!(slot_of("user:u1"), 0xbb);
        assert_eq!(slot_of("lobby"), 0x4b);
        assert_eq!(slot_of("user:"), 0xe3);
        assert_eq!(slot_of("a:b:c"), 0x33);
        assert_eq!(slot_of("quote:AAPL"), 0x1e);
        assert_eq!(slot_of("raum:zürich"), 0x20);
        assert_eq!(slot_of("trades:u1"), slot_of("portfolio:u1"));
        assert_eq!(slot_of("user:a:b"), slot_of_tag("a:b"));
    }

    #[test]
    fn slots_spread_over_nodes() {
        let nodes = [NodeId(1), NodeId(2), NodeId(3)];
        let mut firsts = [0; 4];
        for slot in 0..=255 {
            let order = rendezvous(slot, nodes);
            firsts[order[0].0 as usize] += 1;
            // Without the first, the others keep their order.
            assert_eq!(rendezvous(slot, order[1..].iter().copied()), order[1..]);
        }
        assert!(firsts[1..].iter().all(|count| *count > 50), "{firsts:?}");
    }
}
