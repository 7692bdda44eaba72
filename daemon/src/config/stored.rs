//! `[channels.NAME.stored]`: a user's own list of values, such as a watchlist, in an application's
//! MongoDB.

use super::channels::Draft;
use super::keys::{Key, key};
use super::kind;
use super::problem::Problems;
use super::{Condition, USER_VARIABLE};

/// Where a user's own values stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The collection.
    pub collection: String,
    /// Which documents are the user's.
    pub filter: Vec<Condition>,
    /// The field of them that has the values.
    pub field: String,
    /// Whether clients are subscribed to them as they connect.
    pub at_connect: bool,
}

/// The settings of one `stored`.
pub(super) const STORED_KEYS: [Key<Stored>; 4] = [
    key!(
        kind::NAMED_COLLECTION,
        collection,
        "The collection in which the lists are."
    ),
    key!(
        kind::CONDITIONS,
        filter,
        "Which documents are the user's, whom {user} stands for."
    ),
    key!(
        kind::FIELD,
        field,
        "Where the values stand in a document: a text, a list of texts, or the field of each item \
         of a list."
    ),
    key!(
        kind::BOOLEAN,
        at_connect,
        "Whether clients are subscribed to them as they connect; else they are when they send \
         `subscribe:NAME` without values."
    ),
];

impl Default for Stored {
    fn default() -> Self {
        let filter = Condition::parse("userId={user}").expect("it has a field and a value");
        Self {
            collection: String::new(),
            filter: vec![filter],
            field: String::new(),
            at_connect: false,
        }
    }
}

impl Stored {
    /// Reports what cannot be, given the rooms of its channel.
    pub(super) fn check(&self, name: &str, draft: &Draft, problems: &mut Problems) {
        let table = format!("channels.{name}.stored");
        for (key, value, allowed) in [
            (
                "collection",
                &self.collection,
                kind::NAMED_COLLECTION.allowed,
            ),
            ("field", &self.field, kind::FIELD.allowed),
        ] {
            if value.is_empty() {
                let what = format!("must be {allowed}");
                problems.conflict(&format!("{table}.{key}"), "\"\"".into(), &[], what);
            }
        }
        if draft.client_variables().len() != 1 {
            let what = "needs rooms with one variable that clients supply, which the values are of";
            let rooms = format!("channels.{name}.rooms");
            problems.conflict(&table, "{…}".into(), &[&rooms], what.to_owned());
        }
        let others = |condition: &&Condition| condition.variables().any(|it| it != USER_VARIABLE);
        if let Some(condition) = self.filter.iter().find(others) {
            let what = "has a variable that is not {user}: nobody has supplied it yet".to_owned();
            let value = format!("{:?}", condition.to_string());
            problems.conflict(&format!("{table}.filter"), value, &[], what);
        }
    }
}
