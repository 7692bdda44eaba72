//! Every route of the private API, in one table. The served description is checked against it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;
use crate::app::keys::Scope::{self, Admin, Emit, Read};

/// What is done at a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Health,
    Detailed,
    Metrics,
    Description,
    Cluster,
    Slots,
    Forget,
    Backup,
    EmitOne,
    EmitBatch,
    EmitStream,
    Portfolio,
    TradeExecuted,
    TradeFailed,
    Quote,
    UserQuote,
    CreateSession,
    Session,
    DeleteSession,
    DeleteSessions,
    Rooms,
    Room,
    History,
    Join,
    Leave,
    Sockets,
    Socket,
    Overview,
    LogIn,
    LogOut,
    ShowLogin,
    RenewLogin,
    DisconnectSocket,
    User,
    DisconnectUser,
}

impl Call {
    /// Whether the session of an admin at the page may do it, as a key with the route's scope may.
    /// What hands out secrets, changes what the node is, or speaks for users, needs a key.
    pub(super) fn is_on_page(self) -> bool {
        matches!(
            self,
            Self::Overview
                | Self::Cluster
                | Self::Rooms
                | Self::Room
                | Self::Sockets
                | Self::Socket
                | Self::User
                | Self::DisconnectSocket
                | Self::DisconnectUser
                | Self::DeleteSessions
        )
    }

    /// Whether it is about the login at the page itself.
    pub(super) fn is_login(self) -> bool {
        matches!(
            self,
            Self::LogIn | Self::LogOut | Self::ShowLogin | Self::RenewLogin
        )
    }
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    /// Steps in braces stand for any text.
    pub(super) path: &'static str,
    /// What a key must allow; nothing if no key is needed.
    pub(super) scope: Option<Scope>,
    pub(super) call: Call,
}

const fn route(
    method: &'static str,
    path: &'static str,
    scope: Option<Scope>,
    call: Call,
) -> Route {
    Route {
        method,
        path,
        scope,
        call,
    }
}

/// All routes, the busiest first.
pub(super) static ROUTES: [Route; 35] = [
    route("POST", "/api/v1/emit", Some(Emit), Call::EmitOne),
    route("POST", "/api/v1/emit/batch", Some(Emit), Call::EmitBatch),
    route("POST", "/api/v1/emit/stream", Some(Emit), Call::EmitStream),
    route("POST", "/api/v1/quotes/{symbol}", Some(Emit), Call::Quote),
    route(
        "POST",
        "/api/v1/users/{id}/portfolio",
        Some(Emit),
        Call::Portfolio,
    ),
    route(
        "POST",
        "/api/v1/users/{id}/trades/executed",
        Some(Emit),
        Call::TradeExecuted,
    ),
    route(
        "POST",
        "/api/v1/users/{id}/trades/failed",
        Some(Emit),
        Call::TradeFailed,
    ),
    route(
        "POST",
        "/api/v1/users/{id}/quotes/{symbol}",
        Some(Emit),
        Call::UserQuote,
    ),
    route("GET", "/health", None, Call::Health),
    route("GET", "/metrics", None, Call::Metrics),
    route("GET", "/api/health/detailed", Some(Read), Call::Detailed),
    route("GET", "/api/openapi.json", Some(Read), Call::Description),
    route("GET", "/api/v1/overview", Some(Read), Call::Overview),
    route("GET", "/api/v1/cluster", Some(Read), Call::Cluster),
    route("GET", "/api/v1/cluster/slots", Some(Read), Call::Slots),
    route(
        "POST",
        "/api/v1/cluster/forget/{node}",
        Some(Admin),
        Call::Forget,
    ),
    route("GET", "/api/v1/backup", Some(Admin), Call::Backup),
    route("POST", "/api/v1/sessions", Some(Admin), Call::CreateSession),
    route("GET", "/api/v1/sessions/{id}", Some(Admin), Call::Session),
    route(
        "DELETE",
        "/api/v1/sessions/{id}",
        Some(Admin),
        Call::DeleteSession,
    ),
    route(
        "DELETE",
        "/api/v1/users/{id}/sessions",
        Some(Admin),
        Call::DeleteSessions,
    ),
    route("GET", "/api/v1/rooms", Some(Read), Call::Rooms),
    route("GET", "/api/v1/rooms/{room}", Some(Read), Call::Room),
    route(
        "GET",
        "/api/v1/rooms/{room}/history",
        Some(Read),
        Call::History,
    ),
    route("POST", "/api/v1/rooms/{room}/join", Some(Admin), Call::Join),
    route(
        "POST",
        "/api/v1/rooms/{room}/leave",
        Some(Admin),
        Call::Leave,
    ),
    route("GET", "/api/v1/sockets", Some(Read), Call::Sockets),
    route("GET", "/api/v1/sockets/{id}", Some(Read), Call::Socket),
    route(
        "POST",
        "/api/v1/sockets/{id}/disconnect",
        Some(Admin),
        Call::DisconnectSocket,
    ),
    route("GET", "/api/v1/users/{id}", Some(Read), Call::User),
    route(
        "POST",
        "/api/v1/users/{id}/disconnect",
        Some(Admin),
        Call::DisconnectUser,
    ),
    route("POST", "/admin/login", None, Call::LogIn),
    route("POST", "/admin/logout", None, Call::LogOut),
    route("GET", "/admin/session", None, Call::ShowLogin),
    route("POST", "/admin/session", None, Call::RenewLogin),
];

