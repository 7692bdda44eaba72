//! Placeholders: where the attachments of a binary packet belong in its JSON.

use super::super::DecodeError;
use super::super::json::{self, Container, Token, Tokens};

/// Fails unless every placeholder in `data`, however deep, stands for one of the packet's
/// attachments: `{"_placeholder":true,"num":n}` with an integer `0 ≤ n < attachments`.
///
/// The rules are those of the reference's `reconstructPacket`: an attachment may be named twice or
/// not at all, other keys beside the two do no harm, and a packet without attachments is not
/// binary, so what looks like a placeholder in it is plain data. Stricter than there:
/// `num` is written in digits only (JavaScript also takes `1.0`, and `0.5` as a hole), placeholders
/// inside placeholders count too, and where a key is repeated each of its values must be legal,
/// since readers disagree about which one holds.
///
/// # Errors
///
/// [`DecodeError::Placeholder`]; [`DecodeError::Json`] or [`DecodeError::Depth`] for what
/// [`decode`](super::decode()) would not have let through.
pub fn check_placeholders(data: &str, attachments: usize) -> Result<(), DecodeError> {
    json::check(data)?;
    if attachments == 0 {
        return Ok(());
    }
    let mut open: Vec<Level> = Vec::new();
    for token in Tokens::new(data) {
        match (token, open.last_mut()) {
            (Token::Open(container), parent) => {
                if let Some(parent) = parent {
                    parent.value(None, attachments);
                }
                open.push(Level::new(container));
            }
            (Token::Close, Some(level)) if level.is_illegal() => {
                return Err(DecodeError::Placeholder);
            }
            (Token::Close, _) => drop(open.pop()),
            (Token::Text(text), Some(level)) if level.next == Next::Key => level.key(text),
            (Token::Text(text) | Token::Scalar(text), Some(level)) => {
                level.value(Some(text), attachments);
            }
            (Token::Comma, Some(level)) => level.next = Next::after_comma(level.container),
            _ => {}
        }
    }
    Ok(())
}

/// An object or array that has begun and not ended.
struct Level {
    container: Container,
    /// What the next string or value is.
    next: Next,
    /// Saw `"_placeholder":true`.
    flagged: bool,
    /// Whether every `num` seen so far names an attachment; none if there was no `num`.
    legal: Option<bool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    Key,
    Flag,
    Num,
    Other,
}

impl Next {
    fn after_comma(container: Container) -> Self {
        match container {
            Container::Object => Self::Key,
            Container::Array => Self::Other,
        }
    }
}

impl Level {
    fn new(container: Container) -> Self {
        Self {
            container,
            next: Next::after_comma(container),
            flagged: false,
            legal: None,
        }
    }

    fn key(&mut self, quoted: &str) {
        self.next = match json::unquote(quoted).as_deref() {
            Some("_placeholder") => Next::Flag,
            Some("num") => Next::Num,
            _ => Next::Other,
        };
    }

    /// Takes note of a value: its text, or none for an object or array.
    fn value(&mut self, text: Option<&str>, attachments: usize) {
        match self.next {
            Next::Flag => self.flagged |= text == Some("true"),
            Next::Num => {
                let num = text.and_then(|text| text.parse::<usize>().ok());
                let legal = num.is_some_and(|num| num < attachments);
                self.legal = Some(legal && self.legal.unwrap_or(true));
            }
            Next::Key | Next::Other => {}
        }
    }

