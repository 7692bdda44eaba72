//! What an application keeps in MongoDB, and where that is.

use tidings_storage::mongo::read_uri;
use tidings_storage::mongo::session::{DocumentId, FieldPath};
use toml::Value;

use super::super::channels::is_channel_name;
use super::super::snapshot::{Condition, Order, is_field};
use super::super::{RoomTemplate, Secret};
use super::{
    Kind, OPTIONAL_SECRET, OrDefault as _, Refusal, each, not, show_list, show_text, visible,
};

/// <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>
const NOT_IN_DATABASE: [char; 11] = ['/', '\\', '.', '"', '$', '*', '<', '>', ':', '|', '?'];

/// A secret that an application chose.
pub(in crate::config) const OPTIONAL_PASSPHRASE: Kind<Option<Secret>> = Kind {
    allowed: "a secret, or \"\" for none",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    },
    show: OPTIONAL_SECRET.show,
};

pub(in crate::config) const FIELD_PATH: Kind<FieldPath> = Kind {
    allowed: "a path such as \"userId\" or \"passport.user\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        FieldPath::parse(text).map_err(|error| Refusal(Some(error.to_string())))
    },
    show: show_text,
};

pub(in crate::config) const DOCUMENT_ID: Kind<DocumentId> = Kind {
    allowed: "a text with {sid} or {sha256} once, such as \"{sid}\" or \"sess:{sid}\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        DocumentId::parse(text).map_err(|error| Refusal(Some(error.to_string())))
    },
    show: show_text,
};

pub(in crate::config) const OPTIONAL_URI: Kind<Option<Secret>> = Kind {
    allowed: "a connection string such as \
              \"mongodb://user:password@db-1,db-2/app?replicaSet=rs0\", or \"\" for none",
    read: |raw| match raw.text().ok_or_default()? {
        "" => Ok(None),
        text => match read_uri(text) {
            Ok(_) => Ok(Some(Secret::new(text))),
            Err(error) => Err(Refusal(Some(error.to_string()))),
        },
    },
    show: OPTIONAL_SECRET.show,
};

pub(in crate::config) const DATABASE: Kind<String> = Kind {
    allowed: "a database's name: 1 to 63 visible characters, none of /\\.\"$*<>:|?, or \"\"",
    read: |raw| match raw.text() {
        Some("") => Ok(String::new()),
        _ => visible(raw)
            .filter(|name| name.len() < 64 && !name.contains(NOT_IN_DATABASE))
            .ok_or_default(),
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const NAMED_COLLECTION: Kind<String> = Kind {
    allowed: "a collection's name: 1 to 120 visible characters without $, not a system.… one",
    read: |raw| match raw.text() {
        Some("") => Err(Refusal(None)),
        _ => (COLLECTION.read)(raw),
    },
    show: COLLECTION.show,
};

pub(in crate::config) const STREAM_NAME: Kind<String> = Kind {
    allowed: "1 to 64 letters, digits, `_` or `-`",
    read: |raw| {
        visible(raw)
            .filter(|name| is_channel_name(name))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const OPTIONAL_ROOM: Kind<Option<RoomTemplate>> = Kind {
    allowed: "a room's name with fields of the document, such as \"trades:{userId}\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        let read = RoomTemplate::parse_paths(text);
        read.map(Some)
            .map_err(|error| Refusal(Some(format!("{text:?} {error}"))))
    },
    show: |value| Value::String(value.as_ref().map(ToString::to_string).unwrap_or_default()),
};

pub(in crate::config) const OPERATIONS: Kind<Vec<String>> = Kind {
    allowed: "a list of \"insert\", \"update\" and \"replace\", with at least one of them",
    read: |raw| {
        let known = |text: &str| match text {
            "insert" | "update" | "replace" => Ok(text.to_owned()),
            other => Err(not(other, "such an operation")),
        };
        let read = each(raw, known)?;
        Some(read).filter(|read| !read.is_empty()).ok_or_default()
    },
    show: |value| show_list(value),
};

pub(in crate::config) const CONDITIONS: Kind<Vec<Condition>> = Kind {
    allowed: "a list of fields and values such as [\"userId={user}\", \"open:bool=true\"]",
    read: |raw| {
        each(raw, |text| {
            Condition::parse(text).map_err(|why| format!("{text:?} {why}"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const FIELD: Kind<String> = Kind {
    allowed: "a field such as \"symbols\" or \"items.symbol\"",
    read: |raw| visible(raw).filter(|text| is_field(text)).ok_or_default(),
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const FIELDS: Kind<Vec<String>> = Kind {
    allowed: "a list of fields such as [\"symbol\", \"price.bid\"]",
    read: |raw| {
        each(raw, |text| match is_field(text) {
            true => Ok(text.to_owned()),
            false => Err(not(text, "a field")),
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const SORT: Kind<Vec<Order>> = Kind {
    allowed: "a list of fields such as [\"-createdAt\"], with - where large values come first",
    read: |raw| {
        each(raw, |text| {
            Order::parse(text).ok_or_else(|| not(text, "a field"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const COLLECTION: Kind<String> = Kind {
    allowed: "a collection's name: 1 to 120 visible characters without $, not a system.… one, or \
              \"\" for none",
    read: |raw| match raw.text() {
        Some("") => Ok(String::new()),
        _ => visible(raw)
            .filter(|name| name.len() <= 120 && !name.contains('$'))
            .filter(|name| !name.starts_with("system."))
            .ok_or_default(),
    },
    show: |value| Value::String(value.clone()),
};