/// The texts of a path that stand where the route has braces, in order.
pub(super) type Params = Vec<String>;

/// The route of a request.
pub(super) fn find(method: &str, path: &str) -> Result<(&'static Route, Params), Refusal> {
    let steps = steps(path)?;
    // What answers to GET answers to HEAD; the body is left out on the way.
    let method = if method == "HEAD" { "GET" } else { method };
    let mut allow: Vec<&str> = Vec::new();
    for route in &ROUTES {
        let Some(params) = matched(route.path, &steps) else {
            continue;
        };
        if route.method == method {
            return Ok((route, params));
        }
        allow.push(route.method);
    }
    if allow.is_empty() {
        return Err(Refusal::not_found("there is nothing at this path"));
    }
    Err(Refusal::method(allow.join(", ")))
}

/// The steps of a path, each without its escapes.
fn steps(path: &str) -> Result<Vec<Cow<'_, str>>, Refusal> {
    let decode = |step| percent_decode_str(step).decode_utf8();
    let steps: Result<Vec<_>, _> = path.split('/').map(decode).collect();
    steps.map_err(|_| Refusal::params("the path is not percent-encoded UTF-8"))
}

fn matched(pattern: &str, steps: &[Cow<'_, str>]) -> Option<Params> {
    if pattern.split('/').count() != steps.len() {
        return None;
    }
    let mut params = Vec::new();
    for (wanted, step) in pattern.split('/').zip(steps) {
        match wanted.starts_with('{') {
            true if step.is_empty() => return None,
            true => params.push(step.clone().into_owned()),
            false if wanted != step => return None,
            false => {}
        }
    }
    Some(params)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::private::DESCRIPTION;

    #[test]
    fn every_route_is_found_with_what_its_path_names() {
        for route in &ROUTES {
            let path = route
                .path
                .replace("{id}", "a%2Fb")
                .replace("{symbol}", "EUR%2FUSD");
            let path = path
                .replace("{room}", "quote:%C3%A9")
                .replace("{node}", "a%2Fb");
            let (found, params) = find(route.method, &path).unwrap();
            assert_eq!(found.call, route.call, "{path}");
            assert_eq!(params.len(), route.path.matches('{').count());
            for (param, name) in params.iter().zip(["a/b", "EUR/USD"]) {
                assert!(
                    param == name || param == "EUR/USD" || param == "quote:é",
                    "{param}"
                );
            }
        }
        let (found, params) = find("HEAD", "/api/v1/users/a").unwrap();
        assert_eq!((found.call, params), (Call::User, vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_not_there_is_told_from_what_works_otherwise() {
        for (method, path, status, allow) in [
            ("GET", "/", 404, None),
            ("GET", "/api/v1/emit", 405, Some("POST")),
            ("PUT", "/api/v1/sessions/a", 405, Some("GET, DELETE")),
            ("POST", "/api/v1/emit/", 404, None),
            ("POST", "/api/v1/users//portfolio", 404, None),
            ("POST", "//api/v1/emit", 404, None),
            ("GET", "/admin/users", 404, None),
            ("GET", "/api/v1/rooms/%ff", 400, None),
        ] {
            let refusal = find(method, path).map(|(route, _)| route.call).unwrap_err();
            let response = refusal.response();
            assert_eq!(response.status(), status, "{method} {path}");
            let found = response
                .headers()
                .get("allow")
                .map(|allow| allow.to_str().unwrap());
            assert_eq!(found, allow, "{method} {path}");
        }
    }

    #[test]
    fn the_description_has_exactly_the_routes() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                described.insert((path.clone(), method.to_uppercase()));
                let scope = operation["x-scope"].as_str();
                let route = ROUTES
                    .iter()
                    .find(|route| route.path == path && route.method.eq_ignore_ascii_case(method));
                let expected = route.and_then(|route| route.scope).map(Scope::as_str);
                assert_eq!(scope, expected, "scope of {method} {path}");
                let security = match (scope, route.is_some_and(|it| it.call.is_on_page())) {
                    (None, _) => serde_json::json!([]),
                    (Some(_), true) => {
                        serde_json::json!([{ "key": [] }, { "adminCookie": [], "adminProof": [] }])
                    }
                    (Some(_), false) => Value::Null,
                };
                assert_eq!(operation["security"], security, "{method} {path}");
            }
        }
        let routes: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.path.to_owned(), route.method.to_owned()))
            .collect();
        assert_eq!(described, routes);
    }
}
