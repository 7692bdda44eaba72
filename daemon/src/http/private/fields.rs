//! A JSON object taken apart by name, so that each complaint names its field. Values stay raw text
//! until somebody asks for them. Pure.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::refusal::{Refusal, kind};

/// The fields of an object.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key that borrows from the text if it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Reads an object whose fields are all among `allowed`; none comes twice.
    pub(super) fn parse(body: &'a [u8], allowed: &[&str]) -> Result<Self, Refusal> {
        let fields = Self::any(body)?;
        match fields
            .0
            .iter()
            .find(|(name, _)| !allowed.contains(&&**name))
        {
            None => Ok(fields),
            Some((name, _)) => Err(Refusal::params(format!(
                "there is no field `{}`; known are {}",
                name.escape_debug(),
                quoted(allowed)
            ))),
        }
    }

    /// As [`Fields::parse`]; without a body there are no fields.
    pub(super) fn parse_optional(body: &'a [u8], allowed: &[&str]) -> Result<Self, Refusal> {
        if body.is_empty() {
            Ok(Self(Vec::new()))
        } else {
            Self::parse(body, allowed)
        }
    }

    /// Reads any object.
    pub(super) fn any(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = text(body)?;
        if !text.trim_ascii_start().starts_with('{') {
            let value: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            return Err(Refusal::params(format!(
                "the body is {}; it must be an object",
                kind(value)
            )));
        }
        serde_json::from_str(text).map_err(|error| match error.is_data() {
            true => Refusal::params(format!("the body {error}")),
            false => not_json(&error),
        })
    }

    /// All fields, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// A field's raw value, `null` too.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }

    /// A field's value; `null` counts as absent.
    fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(name).filter(|value| value.get() != "null")
    }

    /// Whether a field has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A field of any type that can be read.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        name: &str,
        allowed: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let read = serde_json::from_str(value.get());
        read.map(Some)
            .map_err(|_| Refusal::field(name, value, allowed))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        self.read(name, "a string")
    }

    /// A text that must be there.
    pub(super) fn required(&self, name: &str) -> Result<String, Refusal> {
        let missing = || Refusal::params(format!("`{name}` is missing; it must be a string"));
        self.text(name)?.ok_or_else(missing)
    }

    /// True or false; false if it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.read(name, "true or false")?.unwrap_or_default())
    }

    /// A list of 1 to `max` texts.
    pub(super) fn texts(&self, name: &str, max: usize) -> Result<Option<Vec<String>>, Refusal> {
        let Some(texts) = self.read::<Vec<String>>(name, "a list of strings")? else {
            return Ok(None);
        };
        if (1..=max).contains(&texts.len()) {
            return Ok(Some(texts));
        }
        let len = texts.len();
        Err(Refusal::params(format!(
            "`{name}` has {len} items; it must have 1 to {max}"
        )))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some((Key(name), value)) = map.next_entry()? {
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom(format!("has the field {name:?} twice")));
            }
            if fields.len() == MAX_FIELDS {
                return Err(A::Error::custom(format!(
                    "has more than {MAX_FIELDS} fields"
                )));
            }
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

/// Fields of one object; each is compared with those before it.
const MAX_FIELDS: usize = 1000;

/// A body as text.
pub(super) fn text(body: &[u8]) -> Result<&str, Refusal> {
    if body.is_empty() {
        return Err(Refusal::json("the body is empty; it must be JSON"));
    }
    std::str::from_utf8(body).map_err(|_| Refusal::json("the body is not UTF-8"))
}

/// The complaint about a text that is no JSON; it tells the place, not the content.
pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::json(format!("this is no JSON: {error}"))
}

/// Names in backquotes, with commas.
pub(super) fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
