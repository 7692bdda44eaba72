//! PURE: what of a client's handshake is shown. What is not known to be harmless is not: a name
//! stands, its value does not.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// The longest value that is shown.
const MAX_VALUE: usize = 256;

/// Headers, and parameters of a query, that are shown: nobody's handshake shall hide those of others.
const MAX_NAMES: usize = 64;

/// Headers with values that are no secrets.
const HEADERS: [&str; 25] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "cf-connecting-ip",
    "cf-ipcountry",
    "connection",
    "content-length",
    "content-type",
    "dnt",
    "forwarded",
    "host",
    "origin",
    "pragma",
    "priority",
    "sec-gpc",
    "sec-websocket-extensions",
    "sec-websocket-version",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The same by their beginnings: what browsers say of themselves.
const FAMILIES: [&str; 2] = ["sec-ch-", "sec-fetch-"];

/// Engine.IO's own parameters, and ours, that are no secrets.
const PARAMETERS: [&str; 5] = ["EIO", "transport", "t", "b64", "recovery"];

/// Headers by name; of several with one name the last.
pub(super) fn headers(headers: &[(String, String)]) -> BTreeMap<&str, String> {
    let shown = headers.iter().take(MAX_NAMES).map(|(name, value)| {
        let harmless = HEADERS.contains(&name.as_str())
            || FAMILIES.iter().any(|family| name.starts_with(family));
        let value = if harmless { short(value) } else { HIDDEN };
        (name.as_str(), value.to_owned())
    });
    shown.collect()
}

/// A path with its query, and the query's parameters.
pub(super) fn url(url: &str) -> (String, BTreeMap<String, String>) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut shown = short(path).to_owned();
    let mut parameters = BTreeMap::new();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for (at, pair) in pairs.take(MAX_NAMES).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = match PARAMETERS.contains(&name) {
            true => (name, short(value)),
            false => (short(name), HIDDEN),
        };
        shown.push(if at == 0 { '?' } else { '&' });
        shown.push_str(name);
        shown.push('=');
        shown.push_str(value);
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        parameters.insert(decoded(name), decoded(value));
    }
    (shown, parameters)
}

/// As much as is shown.
fn short(text: &str) -> &str {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_values_only_of_what_is_known_to_be_harmless() {
        let given = [
            ("host", "a.example"),
            ("cookie", "connect.sid=s%3Asecret"),
            ("authorization", "Bearer secret"),
            ("x-api-key", "secret"),
            ("sec-websocket-key", "secret"),
            ("sec-websocket-protocol", "token.secret"),
            ("referer", "https://a.example/?token=secret"),
            ("sec-fetch-mode", "cors"),
            ("user-agent", "Firefox"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown = headers(&given);
        assert_eq!(shown.len(), given.len(), "every name is shown");
        assert!(!format!("{shown:?}").contains("secret"), "{shown:?}");
        assert_eq!((&*shown["host"], &*shown["cookie"]), ("a.example", "***"));
        assert_eq!(shown["sec-fetch-mode"], "cors");
    }

    #[test]
    fn a_query_shows_the_names_of_what_it_hides() {
        let (shown, query) = url("/socket.io/?EIO=4&token=secret&a%20b=c&transport=polling");
        assert_eq!(
            shown,
            "/socket.io/?EIO=4&token=***&a%20b=***&transport=polling"
        );
        assert_eq!(
            (&*query["token"], &*query["a b"], &*query["EIO"]),
            ("***", "***", "4")
        );
        assert_eq!(url("/socket.io/").0, "/socket.io/");
        assert_eq!(
            url(&format!("/?{}", "a&b&".repeat(MAX_NAMES)))
                .0
                .matches('=')
                .count(),
            MAX_NAMES
        );
        assert!(url(&format!("/?{}=secret", "é".repeat(999))).0.len() < 600);
    }
}
