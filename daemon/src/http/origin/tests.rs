use super::{OriginPolicy, OriginRule, OriginVerdict};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::{any, prop_assert, proptest};

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let line = |&(name, value): &(&'static str, &str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    HeaderMap::from_iter(lines.iter().map(line))
}

fn policy(rules: &[&str]) -> OriginPolicy {
    OriginPolicy::new(rules.iter().map(|rule| rule.parse().unwrap()))
}

/// Whether `policy` lets `origin` talk to a host that is not its own.
fn lists(policy: &OriginPolicy, origin: &str) -> bool {
    let request = headers(&[("host", "tidings.test"), ("origin", origin)]);
    match policy.check(&request, true) {
        OriginVerdict::Listed(echo) => echo == origin,
        OriginVerdict::Refused => false,
        OriginVerdict::Same => panic!("{origin} is not the same"),
    }
}

fn is_same(host: &str, origin: &str, tls: bool) -> bool {
    let request = headers(&[("host", host), ("origin", origin)]);
    policy(&[]).check(&request, tls) == OriginVerdict::Same
}

#[test]
fn no_origin_and_the_same_host_are_let_in() {
    assert_eq!(
        policy(&[]).check(&headers(&[("host", "a.test")]), false),
        OriginVerdict::Same
    );
    for (host, origin, tls) in [
        ("a.test", "http://a.test", false),
        ("A.test:80", "http://a.TEST", false),
        ("a.test", "https://a.test:443", true),
        ("a.test:8080", "http://a.test:8080", false),
        ("[::1]:8080", "http://[::1]:8080", false),
        ("[::1]", "HTTP://[::1]:80", false),
    ] {
        assert!(is_same(host, origin, tls), "{host} {origin}");
    }
}

#[test]
fn another_scheme_host_or_port_is_another_origin() {
    for (host, origin, tls) in [
        ("a.test", "https://a.test", false),
        ("a.test", "http://a.test", true),
        ("a.test", "http://b.test", false),
        ("a.test", "http://x.a.test", false),
        ("a.test:8080", "http://a.test", false),
        ("a.test", "http://a.test:8080", false),
        ("a.test", "http://a.test.", false),
        ("a.test", "http://a.test/", false),
        ("a.test", "http://u@a.test", false),
        ("a.test", "http://a.test:", false),
        ("a.test", "http://a.test:+80", false),
        ("a.test", "null", false),
        ("a.test", "", false),
        ("", "http://", false),
    ] {
        assert!(!is_same(host, origin, tls), "{host} {origin}");
    }
    let twice = headers(&[
        ("host", "a"),
        ("origin", "http://a"),
        ("origin", "http://a"),
    ]);
    assert_eq!(policy(&["*"]).check(&twice, false), OriginVerdict::Refused);
    let hostless = headers(&[("origin", "http://a")]);
    assert_eq!(policy(&[]).check(&hostless, false), OriginVerdict::Refused);
}

#[test]
fn listed_origins_are_let_in_exactly() {
    let policy = policy(&[
        "https://app.test",
        "http://localhost:3000",
        "capacitor://localhost",
    ]);
    for origin in [
        "https://app.test",
        "https://APP.test:443",
        "http://localhost:3000",
    ] {
        assert!(lists(&policy, origin), "{origin}");
    }
    assert!(lists(&policy, "capacitor://localhost"));
    for origin in [
        "http://app.test",
        "https://app.test:8443",
        "https://app.test.evil.test",
        "null",
        "https://evilapp.test",
        "https://app.test.",
        "http://localhost",
        "https://app.test#x",
    ] {
        assert!(!lists(&policy, origin), "{origin}");
    }
}

