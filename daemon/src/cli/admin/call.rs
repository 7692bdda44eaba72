//! What can be asked about a node's accounts, and how it travels over the admin socket.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// One request about accounts. The daemon's admin socket and the command line that opens the
/// store itself both perform it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCall {
    /// All users.
    Users,
    /// Adds a user.
    AddUser {
        /// The name to log in with.
        name: String,
        /// The password.
        password: String,
    },
    /// Changes a password and ends the user's sessions.
    SetPassword {
        /// Whose.
        name: String,
        /// The new one.
        password: String,
    },
    /// Removes a user and ends the user's sessions.
    RemoveUser {
        /// Who.
        name: String,
    },
    /// A page of sessions.
    Sessions {
        /// Only this user's.
        user: Option<String>,
        /// Those after this id.
        after: Option<String>,
    },
    /// Makes a session.
    CreateSession {
        /// For this user.
        user: String,
        /// How many seconds it lasts, if not as long as the configuration says.
        ttl: Option<u64>,
    },
    /// Ends a session.
    RevokeSession {
        /// Which.
        id: String,
    },
    /// All API keys.
    Keys,
    /// Makes an API key.
    CreateKey {
        /// What it is for.
        name: String,
        /// What it may do.
        scopes: Vec<String>,
    },
    /// Ends an API key.
    RevokeKey {
        /// Which.
        id: String,
    },
    /// All who may use the admin page.
    Admins,
    /// Lets somebody use the admin page.
    AddAdmin {
        /// The name to log in with.
        name: String,
        /// The password.
        password: String,
    },
    /// Changes an admin's password and ends the admin's sessions.
    SetAdminPassword {
        /// Whose.
        name: String,
        /// The new one.
        password: String,
    },
    /// Removes an admin and ends the admin's sessions.
    RemoveAdmin {
        /// Who.
        name: String,
    },
}

/// Why a request over the admin socket is no [`AdminCall`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No such route.
    #[error("there is no {0}")]
    NotFound(String),
    /// The body lacks something.
    #[error("the body must be {0}")]
    Body(&'static str),
}

/// All but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl AdminCall {
    /// The HTTP method, the path with its query, and the body.
    pub fn to_http(&self) -> (&'static str, String, Option<Value>) {
        match self {
            Self::Users => ("GET", "/admin/users".into(), None),
            Self::AddUser { name, password } => (
                "POST",
                "/admin/users".into(),
                Some(json!({"name": name, "password": password})),
            ),
            Self::SetPassword { name, password } => (
                "PUT",
                format!("/admin/users/{}/password", escaped(name)),
                Some(json!({"password": password})),
            ),
            Self::RemoveUser { name } => {
                ("DELETE", format!("/admin/users/{}", escaped(name)), None)
            }
            Self::Sessions { user, after } => (
                "GET",
                format!(
                    "/admin/sessions{}",
                    query(&[("user", user), ("after", after)])
                ),
                None,
            ),
            Self::CreateSession { user, ttl } => {
                let mut body = Map::from_iter([("userId".to_owned(), json!(user))]);
                body.extend(ttl.map(|ttl| ("ttl".to_owned(), json!(ttl))));
                ("POST", "/admin/sessions".into(), Some(Value::Object(body)))
            }
            Self::RevokeSession { id } => {
                ("DELETE", format!("/admin/sessions/{}", escaped(id)), None)
            }
            Self::Keys => ("GET", "/admin/keys".into(), None),
            Self::CreateKey { name, scopes } => (
                "POST",
                "/admin/keys".into(),
                Some(json!({"name": name, "scopes": scopes})),
            ),
            Self::RevokeKey { id } => ("DELETE", format!("/admin/keys/{}", escaped(id)), None),
            Self::Admins => ("GET", "/admin/admins".into(), None),
            Self::AddAdmin { name, password } => (
                "POST",
                "/admin/admins".into(),
                Some(json!({"name": name, "password": password})),
            ),
            Self::SetAdminPassword { name, password } => (
                "PUT",
                format!("/admin/admins/{}/password", escaped(name)),
                Some(json!({"password": password})),
            ),
            Self::RemoveAdmin { name } => {
                ("DELETE", format!("/admin/admins/{}", escaped(name)), None)
            }
        }
    }

    /// The call that a request over the admin socket makes. `path` may have a query.
    pub fn from_http(method: &str, path: &str, body: &[u8]) -> Result<Self, CallError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let steps: Vec<_> = path.split('/').map(unescaped).collect();
        let steps: Vec<_> = steps.iter().map(|step| &**step).collect();
        match (method, &steps[..]) {
            ("GET", ["", "admin", "users"]) => Ok(Self::Users),
            ("POST", ["", "admin", "users"]) => {
                let (name, password) = named_password(body)?;
                Ok(Self::AddUser { name, password })
            }
            ("PUT", ["", "admin", "users", name, "password"]) => Ok(Self::SetPassword {
                name: (*name).to_owned(),
                password: password(body)?,
            }),
            ("DELETE", ["", "admin", "users", name]) => Ok(Self::RemoveUser {
                name: (*name).to_owned(),
            }),
            ("GET", ["", "admin", "sessions"]) => Ok(Self::Sessions {
                user: asked(query, "user"),
                after: asked(query, "after"),
            }),
            ("POST", ["", "admin", "sessions"]) => create_session(body),
            ("DELETE", ["", "admin", "sessions", id]) => Ok(Self::RevokeSession {
                id: (*id).to_owned(),
            }),
            ("GET", ["", "admin", "keys"]) => Ok(Self::Keys),
            ("POST", ["", "admin", "keys"]) => create_key(body),
            ("DELETE", ["", "admin", "keys", id]) => Ok(Self::RevokeKey {
                id: (*id).to_owned(),
            }),
            ("GET", ["", "admin", "admins"]) => Ok(Self::Admins),
            ("POST", ["", "admin", "admins"]) => {
                let (name, password) = named_password(body)?;
                Ok(Self::AddAdmin { name, password })
            }
            ("PUT", ["", "admin", "admins", name, "password"]) => Ok(Self::SetAdminPassword {
                name: (*name).to_owned(),
                password: password(body)?,
            }),
            ("DELETE", ["", "admin", "admins", name]) => Ok(Self::RemoveAdmin {
                name: (*name).to_owned(),
            }),
            _ => Err(CallError::NotFound(format!("{method} {path}"))),
        }
    }
}