    fn is_illegal(&self) -> bool {
        self.flagged && self.legal != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::super::arbitrary;
    use super::*;

    const ILLEGAL: Result<(), DecodeError> = Err(DecodeError::Placeholder);

    #[test]
    fn every_number_below_the_count_is_legal() {
        let data = r#"["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert_eq!(check_placeholders(data, 2), Ok(()));
        assert_eq!(check_placeholders(data, 1), ILLEGAL);
    }

    #[test]
    fn attachments_may_be_named_twice_or_not_at_all() {
        let twice = r#"["x",{"_placeholder":true,"num":0},[{"num":0,"_placeholder":true}]]"#;
        assert_eq!(check_placeholders(twice, 2), Ok(()));
        assert_eq!(check_placeholders(r#"["x"]"#, 1), Ok(()));
    }

    #[test]
    fn without_attachments_nothing_is_a_placeholder() {
        assert_eq!(
            check_placeholders(r#"["x",{"_placeholder":true,"num":7}]"#, 0),
            Ok(())
        );
        assert_eq!(check_placeholders("[", 0), Err(DecodeError::Json));
    }

    #[test]
    fn only_plain_integers_are_numbers() {
        for num in [
            "-1", "0.5", "1.0", "1e0", "-0", "\"0\"", "null", "true", "{}", "[0]", "99",
        ] {
            let data = format!(r#"["x",{{"_placeholder":true,"num":{num}}}]"#);
            assert_eq!(check_placeholders(&data, 2), ILLEGAL, "{num}");
        }
        assert_eq!(
            check_placeholders(r#"["x",{"_placeholder":true}]"#, 2),
            ILLEGAL
        );
    }

    #[test]
    fn only_true_makes_a_placeholder() {
        for flag in [
            "false",
            "1",
            "\"true\"",
            "null",
            "[true]",
            r#"{"_placeholder":false}"#,
        ] {
            let data = format!(r#"["x",{{"_placeholder":{flag},"num":99}}]"#);
            assert_eq!(check_placeholders(&data, 1), Ok(()), "{flag}");
        }
        let text = r#"["x","{\"_placeholder\":true,\"num\":99}"]"#;
        assert_eq!(check_placeholders(text, 1), Ok(()));
    }

    #[test]
    fn escapes_white_space_and_repeated_keys_hide_nothing() {
        for object in [
            r#"{"\u005fplaceholder":true,"n\u0075m":9}"#,
            "{ \"num\" : 9 ,\n\"_placeholder\"\t: true }",
            r#"{"_placeholder":true,"num":9,"num":0}"#,
            r#"{"_placeholder":true,"num":0,"num":9}"#,
            r#"{"_placeholder":true,"num":{},"num":0}"#,
            r#"{"_placeholder":false,"_placeholder":true,"num":9}"#,
            r#"{"_placeholder":true,"_placeholder":false,"num":9}"#,
            r#"{"a":{"_placeholder":true,"num":9}}"#,
            r#"{"_placeholder":true,"num":0,"a":[{"_placeholder":true,"num":9}]}"#,
        ] {
            assert_eq!(
                check_placeholders(&format!("[\"x\",{object}]"), 1),
                ILLEGAL,
                "{object}"
            );
        }
    }

    #[test]
    fn hostile_nesting_is_refused() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(check_placeholders(&deep, 1), Err(DecodeError::Depth));
    }

    /// The same rule, over a tree.
    fn is_legal(value: &Value, attachments: u64) -> bool {
        match value {
            Value::Array(items) => items.iter().all(|item| is_legal(item, attachments)),
            Value::Object(map) => {
                let flagged = map.get("_placeholder") == Some(&Value::Bool(true));
                let num = map.get("num").and_then(Value::as_u64);
                (!flagged || num.is_some_and(|num| num < attachments))
                    && map.values().all(|item| is_legal(item, attachments))
            }
            _ => true,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn agrees_with_a_walk_over_the_tree(
            value in arbitrary::placeholders(),
            attachments in 1..4_usize,
        ) {
            let found = check_placeholders(&value.to_string(), attachments);
            prop_assert_eq!(found.is_ok(), is_legal(&value, attachments as u64), "{}", value);
        }

        #[test]
        fn never_panics(text in arbitrary::nearly_a_packet(), attachments in 0..3_usize) {
            let _ = check_placeholders(&text, attachments);
        }
    }
}
