//! The cursor: what a client keeps as its offset and returns after a drop.
//!
//! It says for each slot up to where everything has been sent on this socket. Its text is the last
//! argument of every recoverable event, so it is short, and safe in JSON and in URLs:
//!
//! ```text
//! cursor  = "1" [ entry *( "~" entry ) ] [ "!" place ]    ; "1" is the version
//! entry   = slot place
//! place   = seq [ "." counter "." random ]
//! ```
//!
//! `slot` is two digits; the others are as long as they need be. A digit is six bits in the
//! alphabet of base64url, the highest first. A place without an epoch has that of the place before
//! it. Slots rise; there is one text per cursor. What follows the `!` is where the socket's record
//! was written last, in the slot of its user; it is left out where the entry of that slot says as
//! much, as it does for a user's own rooms: so the text is the same for all of a room's members.

use super::slot::{Eid, Offset, Position, SLOTS, SlotNo};

const VERSION: u8 = b'1';
const BETWEEN_ENTRIES: char = '~';
const BETWEEN_PARTS: char = '.';
const BEFORE_WRITTEN: char = '!';
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BITS_PER_DIGIT: u32 = 6;
/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 11;
const SLOT_DIGITS: usize = 2;
/// One entry at its longest: slot, three numbers, two dots and the separator.
const MAX_ENTRY: usize = SLOT_DIGITS + 3 * MAX_DIGITS + 3;
/// Nothing longer is looked at: it cannot be a cursor.
pub const MAX_TEXT: usize = 1 + (SLOTS + 1) * MAX_ENTRY;

/// For each slot that a socket has heard of, up to where everything has been sent to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Rising by slot, at most one per slot; a socket has few.
    entries: Vec<(SlotNo, Position)>,
    /// Where its record was written last, if no entry says as much.
    written: Option<Position>,
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
            written: None,
        }
    }

    /// A cursor of one slot.
    pub fn single(offset: Offset) -> Self {
        Self {
            entries: vec![(offset.slot, offset.position)],
            written: None,
        }
    }

    /// Everything in the slot up to the position has been sent. It takes the place of the one
    /// before, also where its epoch is lower: that of a branch that was dropped may be higher.
    pub fn set(&mut self, slot: SlotNo, position: Position) {
        match self.entries.binary_search_by_key(&slot, |entry| entry.0) {
            Ok(at) => self.entries[at].1 = position,
            Err(at) => self.entries.insert(at, (slot, position)),
        }
    }

    /// Up to where everything in the slot has been sent, if anything has.
    pub fn position(&self, slot: SlotNo) -> Option<Position> {
        let at = self
            .entries
            .binary_search_by_key(&slot, |entry| entry.0)
            .ok()?;
        Some(self.entries[at].1)
    }

    /// Whether it is just this offset.
    pub fn is(&self, offset: Offset) -> bool {
        self.entries == [(offset.slot, offset.position)] && self.written.is_none()
    }

    /// The record was written here, in its slot: said unless the slot's entry says as much.
    pub fn write(&mut self, slot: SlotNo, written: Option<Position>) {
        let known = self.position(slot);
        self.written = written.filter(|written| known.is_none_or(|known| known < *written));
    }

    /// Where the record, which is in the slot, was written last when this was sent.
    pub fn written(&self, slot: SlotNo) -> Option<Position> {
        self.written.or_else(|| self.position(slot))
    }

    /// All positions, rising by slot.
    pub fn iter(&self) -> impl Iterator<Item = (SlotNo, Position)> + '_ {
        self.entries.iter().copied()
    }

    /// The text for the client.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 + 8 * self.entries.len());
        encode(&self.entries, self.written, &mut text);
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

impl FromIterator<(SlotNo, Position)> for Cursor {
    fn from_iter<T: IntoIterator<Item = (SlotNo, Position)>>(entries: T) -> Self {
        let mut cursor = Self::new();
        for (slot, position) in entries {
            cursor.set(slot, position);
        }
        cursor
    }
}

impl Offset {
    /// The text of a cursor of this one offset, with a single allocation: made for each emit.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(1 + MAX_ENTRY);
        encode(&[(self.slot, self.position)], None, &mut text);
        text
    }

    /// Reads a text of one offset.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        let cursor = Cursor::decode(text)?;
        match (&cursor.entries[..], cursor.written) {
            (&[(slot, position)], None) => Ok(Self { slot, position }),
            _ => Err(CursorError::Malformed),
        }
    }
}

fn encode(entries: &[(SlotNo, Position)], written: Option<Position>, text: &mut String) {
    text.push(VERSION.into());
    let mut last = None;
    for (slot, position) in entries {
        if last.is_some() {
            text.push(BETWEEN_ENTRIES);
        }
        text.push(digit(u64::from(*slot) >> BITS_PER_DIGIT));
        text.push(digit(u64::from(*slot)));
        push_place(*position, last, text);
        last = Some(position.eid);
    }
    if let Some(written) = written {
        text.push(BEFORE_WRITTEN);
        push_place(written, last, text);
    }
}

fn push_place(Position { eid, seq }: Position, last: Option<Eid>, text: &mut String) {
    push_number(seq, text);
    if last != Some(eid) {
        text.push(BETWEEN_PARTS);
        push_number(eid.counter, text);
        text.push(BETWEEN_PARTS);
        push_number(eid.random, text);
    }
}