#[test]
fn a_wildcard_lists_what_is_below() {
    let policy = policy(&["https://*.example.com", "http://*.local.test:3000"]);
    for origin in [
        "https://a.example.com",
        "https://a.b.EXAMPLE.com",
        "http://x.local.test:3000",
    ] {
        assert!(lists(&policy, origin), "{origin}");
    }
    for origin in [
        "https://example.com",
        "https://.example.com",
        "http://a.example.com",
        "https://a.example.com:8443",
        "https://aexample.com",
        "https://a.example.com.evil.test",
        "https://evil.test/.example.com",
        "http://x.local.test",
    ] {
        assert!(!lists(&policy, origin), "{origin}");
    }
}

#[test]
fn null_is_refused_unless_listed() {
    assert!(!lists(&policy(&["https://app.test"]), "null"));
    assert!(lists(&policy(&["null"]), "null"));
    assert!(!lists(&policy(&["null"]), "https://app.test"));
    assert!(lists(&policy(&["*"]), "null") && lists(&policy(&["*"]), "https://any.test"));
}

#[test]
fn rules_are_checked() {
    for rule in [
        "",
        "app.test",
        "https://",
        "https://app.test/",
        "https://*",
        "https://a.*.test",
        "*.test",
        "https://app.test:99999",
        "https://app.test:http",
        "https://[::1",
        "1http://a",
        "https://a b",
    ] {
        let error = rule.parse::<OriginRule>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("`{rule}` is no origin: allowed")),
            "{error}"
        );
    }
}

#[test]
fn a_rule_has_one_form() {
    for (text, form) in [
        ("*", "*"),
        ("null", "null"),
        ("https://App.test:443", "https://app.test"),
        ("https://*.App.test:8443", "https://*.app.test:8443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ] {
        assert_eq!(text.parse::<OriginRule>().unwrap().to_string(), form);
    }
}

#[test]
fn only_a_listed_page_is_shown_the_answer() {
    let mut answer = HeaderMap::new();
    OriginVerdict::Listed(HeaderValue::from_static("https://app.test")).cors(&mut answer);
    let shown = headers(&[
        ("vary", "Origin"),
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-credentials", "true"),
    ]);
    assert_eq!(answer, shown);
    for verdict in [OriginVerdict::Same, OriginVerdict::Refused] {
        let mut answer = HeaderMap::new();
        verdict.preflight(&headers(&[]), &mut answer);
        assert_eq!(answer, headers(&[("vary", "Origin")]));
    }
    assert!(OriginVerdict::Same.is_allowed() && !OriginVerdict::Refused.is_allowed());
}

#[test]
fn a_preflight_is_told_what_it_asked() {
    let verdict = OriginVerdict::Listed(HeaderValue::from_static("https://app.test"));
    let allowed = |request: &[(&'static str, &str)]| {
        let mut answer = HeaderMap::new();
        verdict.preflight(&headers(request), &mut answer);
        assert_eq!(answer["access-control-allow-methods"], "GET, POST, OPTIONS");
        assert_eq!(answer["access-control-max-age"], "600");
        answer["access-control-allow-headers"].clone()
    };
    assert_eq!(
        allowed(&[("access-control-request-headers", "x-a, x-b")]),
        "x-a, x-b"
    );
    assert_eq!(allowed(&[]), "content-type");
}

proptest! {
    #[test]
    fn nothing_passes_a_list_by_accident(
        origin in "(https?://)?[a-z.:@/\\\\]{0,8}app\\.test[a-z.:/@#0-9]{0,8}",
    ) {
        let listed = ["https://app.test", "https://app.test:443"].contains(&origin.as_str());
        prop_assert!(lists(&policy(&["https://app.test"]), &origin) == listed);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        origin in proptest::collection::vec(any::<u8>(), 0..60),
        host in any::<String>(),
    ) {
        let Ok(origin) = HeaderValue::from_bytes(&origin) else { return Ok(()) };
        let mut request = HeaderMap::from_iter([(HeaderName::from_static("origin"), origin)]);
        if let Ok(host) = HeaderValue::from_str(&host) {
            request.insert("host", host);
        }
        prop_assert!(!policy(&["https://app.test"]).check(&request, true).is_allowed());
    }
}
