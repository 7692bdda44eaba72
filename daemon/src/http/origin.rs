//! Which pages may talk to this node, and the CORS headers that tell their browsers. Pure.
//!
//! A browser names the page's origin and sends the user's cookies along, so a page of another site
//! must not get in merely because its visitor has logged in here. What is not a browser sends no
//! `Origin` and is not held up.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    HeaderValue, ORIGIN, VARY,
};
use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;
use std::str::FromStr;

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const PREFLIGHT_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
/// What `socket.io-client` and a login form need, for a preflight that does not name its headers.
const PREFLIGHT_HEADERS: HeaderValue = HeaderValue::from_static("content-type");

/// One entry of `http.origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// `*`: every origin, `null` included.
    Any,
    /// `null`: what a browser says for a page without an origin, such as a file or a sandboxed
    /// frame.
    Null,
    /// `https://app.example.com`, and nothing else.
    Exact(WebOrigin),
    /// `https://*.example.com`: every name below it, but not itself.
    Below(WebOrigin),
}

/// An origin as RFC 6454 serialises it, in lower case, without the scheme's own port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no origin: allowed are `scheme://host` with an optional `:port` and no path, \
     `scheme://*.domain`, `null` and `*`"
)]
pub struct OriginError(String);

/// Which origins may talk to this node.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    rules: Vec<OriginRule>,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginVerdict {
    /// No browser, or one that shows a page of this very host.
    Same,
    /// A listed page of another site: answer with [`OriginVerdict::cors`].
    Listed(HeaderValue),
    /// To be answered with 403, and without CORS headers.
    Refused,
}

impl OriginPolicy {
    /// A policy that lets pages of the same host in, and those that a rule names.
    pub fn new(rules: impl IntoIterator<Item = OriginRule>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }

    /// Judges a request by its headers. `tls` says how the client reached the host it named: by
    /// TLS to this node, or to a trusted proxy before it.
    pub fn check(&self, headers: &HeaderMap, tls: bool) -> OriginVerdict {
        let mut lines = headers.get_all(ORIGIN).iter();
        let Some(line) = lines.next() else {
            return OriginVerdict::Same;
        };
        let (None, Ok(text)) = (lines.next(), line.to_str()) else {
            return OriginVerdict::Refused;
        };
        let origin = WebOrigin::from_str(text).ok();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if origin
            .as_ref()
            .is_some_and(|origin| origin.is_host(host, tls))
        {
            return OriginVerdict::Same;
        }
        let listed = self
            .rules
            .iter()
            .any(|rule| rule.matches(text, origin.as_ref()));
        if listed {
            OriginVerdict::Listed(line.clone())
        } else {
            OriginVerdict::Refused
        }
    }
}

impl OriginVerdict {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        *self != Self::Refused
    }

    /// Adds what a browser must see to give the answer to the page, and what keeps a cache from
    /// giving it to another page.
    pub fn cors(&self, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Self::Listed(origin) = self {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    /// Adds what answers a preflight, to go out with status 204 and no body.
    pub fn preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        self.cors(answer);
        if matches!(self, Self::Listed(_)) {
            let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, PREFLIGHT_METHODS);
            answer.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                asked.unwrap_or(PREFLIGHT_HEADERS),
            );
            answer.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
            answer.append(
                VARY,
                HeaderValue::from_static("Access-Control-Request-Headers"),
            );
        }
    }
}

impl OriginRule {
    fn matches(&self, text: &str, origin: Option<&WebOrigin>) -> bool {
        match self {
            Self::Any => true,
            Self::Null => text == "null",
            Self::Exact(listed) => origin == Some(listed),
            Self::Below(listed) => origin.is_some_and(|origin| origin.is_below(listed)),
        }
    }
}

impl Display for OriginRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Null => f.write_str("null"),
            Self::Exact(origin) => origin.write(f, ""),
            Self::Below(origin) => origin.write(f, "*."),
        }
    }
}

impl FromStr for OriginRule {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        match text.split_once("://*.") {
            Some((scheme, domain)) => {
                let parent = WebOrigin::from_str(&format!("{scheme}://{domain}"));
                parent
                    .map(Self::Below)
                    .map_err(|_| OriginError(text.to_owned()))
            }
            None => text.parse().map(Self::Exact),
        }
    }
}

impl FromStr for WebOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let parsed = || {
            let (scheme, authority) = text
                .split_once("://")
                .filter(|(scheme, _)| is_scheme(scheme))?;
            let scheme = scheme.to_ascii_lowercase();
            let (host, port) = host_and_port(authority, default_port(&scheme))?;
            Some(Self { scheme, host, port })
        };
        parsed().ok_or_else(|| OriginError(text.to_owned()))
    }
}

impl WebOrigin {
    /// Whether a page of this origin came from the host that the request names.
    fn is_host(&self, host: Option<&str>, tls: bool) -> bool {
        let scheme = if tls { "https" } else { "http" };
        let named = host.and_then(|host| host_and_port(host, default_port(scheme)));
        self.scheme == scheme
            && named.is_some_and(|(host, port)| host == self.host && port == self.port)
    }

    fn write(&self, f: &mut Formatter<'_>, before_host: &str) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{before_host}{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }

    fn is_below(&self, parent: &Self) -> bool {
        let names = self
            .host
            .strip_suffix(&parent.host)
            .and_then(|names| names.strip_suffix('.'));
        let named = names.is_some_and(|names| !names.is_empty());
        named && self.scheme == parent.scheme && self.port == parent.port
    }
}

/// Host in lower case and port, the default one left out.
fn host_and_port(authority: &str, default: Option<u16>) -> Option<(String, Option<u16>)> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[end..].find(':') {
        Some(colon) => {
            let digits = &authority[end + colon + 1..];
            let digits =
                Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            (&authority[..end + colon], Some(digits.parse().ok()?))
        }
        None => (authority, None),
    };
    is_host_name(host).then(|| (host.to_ascii_lowercase(), port.filter(|_| port != default)))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn is_scheme(scheme: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(rest)
}

fn is_host_name(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.bytes().all(legal)
        }
    }
}

#[cfg(test)]
mod tests;
