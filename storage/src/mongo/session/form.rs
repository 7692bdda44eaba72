//! PURE: where a user's id stands in a session, and what a document's `_id` is made of.

use std::fmt;

use mongodb::bson::raw::{RawBsonRef, RawDocument};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Malformed;

/// Stands for the session id in a [`DocumentId`].
const SID: &str = "{sid}";

/// Stands for its SHA-256 in lower-case hexadecimal.
const SHA256: &str = "{sha256}";

/// A text that says nothing of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A path has names between single dots.
    #[error("a path is one or more names with dots between, such as passport.user")]
    Path,
    /// An `_id` is made of the session id once.
    #[error("needs {SID} or {SHA256} once, and no other braces")]
    DocumentId,
}

/// Where something stands in a session: names of members, from the outermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// Reads names with dots between: `userId`, `passport.user`.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let names: Vec<_> = text.split('.').map(str::to_owned).collect();
        match names.iter().any(String::is_empty) {
            true => Err(FormError::Path),
            false => Ok(Self(names)),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// What the `_id` of a session's document is made of: connect-mongo's `transformId`, as a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentId {
    before: String,
    hashed: bool,
    after: String,
}

impl DocumentId {
    /// Reads `{sid}`, `sess:{sid}`, `{sha256}`.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let split = text.split_once(SID).map(|it| (it, false));
        let split = split.or_else(|| text.split_once(SHA256).map(|it| (it, true)));
        let ((before, after), hashed) = split.ok_or(FormError::DocumentId)?;
        if before.contains(['{', '}']) || after.contains(['{', '}']) {
            return Err(FormError::DocumentId);
        }
        Ok(Self {
            before: before.to_owned(),
            hashed,
            after: after.to_owned(),
        })
    }

    /// The `_id` of a session.
    pub fn of(&self, sid: &str) -> String {
        let hash = |sid| {
            Sha256::digest(sid)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect()
        };
        let middle: String = match self.hashed {
            true => hash(sid),
            false => sid.to_owned(),
        };
        format!("{}{middle}{}", self.before, self.after)
    }

    /// The session of an `_id`, if it can be told: a digest tells nothing.
    pub fn sid_of<'a>(&self, id: &'a str) -> Option<&'a str> {
        let plain = id.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!self.hashed).then_some(plain)
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle = if self.hashed { SHA256 } else { SID };
        write!(f, "{}{middle}{}", self.before, self.after)
    }
}

pub(super) fn user_in_json(session: &Value, path: &FieldPath) -> Result<Option<String>, Malformed> {
    let found = path
        .0
        .iter()
        .try_fold(session, |value, name| value.get(name));
    let id = match found {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if !id.is_f64() => id.to_string(),
        // An ObjectId in MongoDB's extended JSON.
        Some(Value::Object(id)) if id.len() == 1 => match id.get("$oid") {
            Some(Value::String(id)) => id.clone(),
            _ => return Err(Malformed::User),
        },
        Some(_) => return Err(Malformed::User),
    };
    Ok(Some(id).filter(|id| !id.is_empty()))
}

pub(super) fn user_in_bson(
    session: &RawDocument,
    path: &FieldPath,
) -> Result<Option<String>, Malformed> {
    let mut at = Some(RawBsonRef::Document(session));
    for name in &path.0 {
        at = match at {
            Some(RawBsonRef::Document(inner)) => inner.get(name).map_err(|_| Malformed::Bson)?,
            _ => None,
        };
    }
    let id = match at {
        None | Some(RawBsonRef::Null) => return Ok(None),
        Some(RawBsonRef::String(id)) => id.to_owned(),
        Some(RawBsonRef::ObjectId(id)) => id.to_hex(),
        Some(RawBsonRef::Int32(id)) => id.to_string(),
        Some(RawBsonRef::Int64(id)) => id.to_string(),
        // JavaScript has no other numbers, and its drivers store large ones so.
        Some(RawBsonRef::Double(id)) if id.fract() == 0.0 && id.abs() < 9e15 => format!("{id:.0}"),
        Some(_) => return Err(Malformed::User),
    };
    Ok(Some(id).filter(|id| !id.is_empty()))
}
