//! Which slot a room belongs to, and who is to hold a slot.

use std::sync::LazyLock;

use super::{NodeId, SlotNo};
use crate::proto::room::{finish, hash};

/// The part of a room's name that decides its slot: what follows the first colon, else all of it.
pub fn tag(room: &str) -> &str {
    room.split_once(':').map_or(room, |(_, tag)| tag)
}

/// The slot of a room: the first byte of SHA-256 over its tag in UTF-8.
///
/// Stored cursors and other nodes rely on it: it may never change. It is the daemon's function.
pub fn slot_of(room: &str) -> SlotNo {
    (sha256(tag(room).as_bytes())[0] >> 24) as u8
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

/// The constants of SHA-256: fractional parts of the roots of the first primes, worked out once.
static CONSTANTS: LazyLock<([u32; 8], Vec<u32>)> = LazyLock::new(|| {
    let primes: Vec<u128> = (2..312)
        .filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .take(64)
        .collect();
    let mut state = [0_u32; 8];
    for (word, prime) in state.iter_mut().zip(&primes) {
        *word = root(*prime << 64, 2) as u32;
    }
    let rounds = primes.iter().map(|p| root(*p << 96, 3) as u32).collect();
    (state, rounds)
});

/// SHA-256 (FIPS 180-4).
fn sha256(bytes: &[u8]) -> [u32; 8] {
    let (mut state, k) = (CONSTANTS.0, &CONSTANTS.1);
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((bytes.len() + 9).div_ceil(64) * 64 - 8, 0);
    padded.extend_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        compress(&mut state, block, k);
    }
    state
}

fn compress(state: &mut [u32; 8], block: &[u8], k: &[u32]) {
    let mut w: Vec<u32> = block
        .chunks_exact(4)
        .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
        .collect();
    for i in 16..64 {
        let (a, b) = (w[i - 15], w[i - 2]);
        let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        let sum = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]);
        w.push(sum.wrapping_add(s1));
    }
    let mut v = *state;
    for i in 0..64 {
        let [a, b, c, d, e, f, g, h] = v;
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice);
        let t1 = t1.wrapping_add(k[i]).wrapping_add(w[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        v = [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g];
    }
    for (word, add) in state.iter_mut().zip(v) {
        *word = word.wrapping_add(add);
    }
}

/// The largest whole number whose power is not above `of`; it has at most 36 bits here.
fn root(of: u128, power: u32) -> u128 {
    let mut found = 0;
    for bit in (0..37).rev() {
        let tried: u128 = found | 1 << bit;
        if tried.checked_pow(power).is_some_and(|it| it <= of) {
            found = tried;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same values as in the daemon's tests, computed with coreutils.
    #[test]
    fn slots_are_the_same_on_every_node_and_version() {
        assert_eq!(slot_of("user:u1"), 0xbb);
        assert_eq!(slot_of("lobby"), 0x4b);
        assert_eq!(slot_of("user:"), 0xe3);
        assert_eq!(slot_of("a:b:c"), 0x33);
        assert_eq!(slot_of("quote:AAPL"), 0x1e);
        assert_eq!(slot_of("raum:zürich"), 0x20);
        assert_eq!(slot_of("trades:u1"), slot_of("portfolio:u1"));
    }

    /// `printf %s TEXT | sha256sum`, at the lengths where the padding changes.
    #[test]
    fn it_is_sha256() {
        assert_eq!(sha256(b"")[0], 0xe3b0_c442);
        assert_eq!(sha256(b"abc")[7], 0xf200_15ad);
        assert_eq!(sha256(&[b'a'; 55])[0], 0x9f43_90f8);
        assert_eq!(sha256(&[b'a'; 56])[0], 0xb354_39a4);
        assert_eq!(sha256(&[b'a'; 64])[0], 0xffe0_54fe);
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
