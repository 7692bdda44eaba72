//! Web origins that may connect from other hosts.

use std::fmt;

/// A page's origin, as browsers send it: scheme, host and a port unless it is the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: any page may connect.
    Any,
    /// One origin, lower-case and without a usual port.
    Exact(String),
}

impl Origin {
    /// Reads `*`, or `scheme://host[:port]` with nothing after it.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        normalised(text).map(Self::Exact)
    }

    /// Whether a request with this `Origin` header is from here.
    pub fn matches(&self, header: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(origin) => normalised(header).as_deref() == Some(origin),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
        }
    }
}

fn normalised(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let uri: hyper::http::uri::Authority = authority.parse().ok()?;
    let legal_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let has_user = authority.contains('@');
    let port_is_legal = authority
        .rsplit_once(':')
        .is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
    if !legal_scheme || has_user || !port_is_legal || uri.host().is_empty() {
        return None;
    }
    let usual = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    Some(match uri.port_u16() {
        Some(port) if Some(port) != usual => format!("{scheme}://{}:{port}", uri.host()),
        _ => format!("{scheme}://{}", uri.host()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_has_one_form() {
        for (text, form) in [
            ("https://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), form);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/page",
            "https://user@app.example",
            "https://*.example:99999",
            "https://a b",
            "://app.example",
            "null",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn matches_only_its_own_origin() {
        let origin = Origin::parse("https://app.example").unwrap();
        assert!(origin.matches("https://APP.example:443"));
        for other in [
            "http://app.example",
            "https://app.example.evil",
            "https://evil",
            "null",
        ] {
            assert!(!origin.matches(other), "{other}");
        }
        assert!(Origin::Any.matches("null"));
    }
}
