//! Login at the admin page, and its end.

use std::time::Duration;

use hyper::{
    header::{HeaderValue, SET_COOKIE},
    http::request::Parts,
};
use serde_json::{Value, json};

use super::{
    Api, Refusal,
    answer::{Answer, Response},
    door::{self, Origin},
    fields::Fields,
    routes::Call,
};
use crate::{
    app::{
        accounts::{AccountError, rfc3339},
        admins::{ABSOLUTE_MS, LoginError, Signed},
    },
    http::{
        cookies::{SameSite, SetCookie},
        login::is_json,
    },
    node::now_ms,
};

/// Bytes of a login at most: anybody may send one.
pub(super) const MAX_BODY: usize = 8 << 10;

/// Answers a request about the login itself, which the page's own origin makes.
pub(super) async fn answer(
    api: &Api,
    call: Call,
    head: &Parts,
    from: Origin,
    body: &[u8],
) -> Result<Response, Refusal> {
    let token = door::session_token(api, &head.headers, from);
    match call {
        Call::LogIn => log_in(api, head, from, body).await,
        Call::LogOut => log_out(api, head, from, token),
        Call::RenewLogin => {
            let token = token.ok_or_else(Refusal::no_login)?;
            door::signed(api, head, token)?;
            let signed = api.accounts.admins().renew(token, now_ms());
            Ok(Answer::ok(&view(&signed.ok_or_else(Refusal::no_login)?)).response())
        }
        _ => {
            let session = |token| api.accounts.admins().session(token, now_ms());
            let signed = token.and_then(session);
            let answer = signed.map_or_else(Answer::deleted, |it| Answer::ok(&view(&it)));
            Ok(answer.response())
        }
    }
}

/// The token that was there before opens nothing afterwards.
async fn log_in(api: &Api, head: &Parts, from: Origin, body: &[u8]) -> Result<Response, Refusal> {
    // A form of another site cannot send this type.
    if !is_json(&head.headers) {
        return Err(Refusal::no_json());
    }
    let fields = Fields::parse(body, &["username", "password"])?;
    let (name, password) = (fields.required("username")?, fields.required("password")?);
    let admins = api.accounts.admins();
    match admins.login(&name, &password, from.ip, now_ms()).await {
        Ok(opened) => {
            if let Some(before) = door::session_token(api, &head.headers, from) {
                admins.logout(before);
            }
            tracing::info!(
                target: "tidings::audit",
                admin = ?opened.signed.name,
                ip = %from.ip,
                "an admin logged in"
            );
            let response = Answer::ok(&view(&opened.signed)).response();
            Ok(with_cookie(response, &opened.token, ABSOLUTE_MS, from))
        }
        Err(error) => {
            note_failure(api, &name, from, &error).await;
            Err(error.into())
        }
    }
}

fn log_out(
    api: &Api,
    head: &Parts,
    from: Origin,
    token: Option<&str>,
) -> Result<Response, Refusal> {
    if let Some(token) = token
        && api.accounts.admins().session(token, now_ms()).is_some()
    {
        door::signed(api, head, token)?;
        let name = api.accounts.admins().logout(token);
        tracing::info!(
            target: "tidings::audit",
            admin = ?name.unwrap_or_default(),
            ip = %from.ip,
            "an admin logged out"
        );
    }
    Ok(with_cookie(Answer::deleted().response(), "", 0, from))
}

/// A name that nobody has may be a password in the wrong field: it stays out of the log.
async fn note_failure(api: &Api, name: &str, from: Origin, error: &LoginError) {
    let known = api.accounts.admins().is_known(name).await;
    let admin = if known { name } else { "(unknown)" };
    let why = match error {
        LoginError::Account(AccountError::WrongCredentials) => "wrong name or password",
        LoginError::Account(_) => "not looked at",
        LoginError::Locked(locked) if locked.is_first => "locked",
        // Such may come as often as the network carries them.
        LoginError::Locked(_) => return,
    };
    tracing::warn!(
        target: "tidings::audit",
        admin = ?admin,
        ip = %from.ip,
        why,
        "an admin's login failed"
    );
}

fn with_cookie(mut response: Response, token: &str, ms: u64, from: Origin) -> Response {
    let cookie = SetCookie {
        name: door::cookie_name(from.secure),
        value: token,
        max_age: Duration::from_millis(ms),
        secure: from.secure,
        same_site: SameSite::Strict,
    };
    let cookie = HeaderValue::from_str(&cookie.to_string());
    let cookie = cookie.expect("names and tokens are plain ASCII");
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

fn view(signed: &Signed) -> Value {
    json!({
        "name": signed.name,
        "proof": signed.proof(),
        "idleEnds": rfc3339(signed.idle_end_ms),
        "ends": rfc3339(signed.end_ms),
    })
}
