//! Frames of the control lane as bytes: one byte for the kind, then numbers in big-endian order and
//! fields after their length.
//!
//! A kind that this version does not know is a frame to skip, not an error: so a later version can
//! say more. What a known kind says must be just that, to the last byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::counters::{MAX_KEY, MAX_PARTS};
use super::{Change, Part, RoomKey};

/// The most rooms in one snapshot frame.
pub(crate) const MAX_ROOMS: usize = 4096;
/// The most changes in one delta frame.
pub(crate) const MAX_CHANGES: usize = 4096;
/// The most keys in one report or answer.
pub(crate) const MAX_ENTRIES: usize = 512;

/// What a node tells a peer on the control lane of its outbound link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A part of all rooms that the sender wants.
    Snapshot {
        /// As of which change.
        seq: u64,
        /// How many rooms all parts have together.
        total: u32,
        /// Whether this is the first part; what came of an earlier snapshot is void.
        first: bool,
        /// Whether this is the last part: now it takes effect.
        last: bool,
        /// The rooms of this part.
        rooms: Vec<RoomKey>,
    },
    /// What has changed since.
    Delta {
        /// The number of the change before the first of these.
        from: u64,
        /// The changes, each with the next number.
        changes: Vec<Change>,
    },
    /// The sender has applied the receiver's interest up to a change.
    Ack {
        /// Which start of the receiver is meant.
        generation: u64,
        /// Up to which change.
        seq: u64,
    },
    /// The sender has lost track: the receiver is to send a snapshot.
    Resync,
    /// The sender's own counts of keys that the receiver owns.
    Report {
        /// By key.
        entries: Vec<Reported>,
    },
    /// The other nodes' counts of keys that the sender owns.
    Answer {
        /// By key.
        entries: Vec<Answered>,
    },
}

/// What one node counts of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The key.
    pub key: Bytes,
    /// Whether the reporter does not know what the others have and must be told.
    pub anew: bool,
    /// All that it counts, in place of what it reported before.
    pub parts: Vec<Part>,
}

/// What all others count of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The key.
    pub key: Bytes,
    /// All that they count, in place of what was answered before.
    pub parts: Vec<Part>,
}

/// Bytes that are not a frame. The link they came on cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control frame of kind {kind} is damaged")]
pub struct Malformed {
    /// The kind that it claims to be; 0 if there is none.
    pub kind: u8,
}

const SNAPSHOT: u8 = 1;
const DELTA: u8 = 2;
const ACK: u8 = 3;
const RESYNC: u8 = 4;
const REPORT: u8 = 5;
const ANSWER: u8 = 6;

const FIRST: u8 = 1;
const LAST: u8 = 2;

impl Frame {
    /// The bytes to send.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.size_hint());
        match self {
            Self::Snapshot {
                seq,
                total,
                first,
                last,
                rooms,
            } => {
                bytes.put_u8(SNAPSHOT);
                bytes.put_u64(*seq);
                bytes.put_u32(*total);
                bytes.put_u8(if *first { FIRST } else { 0 } | if *last { LAST } else { 0 });
                rooms.iter().for_each(|room| bytes.put_u64(room.0));
            }
            Self::Delta { from, changes } => {
                bytes.put_u8(DELTA);
                bytes.put_u64(*from);
                for change in changes {
                    bytes.put_u8(change.is_join().into());
                    bytes.put_u64(change.room().0);
                }
            }
            Self::Ack { generation, seq } => {
                bytes.put_u8(ACK);
                bytes.put_u64(*generation);
                bytes.put_u64(*seq);
            }
            Self::Resync => bytes.put_u8(RESYNC),
            Self::Report { entries } => {
                bytes.put_u8(REPORT);
                for entry in entries {
                    bytes.put_u8(entry.anew.into());
                    put_count(&mut bytes, &entry.key, &entry.parts);
                }
            }
            Self::Answer { entries } => {
                bytes.put_u8(ANSWER);
                for entry in entries {
                    put_count(&mut bytes, &entry.key, &entry.parts);
                }
            }
        }
        bytes.freeze()
    }

    /// Reads what a peer sent; none if only a later version knows its kind. Keys of counts share
    /// its memory.
    pub fn decode(mut bytes: Bytes) -> Result<Option<Self>, Malformed> {
        let kind = bytes.try_get_u8().map_err(|_| Malformed { kind: 0 })?;
        let frame = match kind {
            SNAPSHOT => snapshot(&mut bytes),
            DELTA => delta(&mut bytes),
            ACK => ack(&mut bytes),
            RESYNC => Some(Self::Resync),
            REPORT => entries(&mut bytes, reported).map(|entries| Self::Report { entries }),
            ANSWER => entries(&mut bytes, answered).map(|entries| Self::Answer { entries }),
            _ => return Ok(None),
        };
        match frame {
            Some(frame) if bytes.is_empty() => Ok(Some(frame)),
            _ => Err(Malformed { kind }),
        }
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::Snapshot { rooms, .. } => 14 + 8 * rooms.len(),
            Self::Delta { changes, .. } => 9 + 9 * changes.len(),
            Self::Report { entries } => 1 + 48 * entries.len(),
            Self::Answer { entries } => 1 + 48 * entries.len(),
            Self::Ack { .. } | Self::Resync => 17,
        }
    }
}

