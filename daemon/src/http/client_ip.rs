//! Where a request really came from, when trusted proxies stand in between (RFC 7239 and the older
//! `X-Forwarded-*`). Pure.
//!
//! Anyone can send these headers, so they are read only from a trusted peer, and from the right:
//! each proxy appends whom it heard from, so an entry is believed as long as the one that wrote it
//! is trusted. A proxy usually writes one of the two headers and lets a client's own copy of the
//! other through; where both are there and disagree, neither is believed.

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What ends a name or a bare value of `Forwarded`.
const SPECIAL: [char; 4] = ['=', '"', ',', ';'];

/// Whether `ip` is one of the trusted proxies; an IPv4 address may come as IPv4-mapped IPv6.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|net| net.contains(&ip))
}

/// The client's address: the first from the right that is not a trusted proxy, or the last that can
/// be believed.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let standard = headers.contains_key(FORWARDED).then(|| {
        let elements = forwarded(headers);
        walk(
            peer,
            elements.iter().map(|element| element.parameter("for")),
            trusted,
        )
    });
    let older = headers.contains_key(X_FORWARDED_FOR).then(|| {
        walk(
            peer,
            list(headers, &X_FORWARDED_FOR).into_iter().map(Some),
            trusted,
        )
    });
    match (standard, older) {
        (Some(standard), Some(older)) if standard != older => peer,
        (standard, older) => standard.or(older).unwrap_or(peer),
    }
}

/// Whether the client spoke TLS to the nearest proxy, if a trusted one says so either way.
pub fn client_tls(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<bool> {
    if !is_trusted(peer, trusted) {
        return None;
    }
    let nearest = forwarded(headers).pop();
    let older = list(headers, &X_FORWARDED_PROTO).pop();
    let proto = older.or_else(|| nearest?.parameter("proto"))?;
    match proto.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// Goes from proxy to proxy, nearest first, until one is not trusted or not understood.
fn walk<'a>(
    peer: IpAddr,
    hops: impl DoubleEndedIterator<Item = Option<&'a str>>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut believed = peer;
    for hop in hops.rev() {
        let Some(ip) = hop.and_then(address) else {
            return believed;
        };
        believed = ip;
        if !is_trusted(ip, trusted) {
            return ip;
        }
    }
    believed
}

/// An address as proxies write it: bare, with a port, in brackets. `unknown` and made-up names are
/// none.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = match bracketed {
        Some(inner) => inner.parse().ok().filter(IpAddr::is_ipv6),
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().map(|addr: SocketAddr| addr.ip())),
    };
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The entries of an `X-Forwarded-*` header over all its lines. A line that is not text stands as
/// an empty entry: it must not make the one before it look nearer.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter();
    let texts = lines.map(|line| line.to_str().unwrap_or_default());
    texts
        .flat_map(|text| text.split(','))
        .map(|entry| unquoted(entry.trim()))
        .collect()
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text)
}

/// What one proxy says in `Forwarded`: names and values, unquoted. Escapes are left as they are: no
/// address and no protocol has one.
#[derive(Debug, Default)]
struct Element<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Element<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|&(_, value)| value)
    }
}

/// The elements of `Forwarded` over all its lines. A malformed line stands as an empty element.
fn forwarded(headers: &HeaderMap) -> Vec<Element<'_>> {
    let lines = headers.get_all(FORWARDED).iter();
    let elements = lines.map(|line| line.to_str().ok().and_then(elements));
    elements
        .flat_map(|elements| elements.unwrap_or_else(|| vec![Element::default()]))
        .collect()
}

/// Strict, as a quote that a client leaves open would swallow what the proxy appends: after a
/// closing quote there must be a separator, which no quoted address begins with.
fn elements(line: &str) -> Option<Vec<Element<'_>>> {
    let mut elements = vec![Element::default()];
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (name, value, after) = pair(rest)?;
        elements.last_mut()?.0.push((name, value));
        rest = after.trim_start();
        match rest.chars().next() {
            None => break,
            Some(',') => elements.push(Element::default()),
            Some(';') => {}
            Some(_) => return None,
        }
        rest = rest[1..].trim_start();
    }
    Some(elements)
}

