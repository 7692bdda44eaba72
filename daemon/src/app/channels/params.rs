//! PURE: from an event's argument to the rooms that it names, each complaint naming its value.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::config::{Channel, USER_VARIABLE};

/// Values that one event may name.
const MAX_VALUES: usize = 1000;

/// What a client's event is answered with when it fails.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
    #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u64>,
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// A value that was not taken.
#[derive(Debug, Serialize)]
pub(super) struct Rejected {
    pub(super) value: Value,
    pub(super) code: &'static str,
    #[serde(skip)]
    pub(super) message: String,
}

/// A subscription asked for: what the client called it, and the rooms behind it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) value: String,
    pub(super) rooms: Vec<Arc<str>>,
    /// The values of the channel's variables.
    pub(super) choice: BTreeMap<String, String>,
}

/// An event's first argument as an object; a client may not speak for another user.
pub(super) fn parameters(
    arg: Option<&RawValue>,
    user: &str,
) -> Result<serde_json::Map<String, Value>, Failure> {
    let params = match arg.map(|arg| serde_json::from_str::<Value>(arg.get())) {
        None | Some(Ok(Value::Null)) => serde_json::Map::new(),
        Some(Ok(Value::Object(params))) => params,
        Some(_) => {
            let message = "the argument must be an object";
            return Err(Failure::new("invalid_params", message));
        }
    };
    let other = |name: &&&str| params.get(**name).is_some_and(|value| value != user);
    match [USER_VARIABLE, "userId"].iter().find(other) {
        Some(name) => {
            let message = format!("{name} must be the session's own user, or left out");
            Err(Failure::new("forbidden", message))
        }
        None => Ok(params),
    }
}

/// Whether a client leaves it open which values of a channel it means.
pub(super) fn names_none(channel: &Channel, params: &serde_json::Map<String, Value>) -> bool {
    let mut names = channel.params.keys();
    !names.any(|name| params.contains_key(name) || params.contains_key(&format!("{name}s")))
}

/// The parameters that name these values of a channel's one variable.
pub(super) fn naming(channel: &Channel, values: Vec<String>) -> serde_json::Map<String, Value> {
    let name = channel.params.keys().next();
    name.map(|name| (format!("{name}s"), values.into()))
        .into_iter()
        .collect()
}

/// The subscriptions that the parameters name, and the values that are not allowed.
pub(super) fn wanted(
    channel: &Channel,
    params: &serde_json::Map<String, Value>,
    user: &str,
) -> Result<(Vec<Wanted>, Vec<Rejected>), Failure> {
    let mut rejected = Vec::new();
    // Every combination of the variables' values; mostly there is one variable or none.
    let mut choices: Vec<BTreeMap<&str, String>> = vec![BTreeMap::new()];
    for (name, rule) in &channel.params {
        let mut accepted: Vec<String> = Vec::new();
        for value in values(params, name)? {
            match value.as_str().and_then(|text| rule.accept(text)) {
                Some(text) if accepted.contains(&text) => {}
                Some(text) => accepted.push(text),
                None => {
                    let value = clipped(value);
                    rejected.push(Rejected {
                        message: format!("{name} {value} is not allowed"),
                        value,
                        code: "invalid_params",
                    });
                }
            }
        }
        choices = combine(&choices, name, &accepted)?;
    }
    let wanted = choices.into_iter().map(|choice| {
        let expand = |variable: &str| match variable {
            USER_VARIABLE => user.to_owned(),
            _ => choice.get(variable).cloned().unwrap_or_default(),
        };
        let rooms: Vec<Arc<str>> = channel
            .rooms
            .iter()
            .map(|template| template.expand(expand).into())
            .collect();
        let value = match choice.len() {
            0 => rooms
                .first()
                .map(|room| room.to_string())
                .unwrap_or_default(),
            _ => choice.values().cloned().collect::<Vec<_>>().join(":"),
        };
        let choice = choice.into_iter();
        Wanted {
            value,
            rooms,
            choice: choice
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    });
    Ok((wanted.collect(), rejected))
}

/// The values of a parameter `x`: of `x` itself, or of the list `xs`.
fn values<'a>(
    params: &'a serde_json::Map<String, Value>,
    name: &str,
) -> Result<Vec<&'a Value>, Failure> {
    let list = format!("{name}s");
    let invalid = |message: String| Failure::new("invalid_params", message);
    let values: Vec<&Value> = match (params.get(&list), params.get(name)) {
        (Some(Value::Array(values)), None) => values.iter().collect(),
        (Some(_), None) => return Err(invalid(format!("{list} must be a list of strings"))),
        (None, Some(value)) => vec![value],
        (Some(_), Some(_)) => return Err(invalid(format!("give {name} or {list}, not both"))),
        (None, None) => {
            let message = format!("{list} is missing: a list of strings, or {name}: one string");
            return Err(invalid(message));
        }
    };
    match values.len() {
        0 => Err(invalid(format!("{list} is empty"))),
        1..=MAX_VALUES => Ok(values),
        many => Err(invalid(format!(
            "{list} has {many} values, at most {MAX_VALUES} are allowed"
        ))),
    }
}

/// A value as it is echoed: nobody gets back more than tells it.
fn clipped(value: &Value) -> Value {
    const MAX_ECHO: usize = 64;
    match value {
        Value::String(text) if text.chars().nth(MAX_ECHO).is_some() => text
            .chars()
            .take(MAX_ECHO)
            .chain(['…'])
            .collect::<String>()
            .into(),
        Value::Array(_) | Value::Object(_) => Value::Null,
        short => short.clone(),
    }
}

fn combine<'a>(
    choices: &[BTreeMap<&'a str, String>],
    name: &'a str,
    values: &[String],
) -> Result<Vec<BTreeMap<&'a str, String>>, Failure> {
    if choices.len() * values.len() > MAX_VALUES {
        let message = format!("at most {MAX_VALUES} combinations of values are allowed");
        return Err(Failure::new("invalid_params", message));
    }
    let with = |choice: &BTreeMap<&'a str, String>, value: &String| {
        let mut choice = choice.clone();
        choice.insert(name, value.clone());
        choice
    };
    Ok(choices
        .iter()
        .flat_map(|choice| values.iter().map(move |value| with(choice, value)))
        .collect())
}
