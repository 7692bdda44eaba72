//! The cursor: what a client keeps as its offset and returns after a drop.
//!
//! It says for each slot up to where everything has been sent on this socket. Its text is the last
//! argument of every recoverable event, so it is short, and safe in JSON and in URLs:
//!
//! ```text
//! cursor = "1" entry *( "~" entry )          ; "1" is the version
//! entry  = slot seq [ "." counter "." random ]
//! ```
//!
//! `slot` is two digits; the others are as long as they need be. A digit is six bits in the
//! alphabet of base64url, the highest first. An entry without an epoch has that of the entry before
//! it, which on one node is the rule. Slots rise; there is one text per cursor.

use super::slot::{Eid, Offset, Position, SLOTS};

const VERSION: u8 = b'1';
const BETWEEN_ENTRIES: char = '~';
const BETWEEN_PARTS: char = '.';
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BITS_PER_DIGIT: u32 = 6;
/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 11;
const SLOT_DIGITS: usize = 2;
/// One entry at its longest: slot, three numbers, two dots and the separator.
const MAX_ENTRY: usize = SLOT_DIGITS + 3 * MAX_DIGITS + 3;
/// Nothing longer is looked at: it cannot be a cursor.
pub const MAX_TEXT: usize = 1 + SLOTS * MAX_ENTRY;

/// For each slot that a socket has heard of, up to where everything has been sent to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Rising by slot, at most one per slot; a socket has few.
    entries: Vec<(u8, Position)>,
}

/// Why a text is not a cursor. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Longer than any cursor.
    #[error("the offset has {0} bytes, at most {MAX_TEXT} are allowed")]
    TooLong(usize),
    /// Not a text that `encode` makes.
    #[error("the offset is not one that this service gave out")]
    Malformed,
}

impl Cursor {
    /// The cursor of a socket that has been sent nothing recoverable.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// A cursor of one slot.
    pub fn single(slot: u8, eid: Eid, seq: u64) -> Self {
        Self {
            entries: vec![(slot, Position { eid, seq })],
        }
    }

    /// Everything in the slot up to `seq` has been sent. A position that is not later changes
    /// nothing, so that a frame sent twice cannot take a cursor back.
    pub fn advance(&mut self, slot: u8, eid: Eid, seq: u64) {
        let new = Position { eid, seq };
        match self.entries.binary_search_by_key(&slot, |entry| entry.0) {
            Ok(at) => self.entries[at].1 = self.entries[at].1.max(new),
            Err(at) => self.entries.insert(at, (slot, new)),
        }
    }

    /// Drops a slot in which the socket has no room any more, to keep the text short.
    pub fn forget(&mut self, slot: u8) {
        self.entries.retain(|entry| entry.0 != slot);
    }

    /// Up to where everything in the slot has been sent, if anything has.
    pub fn position(&self, slot: u8) -> Option<Position> {
        let at = self
            .entries
            .binary_search_by_key(&slot, |entry| entry.0)
            .ok()?;
        Some(self.entries[at].1)
    }

    /// All positions, rising by slot.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Position)> + '_ {
        self.entries.iter().copied()
    }

    /// The text for the client.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 + 8 * self.entries.len());
        encode(&self.entries, &mut text);
        text
    }

    /// Reads a text that a client returned. Accepts exactly what `encode` makes.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_TEXT {
            return Err(CursorError::TooLong(text.len()));
        }
        let cursor = parse(text).ok_or(CursorError::Malformed)?;
        if cursor.encode() == text {
            Ok(cursor)
        } else {
            Err(CursorError::Malformed)
        }
    }
}

impl Offset {
    /// The text of a cursor of this one offset, with a single allocation: made for each emit.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(1 + MAX_ENTRY);
        encode(&[(self.slot, self.position)], &mut text);
        text
    }
}

fn encode(entries: &[(u8, Position)], text: &mut String) {
    text.push(VERSION.into());
    let mut last = None;
    for (slot, Position { eid, seq }) in entries {
        if last.is_some() {
            text.push(BETWEEN_ENTRIES);
        }
        text.push(digit(u64::from(*slot) >> BITS_PER_DIGIT));
        text.push(digit(u64::from(*slot)));
        push_number(*seq, text);
        if last != Some(*eid) {
            text.push(BETWEEN_PARTS);
            push_number(eid.counter, text);
            text.push(BETWEEN_PARTS);
            push_number(eid.random, text);
        }
        last = Some(*eid);
    }
}

