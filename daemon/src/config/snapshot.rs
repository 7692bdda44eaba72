//! `[channels.NAME.snapshot]`: what of an application's MongoDB a subscription is answered with.

use std::fmt;

use super::channels::Draft;
use super::keys::{Key, key};
use super::kind;
use super::problem::{Problem, Problems};
use super::{RoomTemplate, USER_VARIABLE};

/// Documents in a snapshot unless its channel says otherwise.
const LIMIT: usize = 100;

/// What a subscription is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The collection.
    pub collection: String,
    /// What a document must be like.
    pub filter: Vec<Condition>,
    /// The fields that are given; all if there are none.
    pub fields: Vec<String>,
    /// In which order they are, and which come first if there are more than `limit`.
    pub sort: Vec<Order>,
    /// Documents at most.
    pub limit: usize,
    /// Whether it is the first document alone, not a list.
    pub single: bool,
}

/// A field and the value that it must have: `userId={user}`, `open:bool=true`.
#[derive(Clone, PartialEq)]
pub struct Condition {
    source: String,
    /// The field, by its path.
    pub field: String,
    /// The value.
    pub value: Term,
}

/// The value of a [`Condition`].
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A text with variables; a text in any case.
    Text(RoomTemplate),
    /// A text with variables whose outcome is the digits of an id.
    ObjectId(RoomTemplate),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// A field to sort by: `-createdAt` descends.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The field, by its path.
    pub field: String,
    /// Whether large values come first.
    pub descends: bool,
}

/// The settings of one `snapshot`.
pub(super) const SNAPSHOT_KEYS: [Key<Snapshot>; 6] = [
    key!(
        kind::NAMED_COLLECTION,
        collection,
        "The collection in which the documents are."
    ),
    key!(
        kind::CONDITIONS,
        filter,
        "What they must be like. {user} and the channel's other variables stand for values, which \
         are texts whatever is in them; `FIELD:objectId={user}` for ids."
    ),
    key!(
        kind::FIELDS,
        fields,
        "The fields that clients get; all of them, _id too, if none is named."
    ),
    key!(
        kind::SORT,
        sort,
        "Their order. Of more documents than the limit the first are given."
    ),
    key!(kind::POSITIVE, limit, "The most documents."),
    key!(
        kind::BOOLEAN,
        single,
        "Whether the snapshot is the first document, or null, and not a list."
    ),
];

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            collection: String::new(),
            filter: Vec::new(),
            fields: Vec::new(),
            sort: Vec::new(),
            limit: LIMIT,
            single: false,
        }
    }
}

impl Snapshot {
    /// The documents of the subscriber in a collection that names users by `userId`.
    pub(super) fn of_user(collection: &str) -> Self {
        let filter = Condition::parse("userId={user}").expect("the profile's filter is legal");
        Self {
            collection: collection.into(),
            filter: vec![filter],
            ..Self::default()
        }
    }

    /// Reports what cannot be, given the rooms of its channel.
    pub(super) fn check(&self, name: &str, draft: &Draft, problems: &mut Problems) {
        let table = format!("channels.{name}.snapshot");
        if self.collection.is_empty() {
            let what = format!("must be {}", kind::NAMED_COLLECTION.allowed);
            problems.conflict(&format!("{table}.collection"), "\"\"".into(), &[], what);
        }
        let known = draft.client_variables();
        for condition in &self.filter {
            let unknown = condition
                .variables()
                .find(|variable| *variable != USER_VARIABLE && !known.contains(variable));
            if let Some(variable) = unknown {
                problems.add(Problem {
                    key: format!("{table}.filter"),
                    value: Some(format!("{:?}", condition.source)),
                    source: None,
                    what: format!("{{{variable}}} is no variable of the channel's rooms"),
                });
            }
        }
    }
}

impl Condition {
    /// Reads `FIELD=VALUE` or `FIELD:KIND=VALUE`; the error says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        let (left, right) = source.split_once('=').ok_or("has no =")?;
        let (field, kind) = left.split_once(':').unwrap_or((left, "string"));
        if !is_field(field) {
            return Err("has no field before =, or one with $".to_owned());
        }
        let template = || RoomTemplate::parse(right).map_err(|error| format!("value {error}"));
        let value = match kind {
            "string" => Term::Text(template()?),
            "objectId" => Term::ObjectId(template()?),
            "int" => Term::Int(right.parse().map_err(|_| "value is no whole number")?),
            "bool" => Term::Bool(
                right
                    .parse()
                    .map_err(|_| "value is neither true nor false")?,
            ),
            other => return Err(format!("{other:?} is not string, objectId, int or bool")),
        };
        Ok(Self {
            source: source.to_owned(),
            field: field.to_owned(),
            value,
        })
    }

    /// The variables in the value.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let template = match &self.value {
            Term::Text(template) | Term::ObjectId(template) => Some(template),
            Term::Int(_) | Term::Bool(_) => None,
        };
        template.into_iter().flat_map(RoomTemplate::variables)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.source)
    }
}

impl Order {
    /// Reads a field's name, with `-` before it if large values come first.
    pub(super) fn parse(source: &str) -> Option<Self> {
        let field = source.strip_prefix('-').unwrap_or(source);
        is_field(field).then(|| Self {
            field: field.to_owned(),
            descends: field != source,
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.descends { "-" } else { "" })?;
        f.write_str(&self.field)
    }
}

/// Whether a text is a field's path: nothing that MongoDB could take for an operator.
pub(super) fn is_field(path: &str) -> bool {
    let is_step = |step: &str| !step.is_empty() && !step.starts_with('$');
    path.len() <= 255 && path.split('.').all(is_step) && path.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_a_field_and_a_value_of_a_kind() {
        let value = |source: &str| Condition::parse(source).map(|read| (read.field, read.value));
        let template = |text: &str| RoomTemplate::parse(text).unwrap();
        for (source, field, expected) in [
            ("userId={user}", "userId", Term::Text(template("{user}"))),
            ("a.b=x={c}", "a.b", Term::Text(template("x={c}"))),
            (
                "owner:objectId={user}",
                "owner",
                Term::ObjectId(template("{user}")),
            ),
            ("n:int=-5", "n", Term::Int(-5)),
            ("open:bool=true", "open", Term::Bool(true)),
        ] {
            assert_eq!(value(source), Ok((field.to_owned(), expected)), "{source}");
        }
        for source in [
            "",
            "a",
            "=a",
            "$where=1",
            "a.$b=1",
            "a:x=1",
            "a:int={user}",
            "a=",
            "a={",
        ] {
            assert!(value(source).is_err(), "{source}");
        }
    }
}
