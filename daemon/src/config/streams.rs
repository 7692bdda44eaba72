//! `[[mongodb.streams]]`: changes in an application's MongoDB that become events.

use super::defaults::MAIN_NAMESPACE;
use super::keys::{Key, key};
use super::kind;
use super::problem::Problems;
use super::{Condition, Config, RoomTemplate};

/// Changes of a collection that become events.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Names it in MongoDB, logs and metrics; a stream of another name begins anew.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// The kinds of change.
    pub operations: Vec<String>,
    /// What the document must be like after the change.
    pub filter: Vec<Condition>,
    /// The event's name.
    pub event: String,
    /// The room that it is sent to; its variables are the document's fields.
    pub room: Option<RoomTemplate>,
    /// The namespace of the room.
    pub namespace: String,
    /// The fields that are sent; the whole document if there are none.
    pub fields: Vec<String>,
}

/// The settings of one `[[mongodb.streams]]`.
pub(super) const STREAM_KEYS: [Key<Stream>; 8] = [
    key!(
        kind::STREAM_NAME,
        name,
        "Tells it from others, in MongoDB too: under another name it begins anew."
    ),
    key!(
        kind::NAMED_COLLECTION,
        collection,
        "The collection whose changes are read."
    ),
    key!(
        kind::OPERATIONS,
        operations,
        "Which changes. Of an update the document is sent as it is when the update is read."
    ),
    key!(
        kind::CONDITIONS,
        filter,
        "What the document must be like after the change; without variables."
    ),
    key!(kind::EVENT_NAME, event, "The event that clients get."),
    key!(
        kind::OPTIONAL_ROOM,
        room,
        "The room that it is sent to; {FIELD} is a field of the document, {a.b} one of a field."
    ),
    key!(kind::NAMESPACE, namespace, "The room's namespace."),
    key!(
        kind::FIELDS,
        fields,
        "The fields of the document that are sent; all of them if none is named."
    ),
];

impl Default for Stream {
    fn default() -> Self {
        Self {
            name: String::new(),
            collection: String::new(),
            operations: vec!["insert".into()],
            filter: Vec::new(),
            event: String::new(),
            room: None,
            namespace: MAIN_NAMESPACE.into(),
            fields: Vec::new(),
        }
    }
}

/// Reports streams that cannot be.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let streams = &config.mongodb.streams;
    for (at, stream) in streams.iter().enumerate() {
        let mut missing = |key: &str, allowed: &str| {
            let key = format!("mongodb.streams.{key}");
            problems.conflict(&key, "\"\"".into(), &[], format!("must be {allowed}"));
        };
        if stream.name.is_empty() {
            missing("name", kind::STREAM_NAME.allowed);
        }
        if stream.collection.is_empty() {
            missing("collection", kind::NAMED_COLLECTION.allowed);
        }
        if stream.event.is_empty() {
            missing("event", kind::EVENT_NAME.allowed);
        }
        if stream.room.is_none() {
            missing("room", kind::OPTIONAL_ROOM.allowed);
        }
        let shown = |text: &str| format!("{text:?}");
        if streams[..at].iter().any(|other| other.name == stream.name) {
            let what = "is the name of two streams".to_owned();
            problems.conflict("mongodb.streams.name", shown(&stream.name), &[], what);
        }
        let mut known = config.namespaces.iter();
        if !known.any(|namespace| namespace.name == stream.namespace) {
            let key = "mongodb.streams.namespace";
            let what = "is not among [[namespaces]]".to_owned();
            let others = ["namespaces", "namespaces.name"];
            problems.conflict(key, shown(&stream.namespace), &others, what);
        }
        let mut filter = stream.filter.iter();
        if let Some(condition) = filter.find(|it| it.variables().next().is_some()) {
            let what = "has a variable: a stream is read for nobody in particular".to_owned();
            let value = shown(&condition.to_string());
            problems.conflict("mongodb.streams.filter", value, &[], what);
        }
        if let Some(field) = stream.fields.iter().find(|field| field.contains('.')) {
            let what = "is no field of the document itself".to_owned();
            problems.conflict("mongodb.streams.fields", shown(field), &[], what);
        }
    }
    if !streams.is_empty() && config.mongodb.uri.is_none() {
        let what = "of no use without mongodb.uri".to_owned();
        let others = ["mongodb.uri", "mongodb.uri_file"];
        problems.conflict("mongodb.streams", "[…]".into(), &others, what);
    }
}
