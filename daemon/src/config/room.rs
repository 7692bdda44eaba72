//! Templates of room names: fixed text with variables, such as `quote:{symbol}`.

use std::collections::HashSet;
use std::fmt;

/// The variable that stands for the session's user; every other one is the client's to supply.
pub const USER_VARIABLE: &str = "user";

/// A room name with variables. A variable matches any text that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomTemplate {
    source: String,
    segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Variable(String),
}

/// Why a text is no room template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomTemplateError {
    /// There is no name at all.
    #[error("is empty")]
    Empty,
    /// A brace without its partner.
    #[error("has a brace without its partner")]
    Brace,
    /// A variable whose name is not a word.
    #[error("variable {0:?} must be a letter followed by letters, digits or `_`")]
    Name(String),
    /// The same variable twice.
    #[error("names variable {0:?} twice")]
    Twice(String),
    /// Two variables in a row: where one ends cannot be told.
    #[error("needs text between two variables")]
    Adjacent,
}

impl RoomTemplate {
    /// Reads a template.
    pub fn parse(source: &str) -> Result<Self, RoomTemplateError> {
        Self::read(source, is_word)
    }

    /// Reads one whose variables may be paths, as in `trades:{owner.id}`.
    pub(super) fn parse_paths(source: &str) -> Result<Self, RoomTemplateError> {
        Self::read(source, super::snapshot::is_field)
    }

    fn read(source: &str, is_name: fn(&str) -> bool) -> Result<Self, RoomTemplateError> {
        let mut segments = Vec::new();
        let mut rest = source;
        while !rest.is_empty() {
            let (segment, tail) = match rest.strip_prefix('{') {
                Some(inner) => variable(inner, is_name)?,
                None => text(rest)?,
            };
            if let Segment::Variable(name) = &segment {
                match segments.last() {
                    Some(Segment::Variable(_)) => return Err(RoomTemplateError::Adjacent),
                    _ if segments.contains(&segment) => {
                        return Err(RoomTemplateError::Twice(name.clone()));
                    }
                    _ => {}
                }
            }
            segments.push(segment);
            rest = tail;
        }
        if segments.is_empty() {
            return Err(RoomTemplateError::Empty);
        }
        Ok(Self {
            source: source.to_owned(),
            segments,
        })
    }

    /// The room's name with each variable replaced by what `value` answers for it.
    pub fn expand<V: AsRef<str>>(&self, mut value: impl FnMut(&str) -> V) -> String {
        let mut room = String::with_capacity(self.source.len() + 16);
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => room.push_str(text),
                Segment::Variable(name) => room.push_str(value(name).as_ref()),
            }
        }
        room
    }

    /// Whether some values of the variables give this room.
    pub fn matches(&self, room: &str) -> bool {
        match_from(&self.segments, room)
    }

    /// The variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name.as_str()),
            Segment::Text(_) => None,
        })
    }

    /// The variables that clients supply.
    pub fn client_variables(&self) -> impl Iterator<Item = &str> {
        self.variables().filter(|name| *name != USER_VARIABLE)
    }

    /// Whether the room belongs to the user that subscribes.
    pub fn is_per_user(&self) -> bool {
        self.variables().any(|name| name == USER_VARIABLE)
    }

    /// Whether some room matches both templates.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.symbols(), &other.symbols())
    }

    fn symbols(&self) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => symbols.extend(text.chars().map(Symbol::Char)),
                Segment::Variable(_) => symbols.extend([Symbol::One, Symbol::Any]),
            }
        }
        symbols
    }
}

impl fmt::Display for RoomTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for RoomTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomTemplate({})", self.source)
    }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn variable(inner: &str, is_name: fn(&str) -> bool) -> Result<(Segment, &str), RoomTemplateError> {
    let (name, tail) = inner.split_once('}').ok_or(RoomTemplateError::Brace)?;
    if !is_name(name) {
        return Err(RoomTemplateError::Name(name.to_owned()));
    }
    Ok((Segment::Variable(name.to_owned()), tail))
}

fn text(rest: &str) -> Result<(Segment, &str), RoomTemplateError> {
    let (text, tail) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
    if text.contains('}') {
        return Err(RoomTemplateError::Brace);
    }
    Ok((Segment::Text(text.to_owned()), tail))
}

fn match_from(segments: &[Segment], room: &str) -> bool {
    match segments {
        [] => room.is_empty(),
        [Segment::Text(text), rest @ ..] => room
            .strip_prefix(text.as_str())
            .is_some_and(|room| match_from(rest, room)),
        [Segment::Variable(_)] => !room.is_empty(),
        // The variable takes one character, then as many more as the rest needs.
        [Segment::Variable(_), rest @ ..] => room
            .char_indices()
            .skip(1)
            .any(|(at, _)| match_from(rest, &room[at..])),
    }
}

