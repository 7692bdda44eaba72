//! Rules for the parameters that clients supply to a subscription.

use std::fmt;

/// How many characters a parameter may have unless its channel says otherwise.
const DEFAULT_MAX: usize = 64;

/// The characters a parameter may have unless its channel says otherwise.
const DEFAULT_CHARS: &str = "A-Za-z0-9_.@:=^/-";

/// What a client may supply for one variable of a room template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The characters it may consist of.
    pub chars: CharSet,
    /// The most characters it may have.
    pub max_len: usize,
    /// Whether it is upper-cased before it is checked.
    pub upper: bool,
}

impl Param {
    /// The value to use for what a client sent, or `None` if the rule forbids it.
    pub fn accept(&self, raw: &str) -> Option<String> {
        // All legal characters are ASCII, so bytes are characters.
        if raw.is_empty() || raw.len() > self.max_len {
            return None;
        }
        let value = if self.upper {
            raw.to_ascii_uppercase()
        } else {
            raw.to_owned()
        };
        value
            .chars()
            .all(|c| self.chars.contains(c))
            .then_some(value)
    }
}

impl Default for Param {
    fn default() -> Self {
        Self {
            chars: CharSet::parse(DEFAULT_CHARS).expect("the default character set is legal"),
            max_len: DEFAULT_MAX,
            upper: false,
        }
    }
}

/// A set of visible ASCII characters, written as ranges and single ones: `A-Z0-9._-`.
///
/// A `-` at either end stands for itself.
#[derive(Clone, PartialEq, Eq)]
pub struct CharSet {
    spec: String,
    /// Bit `n` is set if the character with code `n` belongs to the set.
    members: u128,
}

/// Why a text does not describe a set of characters.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharSetError {
    /// It names nothing.
    #[error("is empty")]
    Empty,
    /// It names something that may not stand in a room name.
    #[error("has {0:?}, which is no visible ASCII character")]
    NotVisible(char),
    /// A range whose end comes before its start.
    #[error("has the range {0}-{1}, which runs backwards")]
    Backwards(char, char),
}

impl CharSet {
    /// Reads a description such as `A-Z0-9.^=/:-`.
    pub fn parse(spec: &str) -> Result<Self, CharSetError> {
        if spec.is_empty() {
            return Err(CharSetError::Empty);
        }
        if let Some(c) = spec.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(CharSetError::NotVisible(c));
        }
        let mut members = 0;
        let mut rest = spec.as_bytes();
        while let [first, tail @ ..] = rest {
            let (last, tail) = match tail {
                [b'-', last, tail @ ..] => (last, tail),
                _ => (first, tail),
            };
            if last < first {
                return Err(CharSetError::Backwards(
                    char::from(*first),
                    char::from(*last),
                ));
            }
            for code in *first..=*last {
                members |= 1 << code;
            }
            rest = tail;
        }
        Ok(Self {
            spec: spec.to_owned(),
            members,
        })
    }

    /// Whether `c` belongs to the set.
    pub fn contains(&self, c: char) -> bool {
        c.is_ascii() && self.members & (1 << u32::from(c)) != 0
    }
}

impl fmt::Display for CharSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spec)
    }
}

impl fmt::Debug for CharSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CharSet({})", self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(spec: &str) -> String {
        let set = CharSet::parse(spec).unwrap();
        (0..=127)
            .map(char::from)
            .filter(|c| set.contains(*c))
            .collect()
    }

    #[test]
    fn reads_ranges_and_single_characters() {
        assert_eq!(members("a-e"), "abcde");
        assert_eq!(members("x1-3-"), "-123x");
        assert_eq!(members("-az"), "-az");
        assert_eq!(members("0-9.^=/:-"), "-./0123456789:=^");
        assert_eq!(members("---"), "-");
    }

    #[test]
    fn refuses_what_is_no_set() {
        assert_eq!(CharSet::parse(""), Err(CharSetError::Empty));
        assert_eq!(CharSet::parse("a b"), Err(CharSetError::NotVisible(' ')));
        assert_eq!(CharSet::parse("é"), Err(CharSetError::NotVisible('é')));
        assert_eq!(
            CharSet::parse("z-a"),
            Err(CharSetError::Backwards('z', 'a'))
        );
    }

    #[test]
    fn accepts_by_length_and_characters() {
        let symbol = Param {
            chars: CharSet::parse("A-Z0-9.^=/:-").unwrap(),
            max_len: 5,
            upper: true,
        };
        assert_eq!(symbol.accept("aapl").as_deref(), Some("AAPL"));
        assert_eq!(symbol.accept("BRK.B").as_deref(), Some("BRK.B"));
        for refused in ["", "GOOGLE", "A B", "A_B", "ÄPL", "a\u{131}"] {
            assert_eq!(symbol.accept(refused), None, "{refused}");
        }
        let exact = Param {
            upper: false,
            ..symbol
        };
        assert_eq!(exact.accept("aapl"), None);
    }
}