fn password(body: &[u8]) -> Result<String, CallError> {
    text(&object(body), "password").ok_or(CallError::Body(r#"{"password"}"#))
}

fn named_password(body: &[u8]) -> Result<(String, String), CallError> {
    let body = object(body);
    match (text(&body, "name"), text(&body, "password")) {
        (Some(name), Some(password)) => Ok((name, password)),
        _ => Err(CallError::Body(r#"{"name", "password"}"#)),
    }
}

fn create_session(body: &[u8]) -> Result<AdminCall, CallError> {
    let wrong = CallError::Body(r#"{"userId", "ttl"? in whole seconds}"#);
    let body = object(body);
    let ttl = match body.get("ttl") {
        None | Some(Value::Null) => None,
        Some(ttl) => match ttl.as_u64() {
            Some(ttl) => Some(ttl),
            None => return Err(wrong),
        },
    };
    let user = text(&body, "userId").ok_or(wrong)?;
    Ok(AdminCall::CreateSession { user, ttl })
}

fn create_key(body: &[u8]) -> Result<AdminCall, CallError> {
    let body = object(body);
    let scopes = body
        .get("scopes")
        .and_then(Value::as_array)
        .and_then(|scopes| {
            scopes
                .iter()
                .map(|scope| scope.as_str().map(str::to_owned))
                .collect()
        });
    match (text(&body, "name"), scopes) {
        (Some(name), Some(scopes)) => Ok(AdminCall::CreateKey { name, scopes }),
        _ => Err(CallError::Body(r#"{"name", "scopes": [ … ]}"#)),
    }
}

/// What is no JSON object has no members; what it lacks is then said.
fn object(body: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(body).unwrap_or_default()
}

fn text(body: &Map<String, Value>, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn escaped(step: &str) -> impl std::fmt::Display {
    utf8_percent_encode(step, ESCAPED)
}

fn unescaped(step: &str) -> Cow<'_, str> {
    percent_decode_str(step).decode_utf8_lossy()
}

fn query(pairs: &[(&str, &Option<String>)]) -> String {
    let pairs = pairs
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs: Vec<_> = pairs
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

fn asked(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| unescaped(value).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn calls() -> impl Strategy<Value = AdminCall> {
        let word = any::<String>;
        prop_oneof![
            proptest::strategy::Just(AdminCall::Users),
            proptest::strategy::Just(AdminCall::Keys),
            (word(), word()).prop_map(|(name, password)| AdminCall::AddUser { name, password }),
            (word(), word()).prop_map(|(name, password)| AdminCall::SetPassword { name, password }),
            word().prop_map(|name| AdminCall::RemoveUser { name }),
            any::<(Option<String>, Option<String>)>()
                .prop_map(|(user, after)| AdminCall::Sessions { user, after }),
            any::<(String, Option<u64>)>()
                .prop_map(|(user, ttl)| AdminCall::CreateSession { user, ttl }),
            word().prop_map(|id| AdminCall::RevokeSession { id }),
            any::<(String, Vec<String>)>()
                .prop_map(|(name, scopes)| AdminCall::CreateKey { name, scopes }),
            word().prop_map(|id| AdminCall::RevokeKey { id }),
            proptest::strategy::Just(AdminCall::Admins),
            (word(), word()).prop_map(|(name, password)| AdminCall::AddAdmin { name, password }),
            (word(), word())
                .prop_map(|(name, password)| AdminCall::SetAdminPassword { name, password }),
            word().prop_map(|name| AdminCall::RemoveAdmin { name }),
        ]
    }

    proptest! {
        #[test]
        fn arrives_as_it_was_sent(call in calls()) {
            let (method, path, body) = call.to_http();
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            prop_assert_eq!(AdminCall::from_http(method, &path, body.as_bytes()), Ok(call));
        }

        #[test]
        fn never_panics(method in ".*", path in ".*", body in any::<Vec<u8>>()) {
            let _ = AdminCall::from_http(&method, &path, &body);
        }
    }

    #[test]
    fn says_what_a_body_lacks() {
        for (method, path, body, lacking) in [
            (
                "POST",
                "/admin/users",
                r#"{"name":"a"}"#,
                r#"{"name", "password"}"#,
            ),
            ("PUT", "/admin/users/a/password", "[]", r#"{"password"}"#),
            (
                "POST",
                "/admin/sessions",
                r#"{"userId":"a","ttl":"8h"}"#,
                r#"{"userId", "ttl"? in whole seconds}"#,
            ),
            (
                "POST",
                "/admin/keys",
                r#"{"name":"a","scopes":[1]}"#,
                r#"{"name", "scopes": [ … ]}"#,
            ),
        ] {
            let error = AdminCall::from_http(method, path, body.as_bytes());
            assert_eq!(error, Err(CallError::Body(lacking)));
        }
        let error = AdminCall::from_http("PATCH", "/admin/users?x=1", b"");
        assert_eq!(error, Err(CallError::NotFound("PATCH /admin/users".into())));
    }
}
