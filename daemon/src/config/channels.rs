//! `[[namespaces]]` and `[channels.*]`: tables whose names the operator chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::defaults::{CONFLATION_INTERVAL, MAIN_NAMESPACE};
use super::keys::{Key, key};
use super::kind;
use super::problem::{Problem, Problems};
use super::{
    Channel, Class, Keeps, Namespace, Param, RoomTemplate, Snapshot, Stored, USER_VARIABLE,
};

/// A channel while it is read: what was said, before what follows from it.
#[derive(Clone)]
pub(super) struct Draft {
    rooms: Vec<RoomTemplate>,
    class: Class,
    interval: Option<Duration>,
    keeps: Keeps,
    namespace: String,
    pub(super) params: BTreeMap<String, Param>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) stored: Option<Stored>,
}

/// The settings of one `[[namespaces]]`.
pub(super) const NAMESPACE_KEYS: [Key<Namespace>; 1] = [key!(
    kind::NAMESPACE,
    name,
    "What clients connect to; \"/\" if they name none. All names that are not listed are refused."
)];

/// The settings of one `[channels.NAME]`; `params` stands beside them.
pub(super) const CHANNEL_KEYS: [Key<Draft>; 7] = [
    key!(
        kind::ROOMS,
        rooms,
        "The rooms that `subscribe:NAME` joins. {user} is the session's user; the client supplies \
         every other variable, one value or a list ({symbol}: `symbol` or `symbols`)."
    ),
    key!(
        kind::CLASS,
        class,
        "\"live\": each event at most once. \"conflated\": the newest value, at most one an \
         interval. \"recoverable\": each event once and in order, also across a reconnection."
    ),
    Key {
        name: "interval",
        why: "Least time between two values of a conflated room; only for that class.",
        allowed: kind::DURATION.allowed,
        set: |draft, raw| {
            draft.interval = Some((kind::DURATION.read)(raw)?);
            Ok(())
        },
        show: |draft| (kind::DURATION.show)(&draft.interval.unwrap_or(CONFLATION_INTERVAL)),
        secret: false,
    },
    Key {
        name: "window",
        why: "How long events of a recoverable room are kept, if not for recovery.window; clients \
              cannot come back after that in any case.",
        allowed: kind::DURATION.allowed,
        set: |draft, raw| {
            draft.keeps.window = Some((kind::DURATION.read)(raw)?);
            Ok(())
        },
        show: |draft| (kind::DURATION.show)(&draft.keeps.window.unwrap_or_default()),
        secret: false,
    },
    Key {
        name: "max_entries",
        why: "Events kept of a recoverable room, if not recovery.entries_per_room.",
        allowed: kind::POSITIVE.allowed,
        set: |draft, raw| {
            draft.keeps.max_entries = Some((kind::POSITIVE.read)(raw)?);
            Ok(())
        },
        show: |draft| (kind::POSITIVE.show)(&draft.keeps.max_entries.unwrap_or_default()),
        secret: false,
    },
    Key {
        name: "max_bytes",
        why: "Bytes kept of a recoverable room, if not as many as recovery.memory allows.",
        allowed: kind::SIZE.allowed,
        set: |draft, raw| {
            draft.keeps.max_bytes = Some((kind::SIZE.read)(raw)?);
            Ok(())
        },
        show: |draft| (kind::SIZE.show)(&draft.keeps.max_bytes.unwrap_or_default()),
        secret: false,
    },
    key!(
        kind::NAMESPACE,
        namespace,
        "Where the channel is offered; one of [[namespaces]]."
    ),
];

/// The settings of one `params.VARIABLE`.
pub(super) const PARAM_KEYS: [Key<Param>; 3] = [
    key!(
        kind::CHARS,
        chars,
        "The characters a client's value may have."
    ),
    Key {
        name: "max",
        ..key!(kind::POSITIVE, max_len, "The most characters it may have.")
    },
    Key {
        name: "case",
        ..key!(
            kind::CASE,
            upper,
            "\"upper\" upper-cases it first, so that a and A are one room."
        )
    },
];

impl Default for Draft {
    fn default() -> Self {
        Self {
            rooms: Vec::new(),
            class: Class::Live,
            interval: None,
            keeps: Keeps::default(),
            namespace: MAIN_NAMESPACE.into(),
            params: BTreeMap::new(),
            snapshot: None,
            stored: None,
        }
    }
}

impl From<&Channel> for Draft {
    fn from(channel: &Channel) -> Self {
        Self {
            rooms: channel.rooms.clone(),
            class: channel.class,
            interval: (!channel.interval.is_zero()).then_some(channel.interval),
            keeps: channel.keeps,
            namespace: channel.namespace.clone(),
            params: channel.params.clone(),
            snapshot: channel.snapshot.clone(),
            stored: channel.stored.clone(),
        }
    }
}