/// Lenient about what has several spellings; the caller compares with the one that `encode` makes.
fn parse(text: &str) -> Option<Cursor> {
    let body = text.strip_prefix(char::from(VERSION))?;
    let mut cursor = Cursor::new();
    if body.is_empty() {
        return Some(cursor);
    }
    let mut last = None;
    for entry in body.split(BETWEEN_ENTRIES) {
        let mut parts = entry.split(BETWEEN_PARTS);
        let (slot, seq) = parts.next()?.split_at_checked(SLOT_DIGITS)?;
        let eid = match parts.next() {
            Some(counter) => Eid {
                counter: number(counter)?,
                random: number(parts.next()?)?,
            },
            None => last?,
        };
        let slot = u8::try_from(number(slot)?).ok()?;
        let follows = cursor.entries.last().is_none_or(|entry| entry.0 < slot);
        if !follows || parts.next().is_some() {
            return None;
        }
        cursor.entries.push((
            slot,
            Position {
                eid,
                seq: number(seq)?,
            },
        ));
        last = Some(eid);
    }
    Some(cursor)
}

fn digit(value: u64) -> char {
    DIGITS[(value & 0x3f) as usize].into()
}

fn push_number(value: u64, text: &mut String) {
    let digits = (u64::BITS - value.leading_zeros())
        .div_ceil(BITS_PER_DIGIT)
        .max(1);
    for place in (0..digits).rev() {
        text.push(digit(value >> (place * BITS_PER_DIGIT)));
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    text.bytes().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        value.checked_mul(64)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
    use proptest::{collection, prop_assert, prop_assert_eq};

    fn cursors() -> impl Strategy<Value = Cursor> {
        let eid = (0..3_u64, any::<u64>()).prop_map(|(counter, random)| Eid {
            counter,
            random: if counter == 0 { 7 } else { random },
        });
        collection::btree_map(any::<u8>(), (eid, any::<u64>()), 0..SLOTS).prop_map(|entries| {
            let mut cursor = Cursor::new();
            for (slot, (eid, seq)) in entries {
                cursor.advance(slot, eid, seq);
            }
            cursor
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_encoded_is_decoded(cursor in cursors()) {
            let text = cursor.encode();
            prop_assert!(text.len() <= MAX_TEXT);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)));
            prop_assert_eq!(Cursor::decode(&text), Ok(cursor));
        }

        #[test]
        fn what_is_decoded_is_encoded_alike(text in "1[A-Za-z0-9_.~-]{0,40}|\\PC{0,40}") {
            if let Ok(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }

        #[test]
        fn an_offset_has_the_text_of_its_cursor(slot: u8, counter: u64, random: u64, seq: u64) {
            let eid = Eid { counter, random };
            let offset = Offset { slot, position: Position { eid, seq } };
            prop_assert_eq!(offset.encode(), Cursor::single(slot, eid, seq).encode());
        }
    }

    const EID: Eid = Eid {
        counter: 1,
        random: 0xffff_ffff_ffff_ffff,
    };

    #[test]
    fn the_text_is_stable() {
        let mut cursor = Cursor::single(255, EID, 64);
        assert_eq!(cursor.encode(), "1D_BA.B.P__________");
        cursor.advance(2, EID, 0);
        assert_eq!(cursor.encode(), "1ACA.B.P__________~D_BA");
        assert_eq!(Cursor::new().encode(), "1");
    }

    #[test]
    fn a_cursor_never_goes_back() {
        let mut cursor = Cursor::single(3, EID, 10);
        cursor.advance(3, EID, 9);
        cursor.advance(
            3,
            Eid {
                counter: 0,
                random: 5,
            },
            99,
        );
        assert_eq!(cursor.position(3), Some(Position { eid: EID, seq: 10 }));
        cursor.advance(
            3,
            Eid {
                counter: 2,
                random: 0,
            },
            10,
        );
        assert_eq!(cursor.position(3).unwrap().eid.counter, 2);
        cursor.forget(3);
        assert_eq!(cursor.position(3), None);
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = [
            "",                   // nothing
            "2AAA.B.B",           // another version
            "1AAA",               // no epoch to take over
            "1AAA.B",             // half an epoch
            "1AAA.B.B.B",         // too many parts
            "1AA.B.B",            // no number
            "1EAB.B.B",           // no such slot
            "1AAB.B.B~",          // an entry missing
            "1ABB.B.B~AAB",       // slots fall
            "1ABB.B.B~ABB",       // a slot twice
            "1AAAB.B.B",          // a leading zero
            "1AAB.B.B~ABB.B.B",   // an epoch repeated
            "1AAB.B.Q__________", // a number too large
            "1AA\u{e9}.B.B",      // not ASCII
            "1A\u{e9}A.B.B",      // not ASCII at the end of the slot
        ];
        for text in refused {
            assert_eq!(Cursor::decode(text), Err(CursorError::Malformed), "{text}");
        }
        let long = "1".repeat(MAX_TEXT + 1);
        assert_eq!(Cursor::decode(&long), Err(CursorError::TooLong(long.len())));
    }
}
