//! Text with places that are filled in for each client or each emit.

use std::{borrow::Cow, fs, io, str::FromStr};

use thiserror::Error;

/// What a template's places stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// `{n}`: the number of the client, from 0.
    pub client: usize,
    /// `{seq}`: the number of the emit, from 0.
    pub sequence: u64,
    /// `{now}`: nanoseconds of [`crate::clock::now`].
    pub now: u64,
    /// `{user}`: the number of the client that an emit is for.
    pub user: usize,
    /// `{symbol}`: the symbol that a quote is of.
    pub symbol: &'a str,
    /// `{symbols}`: JSON array of the symbols that a client watches.
    pub symbols: &'a str,
}

/// A text taken apart at the places that [`Values`] names; every other brace is literal, so JSON
/// can be written as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Client,
    Sequence,
    Now,
    User,
    Symbol,
    Symbols,
}

const PLACES: [(&str, Part); 6] = [
    ("{n}", Part::Client),
    ("{seq}", Part::Sequence),
    ("{now}", Part::Now),
    ("{user}", Part::User),
    ("{symbol}", Part::Symbol),
    ("{symbols}", Part::Symbols),
];

impl Template {
    /// Takes a text apart. Every text is legal.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((at, place, part)) = first_place(rest) {
            parts.push(Part::Literal(rest[..at].to_owned()));
            parts.push(part);
            rest = &rest[at + place.len()..];
        }
        parts.push(Part::Literal(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Self(parts)
    }

    /// Whether `{now}` is in it, and so latency can be told.
    pub fn is_stamped(&self) -> bool {
        self.0.contains(&Part::Now)
    }

    /// Whether it holds `text`, a key with a place behind it such as `"seq":{seq}`.
    pub fn has(&self, text: &str) -> bool {
        let wanted = Self::parse(text).0;
        self.0.windows(2).any(|pair| match (pair, &wanted[..]) {
            ([Part::Literal(before), place], [Part::Literal(key), wanted]) => {
                place == wanted && before.ends_with(key)
            }
            _ => false,
        })
    }

    /// Appends the text with its places filled in.
    pub fn render(&self, values: Values<'_>, out: &mut String) {
        use std::fmt::Write as _;
        for part in &self.0 {
            // Writing to a String cannot fail.
            let _ = match part {
                Part::Literal(text) => out.write_str(text),
                Part::Client => write!(out, "{}", values.client),
                Part::Sequence => write!(out, "{}", values.sequence),
                Part::Now => write!(out, "{}", values.now),
                Part::User => write!(out, "{}", values.user),
                Part::Symbol => out.write_str(values.symbol),
                Part::Symbols => out.write_str(values.symbols),
            };
        }
    }
}

fn first_place(text: &str) -> Option<(usize, &'static str, Part)> {
    PLACES
        .iter()
        .filter_map(|(place, part)| Some((text.find(place)?, *place, part.clone())))
        .min_by_key(|(at, ..)| *at)
}

/// A text per client: one template for all, or a file with a line for each.
#[derive(Clone, Debug)]
pub enum PerClient {
    /// `{n}` is the client's number.
    Template(Template),
    /// Line `n` is for client `n`.
    Lines(Vec<String>),
}

/// The argument of an option that takes a text per client cannot be used.
#[derive(Debug, Error)]
pub enum PerClientError {
    /// The file behind `@` cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file that was named.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There are more clients than lines.
    #[error("the file has {lines} lines, {clients} clients need one each")]
    TooFew {
        /// Lines that there are.
        lines: usize,
        /// Lines that are needed.
        clients: usize,
    },
}

impl FromStr for PerClient {
    type Err = PerClientError;

    /// `@path` names a file; anything else is a template.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(path) = text.strip_prefix('@') else {
            return Ok(Self::Template(Template::parse(text)));
        };
        let content = fs::read_to_string(path).map_err(|source| PerClientError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::Lines(content.lines().map(str::to_owned).collect()))
    }
}

impl PerClient {
    /// Refuses a file that is too short for `clients`.
    pub fn check(&self, clients: usize) -> Result<(), PerClientError> {
        match self {
            Self::Lines(lines) if lines.len() < clients => Err(PerClientError::TooFew {
                lines: lines.len(),
                clients,
            }),
            _ => Ok(()),
        }
    }

    /// The text of client `values.client`; empty past the end of a file that was not checked.
    pub fn text(&self, values: Values<'_>) -> Cow<'_, str> {
        match self {
            Self::Template(template) => {
                let mut text = String::new();
                template.render(values, &mut text);
                Cow::Owned(text)
            }
            Self::Lines(lines) => {
                Cow::Borrowed(lines.get(values.client).map_or("", String::as_str))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn rendered(text: &str, values: Values<'_>) -> String {
        let mut out = String::new();
        Template::parse(text).render(values, &mut out);
        out
    }

    #[test]
    fn places_are_filled_and_json_braces_stay() {
        let values = Values {
            client: 7,
            sequence: 3,
            now: 99,
            user: 4,
            symbol: "S0001",
            symbols: r#"["S0001"]"#,
        };
        let json = r#"{"a":{"n":"u{n}"},"ts":{now},"seq":{seq}}"#;
        assert_eq!(
            rendered(json, values),
            r#"{"a":{"n":"u7"},"ts":99,"seq":3}"#
        );
        assert_eq!(
            rendered(r#"{"u":{user},"s":"{symbol}","w":{symbols}}"#, values),
            r#"{"u":4,"s":"S0001","w":["S0001"]}"#
        );
        assert!(Template::parse(json).is_stamped());
        assert!(!Template::parse("{n}").is_stamped());
        assert!(Template::parse(json).has("\"seq\":{seq}"));
        assert!(!Template::parse(json).has("\"sequence\":{seq}"));
    }

    #[test]
    fn a_short_file_is_refused() {
        let lines = PerClient::Lines(vec!["a".into(), "b".into()]);
        let second = Values {
            client: 1,
            ..Values::default()
        };
        assert_eq!(lines.text(second), "b");
        assert!(lines.check(2).is_ok());
        let error = lines.check(3).unwrap_err().to_string();
        assert_eq!(error, "the file has 2 lines, 3 clients need one each");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = "@/no/such".parse::<PerClient>().unwrap_err().to_string();
        assert!(error.starts_with("cannot read /no/such: "), "{error}");
    }

    proptest! {
        #[test]
        fn text_without_places_is_itself(text in "[^{]*") {
            prop_assert_eq!(rendered(&text, Values::default()), text);
        }
    }
}
