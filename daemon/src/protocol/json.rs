//! JSON from clients: checked as text, walked as tokens, never turned into a tree.
//!
//! serde_json decides what is valid; it skips values without recursion, so hostile nesting costs
//! no stack. Once a text is known to be valid, finding its tokens takes no grammar at all.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::DecodeError;

/// How many arrays and objects may stand inside one another: the deepest that serde_json and its
/// like read into a tree, so what passes here can be parsed by whoever receives it.
pub const MAX_DEPTH: usize = 127;

/// What JSON calls white space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The text without white space around it.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(SPACE)
}

/// Fails unless `text` is one JSON value, not too deep.
pub(super) fn check(text: &str) -> Result<(), DecodeError> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| DecodeError::Json)?;
    check_depth(text)
}

/// The items of an array, as they were written. `not_an_array` is the error for any other value.
pub(super) fn items(text: &str, not_an_array: DecodeError) -> Result<Vec<&RawValue>, DecodeError> {
    match serde_json::from_str(text) {
        Ok(items) => check_depth(text).map(|()| items),
        Err(_) => Err(check(text).err().unwrap_or(not_an_array)),
    }
}

/// What a valid string says, without its quotes and escapes; none if that is no Unicode text.
pub(super) fn unquote(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    quoted
        .strip_prefix('"')?
        .strip_suffix('"')
        .map(Cow::Borrowed)
}

/// `text` as a JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("text always serializes")
}

fn check_depth(valid: &str) -> Result<(), DecodeError> {
    let mut depth = 0;
    for token in Tokens::new(valid) {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(DecodeError::Depth);
        }
    }
    Ok(())
}

/// A piece of valid JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token<'a> {
    /// The beginning of an object or an array.
    Open(Container),
    /// The end of the innermost object or array.
    Close,
    /// A string with its quotes, key or value.
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
    /// Between two items.
    Comma,
    /// Between key and value.
    Colon,
}

/// What holds other values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Container {
    /// `{}`
    Object,
    /// `[]`
    Array,
}

/// The tokens of valid JSON in order. Of anything else: some tokens, but never a panic.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(valid: &'a str) -> Self {
        Self { rest: valid }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = self.rest.trim_start_matches(SPACE);
        let single = match self.rest.as_bytes().first()? {
            b'{' => Token::Open(Container::Object),
            b'[' => Token::Open(Container::Array),
            b'}' | b']' => Token::Close,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return Some(Token::Text(self.take(string_len(self.rest)))),
            _ => return Some(Token::Scalar(self.take(scalar_len(self.rest)))),
        };
        self.take(1);
        Some(single)
    }
}

/// The length of the string that `text` begins with, quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the number or word that `text` begins with.
fn scalar_len(text: &str) -> usize {
    text.find([',', ':', ']', '}', '[', '{', '"', ' ', '\t', '\n', '\r'])
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::arbitrary;
    use super::*;

    fn nest(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn depth_is_bounded_where_serde_json_bounds_it() {
        assert_eq!(check(&nest(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nest(MAX_DEPTH + 1)), Err(DecodeError::Depth));
        assert!(serde_json::from_str::<Value>(&nest(MAX_DEPTH)).is_ok());
        assert!(serde_json::from_str::<Value>(&nest(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        let text = format!(r#"["{}\"{}"]"#, "[".repeat(500), "{".repeat(500));
        assert_eq!(check(&text), Ok(()));
        assert_eq!(check(&format!("[{}]", ["[]"; 500].join(","))), Ok(()));
    }

    #[test]
    fn hostile_nesting_costs_no_stack() {
        let levels = 1_000_000;
        assert_eq!(check(&nest(levels)), Err(DecodeError::Depth));
        assert_eq!(check(&"[".repeat(levels)), Err(DecodeError::Json));
        assert_eq!(check(&"{\"a\":".repeat(levels)), Err(DecodeError::Json));
        assert_eq!(
            items(&nest(levels), DecodeError::AckData).err(),
            Some(DecodeError::Depth)
        );
    }

    #[test]
    fn only_json_passes() {
        let wrong = [
            "",
            " ",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{1:2}",
            "{\"a\"}",
            "[01]",
            "[+1]",
            "[.5]",
            "[NaN]",
            "['a']",
            "[\"a]",
            "[\"\\x\"]",
            "[1]]",
            "[1] x",
            "\u{feff}[]",
            "[\u{a0}1]",
        ];
        for text in wrong {
            assert_eq!(check(text), Err(DecodeError::Json), "{text}");
        }
        for byte in 0..0x20_u8 {
            let text = format!("[\"{}\"]", char::from(byte));
            assert_eq!(check(&text), Err(DecodeError::Json), "{byte:#x}");
        }
    }

    #[test]
    fn what_only_javascript_reads_passes_too() {
        assert_eq!(check(r#"["\ud800",1e999,-0]"#), Ok(()));
    }

    #[test]
    fn strings_are_unquoted() {
        assert_eq!(unquote(r#""plain""#).as_deref(), Some("plain"));
        assert_eq!(unquote(r#""\u0063onnect""#).as_deref(), Some("connect"));
        assert_eq!(unquote(r#""\ud800""#), None);
        assert_eq!(unquote("\""), None);
    }

    #[test]
    fn items_tell_bad_json_from_other_json() {
        assert_eq!(
            items("{}", DecodeError::AckData).err(),
            Some(DecodeError::AckData)
        );
        assert_eq!(
            items("[", DecodeError::AckData).err(),
            Some(DecodeError::Json)
        );
    }

    proptest! {
        #[test]
        fn tokens_make_up_the_text(value in arbitrary::json()) {
            let text = value.to_string();
            let spelled: String = Tokens::new(&text)
                .map(|token| match token {
                    Token::Open(Container::Object) => "{",
                    Token::Open(Container::Array) => "[",
                    Token::Close => ".",
                    Token::Text(text) | Token::Scalar(text) => text,
                    Token::Comma => ",",
                    Token::Colon => ":",
                })
                .collect();
            prop_assert_eq!(spelled.len(), text.len());
            prop_assert!(spelled.chars().zip(text.chars()).all(|(a, b)| a == b || a == '.'));
        }

        #[test]
        fn items_are_the_very_text(values in prop::collection::vec(arbitrary::json(), 0..6)) {
            let written: Vec<String> = values.iter().map(Value::to_string).collect();
            let text = format!("[ {} ]", written.join(" ,\n"));
            let read = items(&text, DecodeError::AckData).unwrap();
            let read: Vec<&str> = read.into_iter().map(RawValue::get).collect();
            prop_assert_eq!(read, written);
        }

        /// Most texts one edit away from JSON are not JSON, but some are.
        #[test]
        fn agrees_with_a_full_parse(
            value in arbitrary::json(),
            at: prop::sample::Index,
            put in r#"[\[\]{}",:0-9 .a\\n-]?"#,
        ) {
            let mut chars: Vec<char> = value.to_string().chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..=at, put.chars());
            let text: String = chars.into_iter().collect();
            prop_assert_eq!(check(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }

        #[test]
        fn tokens_end_on_any_text(text: String, nearly in arbitrary::nearly_a_packet()) {
            prop_assert!(Tokens::new(&text).count() <= text.len());
            prop_assert!(Tokens::new(&nearly).count() <= nearly.len());
        }

        #[test]
        fn quoted_text_is_unquoted(text: String) {
            let quoted = quote(&text);
            prop_assert_eq!(unquote(&quoted).unwrap(), text);
            prop_assert!(!quoted.contains('\x1e'));
        }
    }
}