fn snapshot(bytes: &mut Bytes) -> Option<Frame> {
    let seq = bytes.try_get_u64().ok()?;
    let total = bytes.try_get_u32().ok()?;
    let flags = bytes.try_get_u8().ok()?;
    let count = whole(bytes.len(), 8, MAX_ROOMS)?;
    if flags & !(FIRST | LAST) != 0 {
        return None;
    }
    Some(Frame::Snapshot {
        seq,
        total,
        first: flags & FIRST != 0,
        last: flags & LAST != 0,
        rooms: (0..count).map(|_| RoomKey(bytes.get_u64())).collect(),
    })
}

fn delta(bytes: &mut Bytes) -> Option<Frame> {
    let from = bytes.try_get_u64().ok()?;
    let count = whole(bytes.len(), 9, MAX_CHANGES)?;
    // The last change's number must be one, too.
    from.checked_add(count as u64)?;
    let changes = (0..count).map(|_| match (bytes.get_u8(), bytes.get_u64()) {
        (0, room) => Some(Change::Leave(RoomKey(room))),
        (1, room) => Some(Change::Join(RoomKey(room))),
        _ => None,
    });
    let changes = changes.collect::<Option<_>>()?;
    Some(Frame::Delta { from, changes })
}

fn ack(bytes: &mut Bytes) -> Option<Frame> {
    Some(Frame::Ack {
        generation: bytes.try_get_u64().ok()?,
        seq: bytes.try_get_u64().ok()?,
    })
}

/// How many items of one size there are, if that is a whole and an allowed number.
fn whole(bytes: usize, each: usize, most: usize) -> Option<usize> {
    let count = bytes / each;
    (bytes.is_multiple_of(each) && count <= most).then_some(count)
}

/// Reads entries to the end. Each takes at least three bytes, so what is allocated stays in
/// proportion to what was sent.
fn entries<T>(bytes: &mut Bytes, entry: fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        if entries.len() == MAX_ENTRIES {
            return None;
        }
        entries.push(entry(bytes)?);
    }
    Some(entries)
}

fn reported(bytes: &mut Bytes) -> Option<Reported> {
    let anew = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (key, parts) = count(bytes)?;
    Some(Reported { key, anew, parts })
}

fn answered(bytes: &mut Bytes) -> Option<Answered> {
    let (key, parts) = count(bytes)?;
    Some(Answered { key, parts })
}

fn put_count(bytes: &mut BytesMut, key: &Bytes, parts: &[Part]) {
    debug_assert!(key.len() <= MAX_KEY && parts.len() <= MAX_PARTS);
    bytes.put_u16(key.len() as u16);
    bytes.put_slice(key);
    bytes.put_u8(parts.len() as u8);
    for (ttl_ms, amount) in parts {
        bytes.put_u32(*ttl_ms);
        bytes.put_u32(*amount);
    }
}

fn count(bytes: &mut Bytes) -> Option<(Bytes, Vec<Part>)> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    if length > MAX_KEY || length > bytes.len() {
        return None;
    }
    let key = bytes.split_to(length);
    let count = usize::from(bytes.try_get_u8().ok()?);
    if count > MAX_PARTS || count * 8 > bytes.len() {
        return None;
    }
    let parts = (0..count).map(|_| (bytes.get_u32(), bytes.get_u32()));
    Some((key, parts.collect()))
}

#[cfg(test)]
mod tests;