/// Takes one `name=value` off the front; the value unquoted.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text
        .split_once('=')
        .filter(|(name, _)| !name.contains(SPECIAL))?;
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        })?;
        return Some((name.trim_end(), &quoted[..end], &quoted[end + 1..]));
    }
    let (value, after) = rest.split_at(rest.find(&SPECIAL[1..]).unwrap_or(rest.len()));
    Some((name.trim_end(), value.trim_end(), after))
}

#[cfg(test)]
mod tests {
    use super::{client_ip, client_tls};
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};
    use ipnet::IpNet;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::net::{IpAddr, Ipv4Addr};

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"]
            .map(|net| net.parse().unwrap())
            .to_vec()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |&(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        lines.iter().map(line).collect()
    }

    fn seen(peer: &str, lines: &[(&'static str, &str)]) -> String {
        client_ip(peer.parse().unwrap(), &headers(lines), &trusted()).to_string()
    }

    fn xff(value: &str) -> String {
        seen(PROXY, &[("x-forwarded-for", value)])
    }

    fn forwarded(value: &str) -> String {
        seen(PROXY, &[("forwarded", value)])
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let lines = [
            ("x-forwarded-for", "192.0.2.7"),
            ("forwarded", "for=192.0.2.7"),
        ];
        assert_eq!(seen("198.51.100.1", &lines), "198.51.100.1");
        assert_eq!(seen("::ffff:198.51.100.1", &lines), "198.51.100.1");
        assert_eq!(seen(PROXY, &[]), PROXY);
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right() {
        assert_eq!(xff("192.0.2.7"), "192.0.2.7");
        assert_eq!(xff("6.6.6.6, 192.0.2.7"), "192.0.2.7");
        assert_eq!(xff("6.6.6.6, 192.0.2.7, 10.9.9.9 , 10.1.1.1"), "192.0.2.7");
        assert_eq!(xff("10.2.2.2, 10.1.1.1"), "10.2.2.2");
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        assert_eq!(seen(PROXY, &lines), "192.0.2.7");
        assert_eq!(seen("::ffff:10.0.0.1", &lines), "192.0.2.7");
        assert_eq!(seen("fd00::1", &lines), "192.0.2.7");
    }

    #[test]
    fn addresses_come_in_many_forms() {
        for text in [
            "192.0.2.7",
            "192.0.2.7:4711",
            "\"192.0.2.7:4711\"",
            "::ffff:192.0.2.7",
        ] {
            assert_eq!(xff(text), "192.0.2.7", "{text}");
        }
        for text in [
            "2001:db8::7",
            "[2001:db8::7]",
            "[2001:db8::7]:4711",
            "\"[2001:db8::7]\"",
        ] {
            assert_eq!(xff(text), "2001:db8::7", "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_ends_the_walk() {
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2",
            "[192.0.2.7]",
            "192.0.2.7:x",
            "[::1",
            "\"",
            "::1]",
        ] {
            assert_eq!(xff(&format!("6.6.6.6, {text}")), PROXY, "{text}");
            assert_eq!(
                xff(&format!("6.6.6.6, {text}, 10.3.3.3")),
                "10.3.3.3",
                "{text}"
            );
        }
        assert_eq!(xff("192.0.2.7,"), PROXY);
        let mut lines = headers(&[("x-forwarded-for", "6.6.6.6")]);
        lines.append("x-forwarded-for", HeaderValue::from_bytes(b"\xff").unwrap());
        let ip = client_ip(PROXY.parse().unwrap(), &lines, &trusted());
        assert_eq!(ip.to_string(), PROXY);
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        assert_eq!(forwarded("for=192.0.2.7"), "192.0.2.7");
        assert_eq!(forwarded("For=\"[2001:db8::7]:4711\""), "2001:db8::7");
        assert_eq!(
            forwarded("for=6.6.6.6, proto=http;FOR=192.0.2.7;by=203.0.113.43"),
            "192.0.2.7"
        );
        assert_eq!(
            forwarded("for=192.0.2.7, for=10.1.1.1;by=\"a,b;for=6.6.6.6\""),
            "192.0.2.7"
        );
        assert_eq!(
            forwarded("for=192.0.2.7;by=\"x\\\", for=6.6.6.6\""),
            "192.0.2.7"
        );
        assert_eq!(forwarded("for=192.0.2.7;by=\"\""), "192.0.2.7");
        assert_eq!(forwarded("for=6.6.6.6, proto=https"), PROXY);
        assert_eq!(forwarded("for=6.6.6.6;by=\"a\"b=c"), PROXY);
        assert_eq!(forwarded("for=6.6.6.6, for=unknown"), PROXY);
    }

    #[test]
    fn an_open_quote_swallows_nothing() {
        for forged in [
            "for=6.6.6.6;by=\"",
            "for=\"",
            "for=6.6.6.6;by=\"\\",
            "\"",
            "for=6.6.6.6, x",
        ] {
            for appended in [
                "for=192.0.2.7",
                "for=\"[2001:db8::7]\";by=\"_x\"",
                "by=\"_x\"",
            ] {
                assert_eq!(
                    forwarded(&format!("{forged}, {appended}")),
                    PROXY,
                    "{forged}"
                );
            }
            let lines = [("forwarded", forged), ("forwarded", "for=192.0.2.7")];
            assert_eq!(seen(PROXY, &lines), "192.0.2.7", "{forged}");
        }
    }

    #[test]
    fn headers_that_disagree_are_not_believed() {
        let both = |older, standard| {
            seen(
                PROXY,
                &[("x-forwarded-for", older), ("forwarded", standard)],
            )
        };
        assert_eq!(both("192.0.2.7", "for=192.0.2.7"), "192.0.2.7");
        assert_eq!(both("192.0.2.7", "for=6.6.6.6"), PROXY);
        assert_eq!(both("192.0.2.7", "proto=https"), PROXY);
    }

    #[test]
    fn the_nearest_proxy_says_whether_it_was_tls() {
        let tls = |peer: &str, lines: &[_]| {
            client_tls(peer.parse().unwrap(), &headers(lines), &trusted())
        };
        assert_eq!(tls(PROXY, &[("x-forwarded-proto", "https")]), Some(true));
        assert_eq!(
            tls(PROXY, &[("x-forwarded-proto", "HTTPS, http")]),
            Some(false)
        );
        assert_eq!(tls(PROXY, &[("x-forwarded-proto", "gopher")]), None);
        assert_eq!(
            tls(PROXY, &[("forwarded", "proto=http, for=x;proto=\"https\"")]),
            Some(true)
        );
        assert_eq!(tls(PROXY, &[]), None);
        assert_eq!(tls("198.51.100.1", &[("x-forwarded-proto", "https")]), None);
    }

    proptest! {
        #[test]
        fn a_client_cannot_choose_its_address(forged in "[ -~]{0,60}", client in any::<u32>()) {
            let client = IpAddr::from(Ipv4Addr::from(client | 0x8000_0000));
            let appended = headers(&[("x-forwarded-for", &format!("{forged}, {client}"))]);
            prop_assert_eq!(client_ip(PROXY.parse().unwrap(), &appended, &trusted()), client);
            // Even by a header that the proxy does not know and lets through.
            let own = client.to_string();
            let passed = headers(&[("x-forwarded-for", &own), ("forwarded", &forged)]);
            let ip = client_ip(PROXY.parse().unwrap(), &passed, &trusted());
            prop_assert!(ip == client || ip.to_string() == PROXY);
        }

        #[test]
        fn nor_its_address_in_forwarded(
            forged in "[for=;by\"\\\\, 6.]{0,40}",
            client in any::<u64>(),
        ) {
            let client = IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(client)).to_be_bytes());
            let line = format!("{forged}, for=\"[{client}]:80\";proto=https");
            let lines = headers(&[("forwarded", &line)]);
            let ip = client_ip(PROXY.parse().unwrap(), &lines, &trusted());
            prop_assert!(ip == client || ip.to_string() == PROXY);
        }

        #[test]
        fn arbitrary_headers_never_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let names = ["forwarded", "x-forwarded-for", "x-forwarded-proto"];
            let lines = names.map(|name| (HeaderName::from_static(name), value.clone()));
            let lines = HeaderMap::from_iter(lines);
            client_ip(PROXY.parse().unwrap(), &lines, &trusted());
            client_tls(PROXY.parse().unwrap(), &lines, &trusted());
        }
    }
}
