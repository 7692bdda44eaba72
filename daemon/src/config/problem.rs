//! What is wrong with a configuration, and how it is said.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::source::Source;

/// Why there is no [`Config`](super::Config). Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not TOML. The offending text is not shown: it may be a secret.
    #[error("line {line} of the configuration file is not TOML: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Some settings are wrong; all that could be found are here.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect();
    let noun = if lines.len() == 1 {
        "problem"
    } else {
        "problems"
    };
    format!(
        "{} {noun} in the configuration:\n{}",
        lines.len(),
        lines.join("\n")
    )
}

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as `section.key`.
    pub key: String,
    /// What it was set to, as TOML; nothing for a secret or an unknown key.
    pub value: Option<String>,
    /// Where it was found; nothing if it stands nowhere or the problem lies in a combination.
    pub source: Option<Source>,
    /// What is wrong with it and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        match &self.source {
            Some(Source::Env(name)) => write!(f, " (from {name})")?,
            Some(Source::Credential(name)) => write!(f, " (from the credential {name})")?,
            Some(Source::File) | None => {}
        }
        write!(f, ": {}", self.what)
    }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds what is wrong with `key` given the `others`, unless one of them is wrong by itself:
    /// its default then stands in for it, and would be blamed.
    pub(super) fn conflict(&mut self, key: &str, value: String, others: &[&str], what: String) {
        if self.concerns(key) || others.iter().any(|other| self.concerns(other)) {
            return;
        }
        self.add(Problem {
            key: key.to_owned(),
            value: Some(value),
            source: None,
            what,
        });
    }

    /// Whether a problem with this key is known.
    pub(super) fn concerns(&self, key: &str) -> bool {
        self.0.iter().any(|problem| problem.key == key)
    }

    pub(super) fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Problems(self.0))
        }
    }
}

/// The sentence about a name that nobody knows: the nearest known one, and all of them.
pub(super) fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(other) => format!("; did you mean {other}?"),
        None => ";".to_owned(),
    };
    format!("unknown{hint} known here: {}", known.join(", "))
}

/// The known name that was probably meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = known
        .into_iter()
        .map(|other| (distance(name, other), other));
    let (distance, other) = ranked.min()?;
    (distance <= 1 + name.len() / 4).then_some(other)
}

/// Insertions, deletions and replacements that turn one text into the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (l, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = l + 1;
        for (r, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[r + 1];
            row[r + 1] = replaced.min(row[r] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (left, right, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("public", "public", 0),
            ("publc", "public", 1),
            ("pubilc", "public", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
            assert_eq!(distance(right, left), edits, "{right} {left}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["public", "private"];
        assert_eq!(
            unknown("pubic", known),
            "unknown; did you mean public? known here: public, private"
        );
        assert_eq!(
            unknown("colour", known),
            "unknown; known here: public, private"
        );
    }
}
