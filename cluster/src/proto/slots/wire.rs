//! Messages as bytes: the slot, one byte for the kind, then numbers in big-endian order, texts
//! after
//! their length, lists after their count.
//!
//! A kind that this version does not know is a message to skip, not an error. What a known kind
//! says
//! must be just that, to the last byte.

mod fields;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Answer, Message, Request, Sealed, SlotNo};
pub(super) use fields::{Field, Input};

/// Bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of kind {kind} about a slot is damaged")]
pub struct Malformed {
    /// The kind that it claims to be; 0 if there is none.
    pub kind: u8,
}

/// Names the kinds of an enumeration and the fields of each, once for both directions.
macro_rules! kinds {
    ($of:ident, $put:ident, $take:ident: $($kind:literal => $name:ident { $($field:ident),* },)*) => {
        fn $put(value: &$of, out: &mut BytesMut) {
            match value {
                $($of::$name { $($field),* } => {
                    out.put_u8($kind);
                    $($field.put(out);)*
                })*
            }
        }

        /// None if the kind is not known, some of none if the rest is not it.
        fn $take(kind: u8, input: &mut Input) -> Option<Option<$of>> {
            match kind {
                $($kind => {
                    let take = |_input: &mut Input| {
                        $(let $field = Field::take(_input)?;)*
                        Some($of::$name { $($field),* })
                    };
                    Some(take(input))
                })*
                _ => None,
            }
        }
    };
}

kinds! { Message, put_message, take_message:
    1 => Seal { eid },
    2 => Sealed { eid, sealed },
    3 => Refused { eid, promise },
    4 => Fetch { eid, chain, end, rest },
    5 => Fetched { eid, asked, basis, rest },
    6 => Follow { eid, sources },
    7 => Followed { eid },
    8 => Install { reign },
    9 => Installed { eid },
    10 => Copy { eid, prev, entries },
    11 => Copied { eid, seq },
    12 => CopyRefused { eid, promise },
    13 => Holding { slots },
    14 => Fill { chain, end, below },
    15 => Filled { eid, low, below, entries, marks },
    16 => Ask { rid, request },
    17 => Told { rid, answer },
    18 => Feed { eid, stream, rooms, after },
    19 => FeedChange { stream, nth, room, wanted },
    20 => FeedEnd { stream },
    21 => Fed { stream, nth, cut, entries, added, position, more },
    22 => Feeding { streams },
    23 => Evict { pid, home },
    24 => FeedMore { stream, nth },
}

kinds! { Request, put_request, take_request:
    1 => Emit { room, id, payload },
    2 => Put { pid, record, taken, last },
    3 => Take { pid, home, offset },
    4 => Leave { pid, home },
    5 => Delete { pid, home },
    6 => Read { rooms, known, upto },
    7 => History { room, after, limit },
}

kinds! { Answer, put_answer, take_answer:
    1 => Done { position, copies, kept },
    2 => Taken { record, position, kept },
    3 => Lost {},
    4 => Entries { entries, upto },
    5 => Invalid {},
    6 => NotOwner {},
    7 => Unavailable {},
}

impl Field for Request {
    fn put(&self, out: &mut BytesMut) {
        put_request(self, out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        let kind = u8::take(input)?;
        take_request(kind, input)?
    }
}

impl Field for Answer {
    fn put(&self, out: &mut BytesMut) {
        put_answer(self, out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        let kind = u8::take(input)?;
        take_answer(kind, input)?
    }
}

impl Field for Sealed {
    fn put(&self, out: &mut BytesMut) {
        self.record.put(out);
        self.chain.put(out);
        self.end.put(out);
        self.from.put(out);
        self.suspect.put(out);
        self.size.put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        Some(Self {
            record: Field::take(input)?,
            chain: Field::take(input)?,
            end: Field::take(input)?,
            from: Field::take(input)?,
            suspect: Field::take(input)?,
            size: Field::take(input)?,
        })
    }
}

impl Message {
    /// The bytes to send.
    pub fn encode(&self, slot: SlotNo) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(slot);
        put_message(self, &mut out);
        out.freeze()
    }

    /// Reads what a peer sent, and about which slot; none if only a later version knows its kind.
    /// Texts share its memory.
    pub fn decode(bytes: Bytes) -> Result<Option<(SlotNo, Self)>, Malformed> {
        let mut input = Input(bytes);
        let head = u8::take(&mut input).zip(u8::take(&mut input));
        let (slot, kind) = head.ok_or(Malformed { kind: 0 })?;
        match take_message(kind, &mut input) {
            None => Ok(None),
            Some(Some(message)) if input.0.is_empty() => Ok(Some((slot, message))),
            Some(_) => Err(Malformed { kind }),
        }
    }
}

#[cfg(test)]
mod tests;
