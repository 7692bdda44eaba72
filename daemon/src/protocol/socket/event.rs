//! The payloads of events and acknowledgements taken apart, down to their items and no further.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::DecodeError;
use super::super::json::{self, Token, Tokens};
use super::RESERVED_NAMES;

/// An event taken apart, its arguments as written.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The first item: a string without its quotes and escapes, or a number as written.
    pub name: Cow<'a, str>,
    /// All other items.
    pub args: Vec<&'a RawValue>,
}

/// Takes the payload of an EVENT apart, `["name", arg, …]`, without parsing the arguments.
///
/// # Errors
///
/// [`DecodeError::Json`], [`DecodeError::Depth`], [`DecodeError::EventData`] or
/// [`DecodeError::ReservedName`]; none for what [`decode`](super::decode()) let through.
pub fn event(data: &str) -> Result<Event<'_>, DecodeError> {
    let mut args = json::items(data, DecodeError::EventData)?;
    if args.is_empty() {
        return Err(DecodeError::EventData);
    }
    let name = event_name(Tokens::new(args.remove(0).get()).next())?;
    Ok(Event { name, args })
}

/// Takes the payload of an ACK apart, without parsing the arguments.
///
/// # Errors
///
/// [`DecodeError::Json`], [`DecodeError::Depth`] or [`DecodeError::AckData`]; none for what
/// [`decode`](super::decode()) let through.
pub fn args(data: &str) -> Result<Vec<&RawValue>, DecodeError> {
    json::items(data, DecodeError::AckData)
}

/// Reads the first item of an event as its name.
pub(super) fn event_name(item: Option<Token<'_>>) -> Result<Cow<'_, str>, DecodeError> {
    let name = match item {
        Some(Token::Text(quoted)) => json::unquote(quoted).ok_or(DecodeError::EventData)?,
        Some(Token::Scalar(word)) if word.starts_with(is_numeric) => Cow::Borrowed(word),
        _ => return Err(DecodeError::EventData),
    };
    if RESERVED_NAMES.contains(&&*name) {
        return Err(DecodeError::ReservedName);
    }
    Ok(name)
}

fn is_numeric(char: char) -> bool {
    char == '-' || char.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_spelling() {
        let event =
            event(r#"[ "a b", 1.0e+2,{"b":1 ,"a":"\ud800\u0041"},12345678901234567890123 ]"#);
        let Event { name, args } = event.unwrap();
        let args: Vec<&str> = args.into_iter().map(RawValue::get).collect();
        assert_eq!(name, "a b");
        assert_eq!(
            args,
            [
                "1.0e+2",
                r#"{"b":1 ,"a":"\ud800\u0041"}"#,
                "12345678901234567890123"
            ]
        );
    }

    #[test]
    fn names_are_unescaped_strings_or_numbers_as_written() {
        assert_eq!(event(r#"["sub\u003aquote"]"#).unwrap().name, "sub:quote");
        assert_eq!(event("[42]").unwrap().name, "42");
        assert_eq!(event("[]").err(), Some(DecodeError::EventData));
        assert_eq!(event("{}").err(), Some(DecodeError::EventData));
        assert_eq!(
            event(r#"["connect"]"#).err(),
            Some(DecodeError::ReservedName)
        );
        assert_eq!(args("{}").err(), Some(DecodeError::AckData));
    }
}
