//! The query of a request, and pages of what it asks for. Pure.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{fields::quoted, refusal::Refusal};

/// Items on a page if the caller does not say.
const PAGE: usize = 100;

/// Items on a page at most.
const MAX_PAGE: usize = 1000;

/// A query's parameters.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// The part of a list that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Items at most.
    pub(super) limit: usize,
    /// Items whose name comes after this one.
    pub(super) after: Option<String>,
}

impl Query {
    /// Reads a query whose parameters are all among `allowed`; none comes twice.
    pub(super) fn parse(query: Option<&str>, allowed: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !allowed.contains(&&*name) {
                let known = if allowed.is_empty() {
                    "none".into()
                } else {
                    quoted(allowed)
                };
                let name = name.escape_debug();
                let message = format!("there is no query parameter `{name}`; known are {known}");
                return Err(Refusal::params(message));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                let message = format!("the query parameter `{name}` comes twice");
                return Err(Refusal::params(message));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A parameter's value.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }

    /// The page that `limit` and `after` ask for.
    pub(super) fn page(&self) -> Result<Page, Refusal> {
        let limit = match self.value("limit") {
            None => PAGE,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=MAX_PAGE) => limit,
                _ => {
                    let message = format!("`limit` must be a number from 1 to {MAX_PAGE}");
                    return Err(Refusal::params(message));
                }
            },
        };
        Ok(Page {
            limit,
            after: self.value("after"),
        })
    }
}

impl Page {
    /// Cuts the page out of all items, which are ordered by name. Answers the items, and the name
    /// to go on after, or null.
    pub(super) fn cut<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> Value,
    ) -> (Vec<Value>, Value) {
        let is_before = |item: &T| {
            self.after
                .as_deref()
                .is_some_and(|after| name(item) <= after)
        };
        let mut rest = items.skip_while(is_before).peekable();
        let (mut shown, mut last) = (Vec::new(), Value::Null);
        while shown.len() < self.limit
            && let Some(item) = rest.next()
        {
            shown.push(show(&item));
            last = json!(name(&item));
        }
        let next = if rest.peek().is_some() {
            last
        } else {
            Value::Null
        };
        (shown, next)
    }
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let wrong = |_| Refusal::params("the query is not percent-encoded UTF-8");
    decoded.map(Into::into).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, Refusal> {
        Query::parse(Some(query), &["limit", "after"])?.page()
    }

    #[test]
    fn pages_follow_each_other() {
        let all = ["a", "b", "c"];
        let cut = |query: &str| {
            page(query)
                .unwrap()
                .cut(all.iter().copied(), |item| item, |item| json!(item))
        };
        assert_eq!(cut("limit=2"), (vec![json!("a"), json!("b")], json!("b")));
        assert_eq!(cut("limit=2&after=b"), (vec![json!("c")], Value::Null));
        assert_eq!(
            cut("limit=2&after=a"),
            (vec![json!("b"), json!("c")], Value::Null)
        );
        assert_eq!(cut("after=bb"), (vec![json!("c")], Value::Null));
        assert_eq!(cut("after=c"), (vec![], Value::Null));
    }

    #[test]
    fn a_bad_query_is_told_what_is_allowed() {
        for (query, message) in [
            ("limit=0", "`limit` must be a number from 1 to 1000"),
            ("limit=1001", "`limit` must be a number from 1 to 1000"),
            ("limit=x", "`limit` must be a number from 1 to 1000"),
            ("limit", "`limit` must be a number from 1 to 1000"),
            (
                "offset=1",
                "there is no query parameter `offset`; known are `limit`, `after`",
            ),
            ("after=a&after=b", "the query parameter `after` comes twice"),
            ("after=%ff", "the query is not percent-encoded UTF-8"),
        ] {
            assert_eq!(page(query).unwrap_err().to_string(), message, "{query}");
        }
        let query = Query::parse(Some("&after=a%2Bb+c&"), &["after"]).unwrap();
        assert_eq!(query.value("after").as_deref(), Some("a+b c"));
        let refusal = Query::parse(Some("a=1"), &[]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "there is no query parameter `a`; known are none"
        );
    }
}
