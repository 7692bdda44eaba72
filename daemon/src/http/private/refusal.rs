//! Why the API does not do what was asked: status, code and a sentence, always in the same form.

use hyper::{
    StatusCode,
    header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json, value::RawValue};

use super::answer::{Answer, Response};
use crate::{
    app::{
        accounts::AccountError,
        admins::{Locked, LoginError},
        keys::KeyRefusal,
    },
    hub::EmitError,
};

/// When to come again if nothing better is known, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    /// For people.
    message: String,
    /// The same request may succeed after so many seconds.
    retry_after: Option<u64>,
    /// The methods that the path knows, if the request's is none of them.
    allow: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
            allow: None,
        }
    }

    /// The body is no JSON.
    pub(super) fn json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// Something in the request is not as it must be.
    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_params", message)
    }

    /// A field holds the wrong kind of value.
    pub(super) fn field(name: &str, found: &RawValue, allowed: &str) -> Self {
        Self::params(format!("`{name}` is {}; it must be {allowed}", kind(found)))
    }

    /// What the path names is not there.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// What is asked for was there, and is not any more.
    pub(super) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", message)
    }

    /// The path knows other methods.
    pub(super) fn method(allow: String) -> Self {
        let message = format!("this path allows {allow} only");
        let refusal = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        );
        Self {
            allow: Some(allow),
            ..refusal
        }
    }

    /// The body, or a line of it, has more bytes than `limits.api_body`.
    pub(super) fn too_large(what: &str, limit: usize) -> Self {
        let message = format!("{what} has more than {limit} bytes (limits.api_body)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// The body did not arrive in time, or broke off.
    pub(super) fn incomplete(message: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    /// The session of an admin may not be used so.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// There is no session of an admin, or not any more.
    pub(super) fn no_login() -> Self {
        let message = "log in at /admin/ first";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The body must be JSON and say so.
    pub(super) fn no_json() -> Self {
        let message = "the Content-Type must be application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported_media_type", message)
    }

    /// The node is leaving.
    pub(super) fn draining() -> Self {
        let refusal = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "this node is shutting down, send it to another one or try again",
        );
        Self {
            retry_after: Some(RETRY_AFTER_SECONDS),
            ..refusal
        }
    }

    /// Something else is in the way.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// It cannot be done now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self {
            retry_after: Some(RETRY_AFTER_SECONDS),
            ..refusal
        }
    }

    /// The node is at fault; the log says more.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "an internal error, see the node's log",
        )
    }

    /// What the answer's status is.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// `{"error":{"code","message"}}`.
    pub(super) fn value(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }

    /// The answer, without what only HTTP has to say.
    pub(in crate::http) fn answer(&self) -> Answer {
        Answer::new(self.status, self.value().to_string())
    }

    /// The answer to the request.
    pub(super) fn response(&self) -> Response {
        let mut response = self.answer().response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| allow.parse().ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl From<EmitError> for Refusal {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Namespace(_)
            | EmitError::Room(_)
            | EmitError::EventName(_)
            | EmitError::TooLong(_) => Self::params(error.to_string()),
            EmitError::History(_) | EmitError::Joining => Self::unavailable(error.to_string()),
            EmitError::Draining => Self::draining(),
        }
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        let status = StatusCode::from_u16(error.status()).expect("it names a status");
        let retry_after =
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS);
        Self {
            retry_after,
            ..Self::new(status, error.code(), error.to_string())
        }
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Account(error) => error.into(),
            LoginError::Locked(Locked { after, .. }) => Self {
                retry_after: Some(after.seconds()),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "too many failed attempts to log in",
                )
            },
        }
    }
}

impl From<KeyRefusal> for Refusal {
    fn from(error: KeyRefusal) -> Self {
        let status = StatusCode::from_u16(error.status()).expect("it names a status");
        let retry_after = match &error {
            KeyRefusal::Limited(after) => Some(after.seconds()),
            KeyRefusal::Unavailable(_) => Some(RETRY_AFTER_SECONDS),
            KeyRefusal::Unauthorized | KeyRefusal::Forbidden(_) => None,
        };
        Self {
            retry_after,
            ..Self::new(status, error.code(), error.to_string())
        }
    }
}

/// What kind of value a JSON text is.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