impl Draft {
    /// The channel, once `name`'s own contradictions are reported.
    pub(super) fn finish(mut self, name: &str, problems: &mut Problems) -> Channel {
        self.check_rooms(name, problems);
        self.check_interval(name, problems);
        self.check_keeps(name, problems);
        self.check_params(name, problems);
        if let Some(snapshot) = &self.snapshot {
            snapshot.check(name, &self, problems);
        }
        if let Some(stored) = &self.stored {
            stored.check(name, &self, problems);
        }
        for room in &self.rooms {
            for variable in room.client_variables() {
                self.params.entry(variable.to_owned()).or_default();
            }
        }
        let interval = match self.class {
            Class::Conflated => self.interval.unwrap_or(CONFLATION_INTERVAL),
            Class::Live | Class::Recoverable => Duration::ZERO,
        };
        Channel {
            rooms: self.rooms,
            class: self.class,
            interval,
            keeps: self.keeps,
            params: self.params,
            namespace: self.namespace,
            snapshot: self.snapshot,
            stored: self.stored,
        }
    }

    /// The variable that is meant by a name in lower case, as the environment's names are read.
    pub(super) fn variable_called(&self, lowered: &str) -> String {
        let mut names = self.rooms.iter().flat_map(RoomTemplate::client_variables);
        let found = names.find(|name| name.to_ascii_lowercase() == lowered);
        found.unwrap_or(lowered).to_owned()
    }

    /// The variables of its rooms that clients supply.
    pub(super) fn client_variables(&self) -> BTreeSet<&str> {
        let rooms = self.rooms.iter();
        rooms.flat_map(RoomTemplate::client_variables).collect()
    }

    fn check_rooms(&self, name: &str, problems: &mut Problems) {
        let key = format!("channels.{name}.rooms");
        if self.rooms.is_empty() {
            let what = "a channel needs at least one room, such as [\"news\"]".to_owned();
            problems.conflict(&key, "[]".into(), &[], what);
        }
    }

    fn check_interval(&self, name: &str, problems: &mut Problems) {
        let (Some(interval), Class::Live | Class::Recoverable) = (self.interval, self.class) else {
            return;
        };
        let what = format!(
            "only a channel of class \"conflated\" has an interval; this one is \"{}\"",
            self.class.name()
        );
        let value = (kind::DURATION.show)(&interval).to_string();
        let class = format!("channels.{name}.class");
        problems.conflict(&format!("channels.{name}.interval"), value, &[&class], what);
    }

    /// What does not keep anything has nothing to say of how much.
    fn check_keeps(&self, name: &str, problems: &mut Problems) {
        if self.class == Class::Recoverable {
            return;
        }
        let what = format!(
            "only a channel of class \"recoverable\" keeps events; this one is \"{}\"",
            self.class.name()
        );
        let class = format!("channels.{name}.class");
        for key in CHANNEL_KEYS.iter().filter(|key| self.says(key.name)) {
            let value = (key.show)(self).to_string();
            let key = format!("channels.{name}.{}", key.name);
            problems.conflict(&key, value, &[&class], what.clone());
        }
    }

    /// Whether one of the settings of what is kept was given.
    pub(super) fn says(&self, key: &str) -> bool {
        match key {
            "window" => self.keeps.window.is_some(),
            "max_entries" => self.keeps.max_entries.is_some(),
            "max_bytes" => self.keeps.max_bytes.is_some(),
            _ => false,
        }
    }

    fn check_params(&self, name: &str, problems: &mut Problems) {
        let rooms = format!("channels.{name}.rooms");
        let known: Vec<_> = self
            .rooms
            .iter()
            .flat_map(RoomTemplate::client_variables)
            .collect();
        for param in self
            .params
            .keys()
            .filter(|param| !known.contains(&param.as_str()))
        {
            if problems.concerns(&rooms) {
                return;
            }
            let what = match param.as_str() {
                USER_VARIABLE => "{user} is the session's user: no client supplies it".to_owned(),
                _ if known.is_empty() => "the channel's rooms have no variable".to_owned(),
                _ => format!(
                    "no such variable in the channel's rooms: {}",
                    known.join(", ")
                ),
            };
            let key = format!("channels.{name}.params.{param}");
            problems.add(Problem {
                key,
                value: None,
                source: None,
                what,
            });
        }
    }
}

impl Class {
    /// The classes as the configuration names them.
    pub(super) const NAMES: [(&str, Self); 3] = [
        ("live", Self::Live),
        ("conflated", Self::Conflated),
        ("recoverable", Self::Recoverable),
    ];

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Conflated => "conflated",
            Self::Recoverable => "recoverable",
        }
    }
}

/// Whether `name` can be a channel's: it becomes part of an event's name and of a TOML key.
pub(super) fn is_channel_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
