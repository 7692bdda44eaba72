//! What channels and events are made of.

use toml::Value;

use super::super::{CharSet, Class, RoomTemplate};
use super::{Kind, OrDefault as _, Refusal, each, one_of, show_list, show_text, visible};
use crate::protocol::socket::RESERVED_NAMES;

pub(in crate::config) const NAMESPACE: Kind<String> = Kind {
    allowed: "a name that starts with / and has no space, comma or question mark",
    read: |raw| {
        visible(raw)
            .filter(|name| is_namespace(name))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const EVENT_NAME: Kind<String> = Kind {
    allowed: "an event's name, such as \"trade:executed\", and none of Socket.IO's own",
    read: |raw| {
        visible(raw)
            .filter(|name| !RESERVED_NAMES.contains(&name.as_str()))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const ROOMS: Kind<Vec<RoomTemplate>> = Kind {
    allowed: "a list of room names with variables, such as [\"quote:{symbol}\"]",
    read: |raw| {
        each(raw, |text| {
            RoomTemplate::parse(text).map_err(|error| format!("{text:?} {error}"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const CLASS: Kind<Class> = Kind {
    allowed: "\"live\", \"conflated\" or \"recoverable\"",
    read: |raw| one_of(raw, &Class::NAMES),
    show: |value| Value::from(value.name()),
};

pub(in crate::config) const CHARS: Kind<CharSet> = Kind {
    allowed: "ranges and single characters, such as \"A-Z0-9._-\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        CharSet::parse(text).map_err(|error| Refusal(Some(format!("{text:?} {error}"))))
    },
    show: show_text,
};

/// Whether a parameter is upper-cased.
pub(in crate::config) const CASE: Kind<bool> = Kind {
    allowed: "\"keep\" or \"upper\"",
    read: |raw| one_of(raw, &[("keep", false), ("upper", true)]),
    show: |upper| Value::from(if *upper { "upper" } else { "keep" }),
};

fn is_namespace(name: &str) -> bool {
    name.starts_with('/') && !name.contains([',', '?'])
}
