//! `Cookie` headers taken apart and `Set-Cookie` put together (RFC 6265). Pure.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// The values of every cookie called `name` in a `Cookie` header, in order, as sent but without the
/// quotes. There can be several: a browser sends one for each path and domain that has one.
pub fn values<'a>(header: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    pairs(header).filter_map(move |(key, value)| (key == name).then_some(value))
}

/// Every cookie of a `Cookie` header; what is not `name=value` is left out.
pub fn pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim(), unquoted(value.trim())))
    })
}

/// When other sites' pages have a browser send a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// When they lead to ours by a link; not from forms and frames.
    Lax,
    /// Never.
    Strict,
}

/// A cookie to be set, shown as the value of a `Set-Cookie` header. Scripts do not see it.
#[derive(Clone, Copy, Debug)]
pub struct SetCookie<'a> {
    /// A legal cookie name: [`is_name`].
    pub name: &'a str,
    /// The value, encoded as a cookie needs it.
    pub value: &'a str,
    /// How long the browser keeps it; nothing left means that it drops the cookie.
    pub max_age: Duration,
    /// The listener speaks TLS, so the cookie need never travel in the clear.
    pub secure: bool,
    /// What other sites can have it sent for.
    pub same_site: SameSite,
}

impl<'a> SetCookie<'a> {
    /// Has the browser forget the cookie.
    pub fn removal(name: &'a str, secure: bool) -> Self {
        Self {
            name,
            value: "",
            max_age: Duration::ZERO,
            secure,
            same_site: SameSite::Lax,
        }
    }
}

impl Display for SetCookie<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            max_age,
            secure,
            same_site,
        } = self;
        let max_age = max_age.as_secs();
        write!(
            f,
            "{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site:?}"
        )?;
        if *secure {
            f.write_str("; Secure")
        } else {
            Ok(())
        }
    }
}

/// Whether this can be the name of a cookie: an HTTP token.
pub fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(legal)
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{SameSite, SetCookie, is_name, pairs, values};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::time::Duration;

    #[test]
    fn every_cookie_of_a_name_is_found() {
        let header = r#"a=1; connect.sid=s%3Ax.y ;b="q=2;c";  connect.sid = second; A=3; junk; a="#;
        let all = |name| values(header, name).collect::<Vec<_>>();
        assert_eq!(all("connect.sid"), ["s%3Ax.y", "second"]);
        assert_eq!(all("a"), ["1", ""]);
        assert_eq!(all("A"), ["3"]);
        assert_eq!(all("junk"), [""; 0]);
        assert_eq!(values(r#"a="quoted""#, "a").next(), Some("quoted"));
        assert_eq!(values(r#"a=""; b=""#, "b").next(), Some("\""));
        assert_eq!(values("a=b=c", "a").next(), Some("b=c"));
    }

    #[test]
    fn set_cookie_says_all_that_protects_it() {
        let max_age = Duration::from_millis(90_500);
        let cookie = SetCookie {
            name: "connect.sid",
            value: "s%3Ax",
            max_age,
            secure: true,
            same_site: SameSite::Strict,
        };
        let text = "connect.sid=s%3Ax; Path=/; Max-Age=90; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(cookie.to_string(), text);
        let text = "sid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
        assert_eq!(SetCookie::removal("sid", false).to_string(), text);
    }

    #[test]
    fn names_are_tokens() {
        assert!(is_name("connect.sid") && is_name("__Host-sid"));
        for name in ["", "a b", "a;b", "a=b", "ä", "a\"b", "a,b", "a\n"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            cookies in proptest::collection::vec(("[a-z.]{1,5}", "[!#-+.-:<-~]{0,20}"), 0..6),
            gap in " {0,2}",
        ) {
            let written: Vec<String> = cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let header = written.join(&format!(";{gap}"));
            let read: Vec<_> = pairs(&header).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, cookies);
        }

        #[test]
        fn arbitrary_text_never_panics(header in any::<String>()) {
            prop_assert!(pairs(&header).all(|(name, _)| !name.contains(';')));
        }
    }
}
