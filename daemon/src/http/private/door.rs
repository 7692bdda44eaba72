//! Who may ask: whoever has an API key, or an admin who has logged in at the page.
//!
//! A browser sends the cookie of a session by itself, whichever page has it ask. So a session counts
//! only with its proof, in a header that no page of another origin can set, and from the page's own
//! origin; this holds for questions, too, as other ports of the same machine are the same site.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
    http::request::Parts,
};

use super::{Api, Refusal, answer::Response, routes::Route};
use crate::{app::admins::Signed, http::cookies, node::now_ms};

/// The header with the proof.
pub(super) const PROOF: &str = "x-admin-proof";

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The peer's address.
    pub(super) ip: IpAddr,
    /// Whether it came by TLS.
    pub(super) secure: bool,
}

/// Cookies of one name that are looked at.
const MAX_TOKENS: usize = 8;

/// Who makes a request.
pub(super) enum By {
    /// Whoever asks, or has an API key.
    Backend,
    /// An admin at the page.
    Admin(Signed),
}

/// Lets a request in, or says why not.
pub(super) async fn enter(
    api: &Api,
    route: &Route,
    head: &Parts,
    from: Origin,
) -> Result<By, Refusal> {
    let Some(scope) = route.scope else {
        return Ok(By::Backend);
    };
    let cookie = session_token(api, &head.headers, from);
    let (None, Some(token)) = (head.headers.get(AUTHORIZATION), cookie) else {
        super::authorize(api, scope, &head.headers).await?;
        return Ok(By::Backend);
    };
    let signed = signed(api, head, token)?;
    if route.call.is_on_page() {
        Ok(By::Admin(signed))
    } else {
        let message = "the session of an admin may not do this; it needs an API key";
        Err(Refusal::forbidden(message))
    }
}

/// Whose session a request carries, if the page itself makes the request.
pub(super) fn signed(api: &Api, head: &Parts, token: &str) -> Result<Signed, Refusal> {
    own_origin(head)?;
    let signed = api.accounts.admins().session(token, now_ms());
    let signed = signed.ok_or_else(Refusal::no_login)?;
    let proof = head.headers.get(PROOF).and_then(|it| it.to_str().ok());
    if proof.is_some_and(|proof| signed.is_proved_by(proof)) {
        Ok(signed)
    } else {
        Err(Refusal::forbidden(
            "the header X-Admin-Proof is missing or wrong",
        ))
    }
}

/// Refuses what pages of other origins have a browser ask. What changes something has to name its
/// origin, as browsers do.
pub(super) fn own_origin(head: &Parts) -> Result<(), Refusal> {
    let text = |name| head.headers.get(name).and_then(|it| it.to_str().ok());
    let site = head.headers.get("sec-fetch-site");
    let by_other = site.is_some_and(|site| site != "same-origin");
    let origin = head.headers.get(ORIGIN);
    let is_own = match origin {
        None => head.method == Method::GET || head.method == Method::HEAD,
        Some(origin) => origin
            .to_str()
            .is_ok_and(|origin| text(HOST).is_some_and(|host| is_origin_of(origin, host))),
    };
    if by_other || !is_own {
        return Err(Refusal::forbidden(
            "only the admin page itself may ask for this",
        ));
    }
    Ok(())
}

/// Whether an origin is that of the host that was asked. A proxy may speak TLS in front.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let http = origin.strip_prefix("http://");
    let authority = http.or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The name of the cookie. Over TLS a browser keeps it to this very host, and to TLS.
pub(super) fn cookie_name(secure: bool) -> &'static str {
    if secure {
        "__Host-tidings-admin"
    } else {
        "tidings-admin"
    }
}

/// The token of a session's cookie: of several the first that opens one, as a page at another port
/// of this host may have set one of that name, too.
pub(super) fn session_token<'h>(
    api: &Api,
    headers: &'h HeaderMap,
    from: Origin,
) -> Option<&'h str> {
    let admins = api.accounts.admins();
    let opens = |token: &&str| admins.session(token, now_ms()).is_some();
    let first = tokens(headers, from.secure).next();
    tokens(headers, from.secure).find(opens).or(first)
}

/// What may be one; a few at most.
fn tokens(headers: &HeaderMap, secure: bool) -> impl Iterator<Item = &str> {
    let texts = headers.get_all(COOKIE).iter();
    let texts = texts.filter_map(|header| header.to_str().ok());
    texts
        .flat_map(move |text| cookies::values(text, cookie_name(secure)))
        .take(MAX_TOKENS)
}

/// Writes into the log what an admin did to whom, and what came of it.
pub(super) fn note(
    by: &By,
    from: Origin,
    route: &Route,
    on: Option<&str>,
    done: &Result<Response, Refusal>,
) {
    let By::Admin(signed) = by else { return };
    if route.method == "GET" {
        return;
    }
    let status = match done {
        Ok(response) => response.status(),
        Err(refusal) => refusal.status(),
    };
    // Names of users come from outside: shown so that they cannot look like another line.
    tracing::info!(
        target: "tidings::audit",
        admin = ?signed.name,
        ip = %from.ip,
        act = ?route.call,
        on = ?on.unwrap_or_default(),
        status = status.as_u16(),
        "an admin acted"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = hyper::Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        own_origin(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn only_the_pages_own_origin_may_ask() {
        let host = ("host", "localhost:8081");
        let origin = |value| ("origin", value);
        let site = |value| ("sec-fetch-site", value);
        for (method, headers, allowed) in [
            ("GET", &[host][..], true),
            ("GET", &[host, site("same-origin")], true),
            ("GET", &[host, site("same-site")], false),
            ("GET", &[host, site("cross-site")], false),
            ("GET", &[host, site("none")], false),
            ("GET", &[host, origin("http://localhost:8080")], false),
            ("POST", &[host], false),
            ("POST", &[host, origin("http://localhost:8081")], true),
            ("POST", &[host, origin("https://LOCALHOST:8081")], true),
            ("POST", &[host, origin("http://localhost:8080")], false),
            ("POST", &[host, origin("http://localhost:80811")], false),
            ("POST", &[host, origin("null")], false),
            ("POST", &[origin("http://localhost:8081")], false),
            (
                "POST",
                &[host, origin("http://localhost:8081"), site("same-site")],
                false,
            ),
            ("DELETE", &[host], false),
        ] {
            assert_eq!(asked(method, headers), allowed, "{method} {headers:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; tidings-admin=one".parse().unwrap());
        headers.append(COOKIE, "__Host-tidings-admin=two".parse().unwrap());
        headers.append(COOKIE, "tidings-admin=three".parse().unwrap());
        let found = |headers, secure| tokens(headers, secure).collect::<Vec<_>>();
        assert_eq!(found(&headers, false), ["one", "three"]);
        assert_eq!(found(&headers, true), ["two"]);
        assert!(found(&HeaderMap::new(), true).is_empty());
    }
}
