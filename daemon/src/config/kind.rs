//! The kinds of value that settings have: how each is read, shown and described.

use std::borrow::Cow;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tidings_storage::mongo::read_uri;
use tidings_storage::mongo::session::{DocumentId, FieldPath};
use toml::Value;

use super::channels::is_channel_name;
use super::defaults::host_name;
use super::snapshot::{Condition, Order, is_field};
use super::source::Raw;
use super::{AuthMode, CharSet, Class, LogFormat, Origin, RoomTemplate, Secret, Transports};
use crate::protocol::socket::RESERVED_NAMES;

pub(super) mod units;

/// A kind of value.
pub(super) struct Kind<T> {
    /// What is allowed, as the end of "must be …".
    pub(super) allowed: &'static str,
    pub(super) read: fn(Raw<'_>) -> Result<T, Refusal>,
    pub(super) show: fn(&T) -> Value,
}

/// A value is not of its kind; sometimes there is more to say about why.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refusal(pub(super) Option<String>);

const SHORTEST_SECRET: usize = 16;

/// <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>
const NOT_IN_DATABASE: [char; 11] = ['/', '\\', '.', '"', '$', '*', '<', '>', ':', '|', '?'];

pub(super) const COUNT: Kind<usize> = Kind {
    allowed: "a whole number, 0 or more",
    read: number,
    show: show_number,
};

pub(super) const LIMIT: Kind<u32> = Kind {
    allowed: "a whole number, 0 for no limit",
    read: number,
    show: show_number,
};

pub(super) const CONNECTIONS: Kind<usize> = Kind {
    allowed: "a whole number, 0 for no limit",
    read: number,
    show: show_number,
};

pub(super) const POSITIVE: Kind<usize> = Kind {
    allowed: "a whole number above 0",
    read: positive,
    show: show_number,
};

pub(super) const SIZE: Kind<usize> = Kind {
    allowed: "a size above 0 such as \"1MB\" (1,000,000) or \"1MiB\" (1,048,576), or bytes",
    read: size,
    show: show_size,
};

/// hyper needs 8 KiB to read a head.
pub(super) const HEADER: Kind<usize> = Kind {
    allowed: "a size from \"8KiB\" to \"1MiB\", or bytes",
    read: |raw| {
        let size = size(raw)?;
        Some(size)
            .filter(|size| (8 << 10..=1 << 20).contains(size))
            .ok_or_default()
    },
    show: show_size,
};

pub(super) const DURATION: Kind<Duration> = Kind {
    allowed: "a duration above 0, such as \"25s\", \"250ms\" or \"2m\"",
    read: |raw| {
        duration(raw)
            .filter(|value| !value.is_zero())
            .ok_or_default()
    },
    show: show_duration,
};

pub(super) const DURATION_OR_OFF: Kind<Duration> = Kind {
    allowed: "a duration such as \"120s\", \"250ms\" or \"2m\", or \"0s\" for none",
    read: |raw| duration(raw).ok_or_default(),
    show: show_duration,
};

pub(super) const BOOLEAN: Kind<bool> = Kind {
    allowed: "true or false",
    read: |raw| raw.boolean().ok_or_default(),
    show: |value| Value::Boolean(*value),
};

pub(super) const HOST_NAME: Kind<String> = Kind {
    allowed: "1 to 255 visible characters, or \"\" for the machine's host name",
    read: |raw| match raw.text() {
        Some("") => Ok(host_name()),
        _ => visible(raw).ok_or_default(),
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const URL_PATH: Kind<String> = Kind {
    allowed: "a path that starts and ends with /, such as \"/socket.io/\", but is not / itself",
    read: |raw| {
        visible(raw)
            .filter(|path| is_url_path(path))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const COOKIE: Kind<String> = Kind {
    allowed: "a cookie's name: letters, digits and any of !#$%&'*+-.^_`|~",
    read: |raw| {
        visible(raw)
            .filter(|name| name.bytes().all(is_token))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const NAMESPACE: Kind<String> = Kind {
    allowed: "a name that starts with / and has no space, comma or question mark",
    read: |raw| {
        visible(raw)
            .filter(|name| is_namespace(name))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const LOG_LEVEL: Kind<String> = Kind {
    allowed: "off, error, warn, info, debug or trace, or directives such as \
              \"info,tidings::shard=debug\"",
    read: |raw| {
        visible(raw)
            .filter(|level| is_log_filter(level))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    allowed: "an IP address and a port, such as \"127.0.0.1:8081\" or \"[::]:8080\"",
    read: |raw| {
        raw.text()
            .and_then(|text| text.parse().ok())
            .ok_or_default()
    },
    show: show_text,
};

pub(super) const OPTIONAL_ADDRESS: Kind<Option<SocketAddr>> = Kind {
    allowed: "an IP address and a port, such as \"10.0.0.1:7946\", or \"\" for none",
    read: |raw| match raw.text() {
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).ok().ok_or_default(),
        None => Err(Refusal(None)),
    },
    show: |value| Value::String(value.map(|at| at.to_string()).unwrap_or_default()),
};

pub(super) const SEEDS: Kind<Vec<String>> = Kind {
    allowed: "a list of hosts and ports such as [\"10.0.0.1:7946\", \"gw-2.internal:7946\"]",
    read: |raw| {
        each(raw, |text| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.and_then(|(_, port)| port.parse::<u16>().ok())
                .map(|_| text.to_owned())
                .ok_or_else(|| not(text, "a host and a port"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const NAME: Kind<String> = Kind {
    allowed: "1 to 255 visible characters",
    read: |raw| visible(raw).ok_or_default(),
    show: |value| Value::String(value.clone()),
};

pub(super) const FOLDER: Kind<PathBuf> = Kind {
    allowed: "a folder's path",
    read: |raw| {
        raw.text()
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
            .ok_or_default()
    },
    show: |value| Value::String(value.display().to_string()),
};

pub(super) const FILE: Kind<PathBuf> = Kind {
    allowed: "the path of a PEM file, or \"\" for none",
    read: |raw| raw.text().map(PathBuf::from).ok_or_default(),
    show: |value| Value::String(value.display().to_string()),
};

pub(super) const OPTIONAL_FOLDER: Kind<Option<PathBuf>> = Kind {
    allowed: "a folder's path, or \"\" for none",
    read: optional_path,
    show: show_optional_path,
};

pub(super) const OPTIONAL_FILE: Kind<Option<PathBuf>> = Kind {
    allowed: "a file's path, or \"\" for none",
    read: optional_path,
    show: show_optional_path,
};

fn optional_path(raw: Raw<'_>) -> Result<Option<PathBuf>, Refusal> {
    let text = raw.text().ok_or_default()?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn show_optional_path(path: &Option<PathBuf>) -> Value {
    let path = path.as_deref().map(std::path::Path::display);
    Value::String(path.map(|path| path.to_string()).unwrap_or_default())
}

pub(super) const ORIGINS: Kind<Vec<Origin>> = Kind {
    allowed: "a list of origins such as [\"https://app.example\"], or [\"*\"] for all",
    read: |raw| {
        each(raw, |text| {
            Origin::parse(text).ok_or_else(|| not(text, "an origin"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const NETWORKS: Kind<Vec<IpNet>> = Kind {
    allowed: "a list of addresses or networks such as [\"10.0.0.0/8\", \"::1\"]",
    read: |raw| {
        each(raw, |text| {
            network(text).ok_or_else(|| not(text, "an address"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const SECRETS: Kind<Vec<Secret>> = Kind {
    allowed: "a list of secrets of 16 characters or more",
    read: |raw| {
        let items = raw.list().ok_or_default()?;
        items
            .iter()
            .map(|text| long_enough(text).ok_or_default())
            .collect()
    },
    show: |value| show_list(value),
};

pub(super) const OPTIONAL_SECRET: Kind<Option<Secret>> = Kind {
    allowed: "a secret of 16 characters or more, or \"\" for none",
    read: |raw| match raw.text() {
        Some("") => Ok(None),
        text => text.and_then(long_enough).map(Some).ok_or_default(),
    },
    show: |value| Value::String(value.as_ref().map(Secret::to_string).unwrap_or_default()),
};

/// A secret that an application chose.
pub(super) const OPTIONAL_PASSPHRASE: Kind<Option<Secret>> = Kind {
    allowed: "a secret, or \"\" for none",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    },
    show: OPTIONAL_SECRET.show,
};

pub(super) const FIELD_PATH: Kind<FieldPath> = Kind {
    allowed: "a path such as \"userId\" or \"passport.user\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        FieldPath::parse(text).map_err(|error| Refusal(Some(error.to_string())))
    },
    show: show_text,
};

pub(super) const DOCUMENT_ID: Kind<DocumentId> = Kind {
    allowed: "a text with {sid} or {sha256} once, such as \"{sid}\" or \"sess:{sid}\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        DocumentId::parse(text).map_err(|error| Refusal(Some(error.to_string())))
    },
    show: show_text,
};

pub(super) const OPTIONAL_URI: Kind<Option<Secret>> = Kind {
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

pub(super) const DATABASE: Kind<String> = Kind {
    allowed: "a database's name: 1 to 63 visible characters, none of /\\.\"$*<>:|?, or \"\"",
    read: |raw| match raw.text() {
        Some("") => Ok(String::new()),
        _ => visible(raw)
            .filter(|name| name.len() < 64 && !name.contains(NOT_IN_DATABASE))
            .ok_or_default(),
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const NAMED_COLLECTION: Kind<String> = Kind {
    allowed: "a collection's name: 1 to 120 visible characters without $, not a system.… one",
    read: |raw| match raw.text() {
        Some("") => Err(Refusal(None)),
        _ => (COLLECTION.read)(raw),
    },
    show: COLLECTION.show,
};

pub(super) const STREAM_NAME: Kind<String> = Kind {
    allowed: "1 to 64 letters, digits, `_` or `-`",
    read: |raw| {
        visible(raw)
            .filter(|name| is_channel_name(name))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const EVENT_NAME: Kind<String> = Kind {
    allowed: "an event's name, such as \"trade:executed\", and none of Socket.IO's own",
    read: |raw| {
        visible(raw)
            .filter(|name| !RESERVED_NAMES.contains(&name.as_str()))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(super) const OPTIONAL_ROOM: Kind<Option<RoomTemplate>> = Kind {
    allowed: "a room's name with fields of the document, such as \"trades:{userId}\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        let read = RoomTemplate::parse_paths(text);
        read.map(Some)
            .map_err(|error| Refusal(Some(format!("{text:?} {error}"))))
    },
    show: |value| Value::String(value.as_ref().map(ToString::to_string).unwrap_or_default()),
};

pub(super) const OPERATIONS: Kind<Vec<String>> = Kind {
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

pub(super) const CONDITIONS: Kind<Vec<Condition>> = Kind {
    allowed: "a list of fields and values such as [\"userId={user}\", \"open:bool=true\"]",
    read: |raw| {
        each(raw, |text| {
            Condition::parse(text).map_err(|why| format!("{text:?} {why}"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const FIELDS: Kind<Vec<String>> = Kind {
    allowed: "a list of fields such as [\"symbol\", \"price.bid\"]",
    read: |raw| {
        each(raw, |text| match is_field(text) {
            true => Ok(text.to_owned()),
            false => Err(not(text, "a field")),
        })
    },
    show: |value| show_list(value),
};

pub(super) const SORT: Kind<Vec<Order>> = Kind {
    allowed: "a list of fields such as [\"-createdAt\"], with - where large values come first",
    read: |raw| {
        each(raw, |text| {
            Order::parse(text).ok_or_else(|| not(text, "a field"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const COLLECTION: Kind<String> = Kind {
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

pub(super) const AUTH_MODE: Kind<AuthMode> = Kind {
    allowed: "\"session\" or \"none\"",
    read: |raw| {
        one_of(
            raw,
            &[("session", AuthMode::Session), ("none", AuthMode::None)],
        )
    },
    show: |value| {
        Value::from(match value {
            AuthMode::Session => "session",
            AuthMode::None => "none",
        })
    },
};

pub(super) const LOG_FORMAT: Kind<LogFormat> = Kind {
    allowed: "\"text\" or \"json\"",
    read: |raw| one_of(raw, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    show: |value| {
        Value::from(match value {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    },
};

pub(super) const TRANSPORTS: Kind<Transports> = Kind {
    allowed: "a list of \"polling\" and \"websocket\", with at least one of them",
    read: transports,
    show: |value| {
        let names = [(value.polling, "polling"), (value.websocket, "websocket")];
        Value::Array(
            names
                .into_iter()
                .filter(|n| n.0)
                .map(|n| Value::from(n.1))
                .collect(),
        )
    },
};

pub(super) const ROOMS: Kind<Vec<RoomTemplate>> = Kind {
    allowed: "a list of room names with variables, such as [\"quote:{symbol}\"]",
    read: |raw| {
        each(raw, |text| {
            RoomTemplate::parse(text).map_err(|error| format!("{text:?} {error}"))
        })
    },
    show: |value| show_list(value),
};

pub(super) const CLASS: Kind<Class> = Kind {
    allowed: "\"live\", \"conflated\" or \"recoverable\"",
    read: |raw| one_of(raw, &Class::NAMES),
    show: |value| Value::from(value.name()),
};

pub(super) const CHARS: Kind<CharSet> = Kind {
    allowed: "ranges and single characters, such as \"A-Z0-9._-\"",
    read: |raw| {
        let text = raw.text().ok_or_default()?;
        CharSet::parse(text).map_err(|error| Refusal(Some(format!("{text:?} {error}"))))
    },
    show: show_text,
};

/// Whether a parameter is upper-cased.
pub(super) const CASE: Kind<bool> = Kind {
    allowed: "\"keep\" or \"upper\"",
    read: |raw| one_of(raw, &[("keep", false), ("upper", true)]),
    show: |upper| Value::from(if *upper { "upper" } else { "keep" }),
};

fn number<T: TryFrom<i64>>(raw: Raw<'_>) -> Result<T, Refusal> {
    raw.integer()
        .and_then(|number| T::try_from(number).ok())
        .ok_or_default()
}

fn positive(raw: Raw<'_>) -> Result<usize, Refusal> {
    number(raw).and_then(|number| Some(number).filter(|n| *n > 0).ok_or_default())
}

fn show_number<T: Copy + TryInto<i64>>(value: &T) -> Value {
    Value::Integer((*value).try_into().unwrap_or(i64::MAX))
}

fn size(raw: Raw<'_>) -> Result<usize, Refusal> {
    if raw.integer().is_some() {
        return positive(raw);
    }
    raw.text()
        .and_then(units::size)
        .filter(|bytes| *bytes > 0)
        .ok_or_default()
}

fn show_size(bytes: &usize) -> Value {
    units::size_text(*bytes).map_or_else(|| show_number(bytes), Value::String)
}

fn duration(raw: Raw<'_>) -> Option<Duration> {
    units::duration(raw.text()?)
}

fn show_duration(value: &Duration) -> Value {
    Value::String(units::duration_text(*value))
}

fn visible(raw: Raw<'_>) -> Option<String> {
    let text = raw.text()?;
    let legal = (1..=255).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    legal.then(|| text.to_owned())
}

fn is_url_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path.ends_with('/')
        && !path.contains("//")
        && !path.contains(['?', '#', '%', '"', '\\'])
}

fn is_namespace(name: &str) -> bool {
    name.starts_with('/') && !name.contains([',', '?'])
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_log_filter(text: &str) -> bool {
    let is_level = |level: &str| level.parse::<tracing::level_filters::LevelFilter>().is_ok();
    text.split(',')
        .all(|directive| match directive.rsplit_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level),
            None => is_level(directive),
        })
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

fn network(text: &str) -> Option<IpNet> {
    let network: Option<IpNet> = text.parse().ok();
    network
        .map(|network| network.trunc())
        .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

fn long_enough(text: &str) -> Option<Secret> {
    (text.chars().count() >= SHORTEST_SECRET).then(|| Secret::new(text))
}

fn transports(raw: Raw<'_>) -> Result<Transports, Refusal> {
    let mut found = Transports {
        polling: false,
        websocket: false,
    };
    for name in raw.list().ok_or_default()? {
        match &*name {
            "polling" => found.polling = true,
            "websocket" => found.websocket = true,
            other => return Err(Refusal(Some(not(other, "a transport")))),
        }
    }
    Some(found)
        .filter(|found| found.polling || found.websocket)
        .ok_or_default()
}

fn each<T>(raw: Raw<'_>, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, Refusal> {
    let items: Vec<Cow<'_, str>> = raw.list().ok_or_default()?;
    items
        .iter()
        .map(|item| read(item).map_err(|why| Refusal(Some(why))))
        .collect()
}

fn not(text: &str, what: &str) -> String {
    format!("{text:?} is not {what}")
}

fn one_of<T: Copy>(raw: Raw<'_>, choices: &[(&str, T)]) -> Result<T, Refusal> {
    let text = raw.text().ok_or_default()?;
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_default()
}

fn show_text<T: Display>(value: &T) -> Value {
    Value::String(value.to_string())
}

fn show_list<T: Display>(values: &[T]) -> Value {
    Value::Array(values.iter().map(show_text).collect())
}

trait OrDefault<T> {
    /// The value, or a refusal with nothing to add.
    fn ok_or_default(self) -> Result<T, Refusal>;
}

impl<T> OrDefault<T> for Option<T> {
    fn ok_or_default(self) -> Result<T, Refusal> {
        self.ok_or_else(Refusal::default)
    }
}
