//! The kinds of value that settings have: how each is read, shown and described.
//!
//! | module | holds the kinds |
//! |---|---|
//! | `channel` | of channels and events |
//! | `mongo` | of what an application keeps in MongoDB |
//! | `web` | of addresses, and of what HTTP is made of |
//! | `units` | durations and sizes as texts |

use std::borrow::Cow;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::source::Raw;
use super::{AdminUiMode, AuthMode, LogFormat, Secret};
use crate::app::passwords;

mod channel;
mod mongo;
pub(super) mod units;
mod web;

pub(super) use channel::{CASE, CHARS, CLASS, EVENT_NAME, NAMESPACE, ROOMS};
pub(super) use mongo::{
    COLLECTION, CONDITIONS, DATABASE, DOCUMENT_ID, FIELD, FIELD_PATH, FIELDS, NAMED_COLLECTION,
    OPERATIONS, OPTIONAL_PASSPHRASE, OPTIONAL_ROOM, OPTIONAL_URI, SORT, STREAM_NAME,
};
pub(super) use web::{
    ADDRESS, CONTACT, COOKIE, DOMAINS, HOST_NAME, HTTPS_URL, NETWORKS, OPTIONAL_ADDRESS, ORIGINS,
    SEEDS, TRANSPORTS, URL_PATH,
};

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

pub(super) const OPTIONAL_PASSWORD_HASH: Kind<Option<Secret>> = Kind {
    allowed: "an argon2id hash that begins with \"$argon2id$v=19$\", or \"\" for none",
    read: |raw| match raw.text() {
        Some("") => Ok(None),
        text => {
            let hash = text.filter(|text| passwords::is_hash(text));
            hash.map(Secret::new).map(Some).ok_or_default()
        }
    },
    show: |value| Value::String(value.as_ref().map(Secret::to_string).unwrap_or_default()),
};

pub(super) const ADMIN_UI_MODE: Kind<AdminUiMode> = Kind {
    allowed: "\"production\" or \"development\"",
    read: |raw| {
        one_of(
            raw,
            &[
                ("production", AdminUiMode::Production),
                ("development", AdminUiMode::Development),
            ],
        )
    },
    show: |value| {
        Value::from(match value {
            AdminUiMode::Production => "production",
            AdminUiMode::Development => "development",
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

fn is_log_filter(text: &str) -> bool {
    let is_level = |level: &str| level.parse::<tracing::level_filters::LevelFilter>().is_ok();
    text.split(',')
        .all(|directive| match directive.rsplit_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level),
            None => is_level(directive),
        })
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

fn long_enough(text: &str) -> Option<Secret> {
    (text.chars().count() >= SHORTEST_SECRET).then(|| Secret::new(text))
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
