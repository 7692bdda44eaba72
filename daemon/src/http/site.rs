//! What the daemon serves on its public listener beside Socket.IO and health: login, the browser
//! client where one is installed, and the page of the demo.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue},
};

use super::{
    client_files::ClientFiles,
    login::Login,
    public::{PublicRequest, Routes, error, not_found},
};
use crate::{app::handler::BoxFuture, demo::page, node::Node};

/// The daemon's public routes.
pub struct Site {
    /// `/auth/login` and `/auth/logout`.
    pub login: Login,
    /// The files of an installed `socket.io-client`.
    pub client: ClientFiles,
    /// Whether the demo's page is served.
    pub page: bool,
}

impl Routes for Site {
    fn has(&self, path: &str) -> bool {
        self.login.has(path) || self.client.has(path) || (self.page && page::asset(path).is_some())
    }

    fn answer(&self, node: Arc<Node>, request: PublicRequest) -> BoxFuture<Response<Full<Bytes>>> {
        if self.login.has(&request.path) {
            return self.login.answer(node, request);
        }
        let answer = if request.method != Method::GET && request.method != Method::HEAD {
            not_allowed()
        } else if self.client.has(&request.path) {
            self.client.answer(&request)
        } else {
            page::asset(&request.path).map_or_else(not_found, file)
        };
        Box::pin(async move { answer })
    }
}

fn file((content_type, body): (&'static str, &'static [u8])) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(Bytes::from_static(body)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::CONTENT_SECURITY_POLICY),
    );
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    answer
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut answer = error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "only GET and HEAD are allowed",
    );
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}