/// A step of a template as an automaton reads it; a variable is `One` then `Any`.
#[derive(Clone, Copy, PartialEq)]
enum Symbol {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any characters, or none.
    Any,
}

/// Walks both templates at once; some room matches both if both ends can be reached together.
fn overlap(left: &[Symbol], right: &[Symbol]) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![(0, 0)];
    while let Some((l, r)) = open.pop() {
        if !seen.insert((l, r)) {
            continue;
        }
        match (left.get(l), right.get(r)) {
            (None, None) => return true,
            (Some(Symbol::Any), Some(_)) => open.extend([(l + 1, r), (l, r + 1)]),
            (Some(_), Some(Symbol::Any)) => open.extend([(l, r + 1), (l + 1, r)]),
            (Some(Symbol::Any), None) => open.push((l + 1, r)),
            (None, Some(Symbol::Any)) => open.push((l, r + 1)),
            (Some(Symbol::Char(a)), Some(Symbol::Char(b))) if a != b => {}
            (Some(_), Some(_)) => open.push((l + 1, r + 1)),
            (None, Some(_)) | (Some(_), None) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn template(source: &str) -> RoomTemplate {
        RoomTemplate::parse(source).unwrap()
    }

    #[test]
    fn expands_its_variables() {
        let room = template("desk:{user}:{symbol}!");
        assert_eq!(room.variables().collect::<Vec<_>>(), ["user", "symbol"]);
        assert_eq!(room.client_variables().collect::<Vec<_>>(), ["symbol"]);
        assert!(room.is_per_user());
        assert_eq!(room.expand(|name| name.to_uppercase()), "desk:USER:SYMBOL!");
    }

    #[test]
    fn matches_any_text_for_a_variable() {
        for (source, room, expected) in [
            ("quote:{symbol}", "quote:AAPL", true),
            ("quote:{symbol}", "quote:a:b c", true),
            ("quote:{symbol}", "quote:", false),
            ("quote:{symbol}", "quotes:AAPL", false),
            ("{a}:x", "x:x:x", true),
            ("{a}:x", ":x", false),
            ("{a}:{b}", "é:é", true),
            ("a{b}c{d}e", "abcde", true),
            ("a{b}c{d}e", "acde", false),
            ("news", "news", true),
            ("news", "news2", false),
        ] {
            assert_eq!(template(source).matches(room), expected, "{source} {room}");
        }
    }

    #[test]
    fn refuses_what_is_no_template() {
        use RoomTemplateError::{Adjacent, Brace, Empty, Name, Twice};
        for (source, error) in [
            ("", Empty),
            ("a{b", Brace),
            ("a}b", Brace),
            ("a{}", Name("".into())),
            ("a{1b}", Name("1b".into())),
            ("a{b c}", Name("b c".into())),
            ("{a}{b}", Adjacent),
            ("{a}:{a}", Twice("a".into())),
        ] {
            assert_eq!(RoomTemplate::parse(source), Err(error), "{source}");
        }
    }

    #[test]
    fn finds_rooms_in_common() {
        for (left, right, expected) in [
            ("quote:{symbol}", "quote:{user}", true),
            ("quote:{symbol}", "portfolio:{user}", false),
            ("quote:{symbol}", "quote:X", true),
            ("quote:{symbol}", "quote:", false),
            ("{any}", "user:{user}", true),
            ("{a}:x", "x:{b}", true),
            ("{a}:x", "{b}:y", false),
            ("a{x}b", "ab", false),
            ("a{x}b", "abb", true),
        ] {
            let (left, right) = (template(left), template(right));
            assert_eq!(left.overlaps(&right), expected, "{left} {right}");
            assert_eq!(right.overlaps(&left), expected, "{right} {left}");
        }
    }

    proptest! {
        #[test]
        fn matches_what_it_expands_to(
            source in "[ab:]{0,3}(\\{x\\}[ab:]{1,3})?(\\{y\\})?",
            value in "[ab:]{1,4}",
        ) {
            if let Ok(room) = RoomTemplate::parse(&source) {
                prop_assert!(room.matches(&room.expand(|_| value.as_str())));
                prop_assert!(room.overlaps(&room));
            }
        }

        #[test]
        fn overlaps_where_a_room_matches_both(
            left in "[ab]{0,2}(\\{x\\}[ab]{1,2}){0,1}(\\{y\\})?",
            right in "[ab]{0,2}(\\{x\\}[ab]{1,2}){0,1}(\\{y\\})?",
            room in "[ab]{1,6}",
        ) {
            let (left, right) = (RoomTemplate::parse(&left), RoomTemplate::parse(&right));
            if let (Ok(left), Ok(right)) = (left, right) {
                let both = left.matches(&room) && right.matches(&room);
                prop_assert!(!both || left.overlaps(&right));
            }
        }
    }
}