/// Lenient about what has several spellings; the caller compares with the one that `encode` makes.
fn parse(text: &str) -> Option<Cursor> {
    let body = text.strip_prefix(char::from(VERSION))?;
    let (entries, written) = match body.split_once(BEFORE_WRITTEN) {
        Some((entries, written)) => (entries, Some(written)),
        None => (body, None),
    };
    let mut cursor = Cursor::new();
    let mut last = None;
    let entries = (!entries.is_empty()).then(|| entries.split(BETWEEN_ENTRIES));
    for entry in entries.into_iter().flatten() {
        let (slot, place) = entry.split_at_checked(SLOT_DIGITS)?;
        let slot = SlotNo::try_from(number(slot)?).ok()?;
        if cursor.entries.last().is_some_and(|entry| entry.0 >= slot) {
            return None;
        }
        let position = parse_place(place, last)?;
        cursor.entries.push((slot, position));
        last = Some(position.eid);
    }
    if let Some(written) = written {
        cursor.written = Some(parse_place(written, last)?);
    }
    Some(cursor)
}

fn parse_place(text: &str, last: Option<Eid>) -> Option<Position> {
    let mut parts = text.split(BETWEEN_PARTS);
    let seq = number(parts.next()?)?;
    let eid = match parts.next() {
        Some(counter) => Eid {
            counter: number(counter)?,
            random: number(parts.next()?)?,
        },
        None => last?,
    };
    parts.next().is_none().then_some(Position { eid, seq })
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
    use proptest::{collection, option, prop_assert, prop_assert_eq};

    fn positions() -> impl Strategy<Value = Position> {
        (0..3_u64, any::<u64>(), any::<u64>()).prop_map(|(counter, random, seq)| Position {
            eid: Eid {
                counter,
                random: if counter == 0 { 7 } else { random },
            },
            seq,
        })
    }

    fn cursors() -> impl Strategy<Value = Cursor> {
        let entries = collection::btree_map(any::<u8>(), positions(), 0..SLOTS);
        (entries, option::of(positions())).prop_map(|(entries, written)| Cursor {
            written,
            ..entries.into_iter().collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_encoded_is_decoded(cursor in cursors()) {
            let text = cursor.encode();
            prop_assert!(text.len() <= MAX_TEXT);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!".contains(&b)));
            prop_assert_eq!(Cursor::decode(&text), Ok(cursor));
        }

        #[test]
        fn what_is_decoded_is_encoded_alike(text in "1[A-Za-z0-9_.~!-]{0,40}|\\PC{0,40}") {
            if let Ok(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }

        #[test]
        fn an_offset_has_the_text_of_its_cursor(slot: u8, position in positions()) {
            let offset = Offset { slot, position };
            prop_assert_eq!(offset.encode(), Cursor::single(offset).encode());
            prop_assert_eq!(Offset::decode(&offset.encode()), Ok(offset));
        }
    }

    const EID: Eid = Eid {
        counter: 1,
        random: 0xffff_ffff_ffff_ffff,
    };

    fn at(counter: u64, seq: u64) -> Position {
        let eid = Eid { counter, ..EID };
        Position { eid, seq }
    }

    #[test]
    fn the_text_is_stable() {
        let mut cursor = Cursor::single(Offset {
            slot: 255,
            position: at(1, 64),
        });
        assert_eq!(cursor.encode(), "1D_BA.B.P__________");
        cursor.set(2, at(1, 0));
        assert_eq!(cursor.encode(), "1ACA.B.P__________~D_BA");
        cursor.write(3, Some(at(1, 5)));
        assert_eq!(cursor.encode(), "1ACA.B.P__________~D_BA!F");
        assert_eq!(Cursor::new().encode(), "1");
        assert_eq!(
            Cursor::decode("1!F.B.P__________").unwrap().encode(),
            "1!F.B.P__________"
        );
    }

    #[test]
    fn where_the_record_was_written_is_said_once() {
        let offset = Offset {
            slot: 3,
            position: at(2, 10),
        };
        let mut cursor = Cursor::single(offset);
        assert_eq!(cursor.written(3), Some(at(2, 10)));
        assert_eq!(cursor.written(4), None);
        for (slot, written, is_said) in [
            (3, at(2, 10), false),
            (3, at(1, 9), false),
            (3, at(2, 11), true),
            (4, at(1, 1), true),
        ] {
            cursor.write(slot, Some(written));
            assert_eq!(cursor.is(offset), !is_said, "{slot} {written:?}");
            assert_eq!(
                cursor.written(slot),
                Some(written.max(if slot == 3 { at(2, 10) } else { written }))
            );
        }
    }

    #[test]
    fn a_position_takes_the_place_of_the_one_before() {
        let mut cursor = Cursor::new();
        cursor.set(3, at(2, 10));
        cursor.set(3, at(1, 4));
        assert_eq!(cursor.position(3), Some(at(1, 4)));
        assert_eq!(cursor.position(4), None);
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
            "1AAB.B.B!",          // no place behind the mark
            "1!B",                // no epoch to take over
            "1AAB.B.B!B!B",       // two of them
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
