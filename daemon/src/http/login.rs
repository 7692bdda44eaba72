//! `POST /auth/login` and `POST /auth/logout` on the public listener, for pages without a backend
//! of their own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE},
};
use serde::Deserialize;
use tidings_storage::Session;

use super::{
    cookies::{self, SameSite, SetCookie},
    private::sessions::log_out,
    public::{From, PublicRequest, error, json, not_found},
};
use crate::{
    app::{
        accounts::{AccountError, Accounts, SessionView},
        handler::BoxFuture,
        limits::{Limits, RetryAfter},
    },
    node::{Node, now_ms},
};

const LOGIN: &str = "/auth/login";
const LOGOUT: &str = "/auth/logout";

type Answer = Response<Full<Bytes>>;

/// Logs clients in and out.
#[derive(Clone)]
pub struct Login {
    accounts: Accounts,
    /// Counts attempts.
    limits: Limits,
    /// The name of the session cookie.
    cookie: Arc<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Named {
    #[serde(rename = "sessionID")]
    session_id: String,
    user_id: String,
}

impl Login {
    /// Logins to these accounts, counted against `limits`, kept in a cookie of this name.
    pub fn new(accounts: Accounts, limits: Limits, cookie: String) -> Self {
        Self {
            accounts,
            limits,
            cookie: cookie.into(),
        }
    }

    /// Whether a path is one of those answered here.
    pub fn has(&self, path: &str) -> bool {
        path == LOGIN || path == LOGOUT
    }

    /// Answers a request to such a path.
    pub fn answer(&self, node: Arc<Node>, request: PublicRequest) -> BoxFuture<Answer> {
        let this = self.clone();
        Box::pin(async move {
            if request.method != Method::POST {
                let mut answer = error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this path allows POST only",
                );
                answer
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("POST"));
                return answer;
            }
            match request.path.as_str() {
                LOGIN => this.login(&node, &request).await,
                LOGOUT => this.logout(&node, &request).await,
                _ => not_found(),
            }
        })
    }

    async fn login(&self, node: &Arc<Node>, request: &PublicRequest) -> Answer {
        // A form of another site cannot send this type, so it cannot log its visitor in as
        // somebody else.
        if !is_json(&request.headers) {
            let message = "the Content-Type must be application/json";
            return error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                message,
            );
        }
        let allowed = "the body must be {\"username\", \"password\"}, both strings";
        let Ok(given) = serde_json::from_slice::<Credentials>(&request.body) else {
            return error(StatusCode::BAD_REQUEST, "invalid_params", allowed);
        };
        let now_ms = now_ms();
        if let Err(after) = self.limits.login(request.from.ip, &given.username, now_ms) {
            return limited(after);
        }
        match self
            .accounts
            .login(&given.username, &given.password, now_ms)
            .await
        {
            Ok(session) => {
                let (node, made) = (node.clone(), session.clone());
                // Nobody waits for a peer that hangs: what it was not told it asks for.
                tokio::spawn(async move { node.relay().session_made(&node, &made).await });
                self.welcome(&session, request.from, now_ms)
            }
            Err(refused) => failed(&refused),
        }
    }

    fn welcome(&self, session: &Session, from: From, now_ms: u64) -> Answer {
        let cookie = SetCookie {
            name: &self.cookie,
            value: &self.accounts.keyring().now().sign(&session.id),
            max_age: Duration::from_millis(session.expires_ms.saturating_sub(now_ms)),
            secure: from.secure,
            same_site: SameSite::Lax,
        };
        let body = serde_json::to_string(&SessionView::from(session)).expect("it is plain text");
        with_cookie(json(StatusCode::OK, body), &cookie)
    }

    /// Ends the session that the body names, and that of the cookie. Which of them there were is
    /// not told.
    async fn logout(&self, node: &Node, request: &PublicRequest) -> Answer {
        let mut ended = self.cookie_sessions(&request.headers);
        if !request.body.is_empty() {
            let allowed = "the body must be {\"sessionID\", \"userId\"}, both strings, or empty";
            let Ok(named) = serde_json::from_slice::<Named>(&request.body) else {
                return error(StatusCode::BAD_REQUEST, "invalid_params", allowed);
            };
            ended.push((named.session_id, Some(named.user_id)));
        }
        for (session, user) in ended {
            if let Err(refused) = log_out(node, &self.accounts, &session, user.as_deref()).await {
                return failed(&refused);
            }
        }
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        with_cookie(
            answer,
            &SetCookie::removal(&self.cookie, request.from.secure),
        )
    }

    /// The sessions of the cookies with a right signature.
    fn cookie_sessions(&self, headers: &HeaderMap) -> Vec<(String, Option<String>)> {
        let headers = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok());
        let values = headers.flat_map(|header| cookies::values(header, &self.cookie));
        let sessions = values.filter_map(|value| self.accounts.keyring().now().verify(value));
        sessions.map(|session| (session, None)).collect()
    }
}

/// Whether a request says that its body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|given| given.to_str().ok());
    let given = given
        .and_then(|given| given.split(';').next())
        .unwrap_or_default();
    given.trim().eq_ignore_ascii_case("application/json")
}

fn limited(after: RetryAfter) -> Answer {
    let message = "too many attempts to log in";
    let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(after.seconds()));
    answer
}

fn failed(refused: &AccountError) -> Answer {
    let status = StatusCode::from_u16(refused.status()).expect("it names a status");
    let mut answer = error(status, refused.code(), &refused.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn with_cookie(mut answer: Answer, cookie: &SetCookie<'_>) -> Answer {
    let cookie = HeaderValue::from_str(&cookie.to_string());
    let cookie = cookie.expect("its name is a token and its value is escaped");
    answer.headers_mut().append(SET_COOKIE, cookie);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_counts_as_json() {
        for (given, expected) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/plain"), false),
            (Some("application/x-www-form-urlencoded"), false),
            (Some("text/plain; application/json"), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(given));
            }
            assert_eq!(is_json(&headers), expected, "{given:?}");
        }
    }
}
