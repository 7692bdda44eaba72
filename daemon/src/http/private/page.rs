//! The files of the admin page, built into the program. They hold nothing that is secret: whatever
//! the page shows it asks for, once its admin has logged in.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
    http::request::Parts,
};

use super::answer::Response;
use crate::http::built_in::{CSS, File, HTML, SCRIPT, SVG, files, find};

/// What the page may load and do: its own files and its own node, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const FILES: &[File] = files! {
    "/admin/" => HTML, "index.html";
    "/admin/style.css" => CSS, "style.css";
    "/admin/icon.svg" => SVG, "icon.svg";
    "/admin/app.js" => SCRIPT, "app.js";
    "/admin/acts.js" => SCRIPT, "acts.js";
    "/admin/api.js" => SCRIPT, "api.js";
    "/admin/charts.js" => SCRIPT, "charts.js";
    "/admin/elements.js" => SCRIPT, "elements.js";
    "/admin/figures.js" => SCRIPT, "figures.js";
    "/admin/format.js" => SCRIPT, "format.js";
    "/admin/gaps.js" => SCRIPT, "gaps.js";
    "/admin/overview.js" => SCRIPT, "overview.js";
    "/admin/rooms.js" => SCRIPT, "rooms.js";
    "/admin/sockets.js" => SCRIPT, "sockets.js";
    "/admin/users.js" => SCRIPT, "users.js";
};

/// The answer to a request for one of the files.
pub(super) fn answer(head: &Parts) -> Option<Response> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    let path = head.uri.path();
    if path == "/admin" {
        let mut response = with_headers(HTML, "");
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let to = HeaderValue::from_static("/admin/");
        response.headers_mut().insert(LOCATION, to);
        return Some(response);
    }
    let (_, kind, body) = find(FILES, path)?;
    Some(with_headers(kind, body))
}

fn with_headers(kind: &'static str, body: &'static str) -> Response {
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    let mut response = Response::new(Either::Left(body));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(name, HeaderValue::from_static("same-origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        find(FILES, path)
            .unwrap_or_else(|| panic!("{path} is not served"))
            .2
    }

    fn named<'t>(text: &'t str, before: &str, end: char) -> Vec<&'t str> {
        let parts = text.split(before).skip(1);
        parts.map(|part| part.split(end).next().unwrap()).collect()
    }

    #[test]
    fn every_file_that_is_named_is_served() {
        let html = text("/admin/");
        let mut files = named(html, "src=\"", '"');
        let links = named(html, "href=\"", '"').into_iter();
        files.extend(links.filter(|link| !link.starts_with('#')));
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            text(&format!("/admin/{file}"));
        }
        for (path, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for module in named(text(path), "from './", '\'') {
                text(&format!("/admin/{module}"));
            }
        }
    }

    #[test]
    fn the_page_needs_no_exception_from_its_policy() {
        let html = text("/admin/");
        for forbidden in [
            "style=", "onclick=", "<style", "http://", "https://", "<script>",
        ] {
            assert!(!html.contains(forbidden), "{forbidden} in the page");
        }
        for (path, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                "localStorage",
                "sessionStorage",
            ] {
                assert!(!text(path).contains(forbidden), "{forbidden} in {path}");
            }
        }
    }

    #[test]
    fn nothing_else_is_served() {
        for (method, path, found) in [
            ("GET", "/admin/", true),
            ("HEAD", "/admin/app.js", true),
            ("GET", "/admin", true),
            ("POST", "/admin/", false),
            ("GET", "/admin/index.html", false),
            ("GET", "/admin/../Cargo.toml", false),
            ("GET", "/admin/session", false),
        ] {
            let request = hyper::Request::builder().method(method).uri(path);
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(answer(&head).is_some(), found, "{method} {path}");
        }
    }
}
