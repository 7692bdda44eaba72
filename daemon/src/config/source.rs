//! A value as its author wrote it: in the TOML file, or as text in the environment.

use std::borrow::Cow;
use std::fmt;

use toml::{Table, Value};

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration file.
    File,
    /// The environment variable of this name.
    Env(String),
    /// The credential of this name.
    Credential(String),
}

/// A value that is yet to be read as what its key needs.
///
/// The file must use TOML's own types. The environment knows only text, which therefore also
/// stands for numbers and truth values, and for a list with commas between its items.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    File(&'a Value),
    Env(&'a str),
}

impl<'a> Raw<'a> {
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::File(value) => value.as_str(),
            Self::Env(text) => Some(text),
        }
    }

    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::File(value) => value.as_integer(),
            Self::Env(text) => text.trim().parse().ok(),
        }
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self {
            Self::File(value) => value.as_bool(),
            Self::Env(text) => text.trim().parse().ok(),
        }
    }

    pub(super) fn list(self) -> Option<Vec<Cow<'a, str>>> {
        match self {
            Self::File(value) => {
                let items = value.as_array()?.iter();
                items.map(|item| item.as_str().map(Cow::Borrowed)).collect()
            }
            Self::Env(text) if text.trim_start().starts_with('[') => {
                let table: Table = format!("list = {text}").parse().ok()?;
                let items = table.get("list")?.as_array()?.iter();
                items
                    .map(|item| item.as_str().map(|text| Cow::Owned(text.to_owned())))
                    .collect()
            }
            Self::Env(text) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Some(items.map(Cow::Borrowed).collect())
            }
        }
    }
}

/// As it would stand in a configuration file.
impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(value) => write!(f, "{value}"),
            Self::Env(text) => write!(f, "{}", Value::String((*text).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_writes_lists_in_two_ways() {
        for text in ["a, b", "a,b,", r#"["a", "b"]"#, r#" ["a","b"]"#] {
            assert_eq!(Raw::Env(text).list().unwrap(), ["a", "b"], "{text}");
        }
        assert!(Raw::Env("").list().unwrap().is_empty());
        assert!(Raw::Env("[1]").list().is_none());
        assert!(Raw::Env("[\"a\"").list().is_none());
    }

    #[test]
    fn the_file_uses_its_own_types() {
        let number = Value::String("5".into());
        assert_eq!(Raw::File(&number).integer(), None);
        assert_eq!(Raw::Env("5").integer(), Some(5));
        assert_eq!(Raw::File(&number).list(), None);
        assert_eq!(Raw::Env("true").boolean(), Some(true));
        assert_eq!(Raw::Env("yes").boolean(), None);
    }
}
