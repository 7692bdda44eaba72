//! What was found, and how it is said. Pure.

use std::fmt::Write;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// As it should be.
    Ok,
    /// It works, and may fail or be slow one day.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What it is about.
    pub(super) about: &'static str,
    pub(super) mark: Mark,
    /// What was seen.
    pub(super) what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Finding {
    fn new(about: &'static str, mark: Mark, what: impl Into<String>) -> Self {
        Self {
            about,
            mark,
            what: what.into(),
            advice: None,
        }
    }

    pub(super) fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Mark::Ok, what)
    }

    pub(super) fn warning(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Mark::Warning, what)
    }

    pub(super) fn problem(about: &'static str, what: impl Into<String>) -> Self {
        Self::new(about, Mark::Problem, what)
    }

    /// Says what to do.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// One line for each.
pub(super) fn report(findings: &[Finding]) -> String {
    let wide = findings.iter().map(|it| it.about.len()).max();
    let wide = wide.unwrap_or_default();
    let mut text = String::new();
    for Finding {
        about,
        mark,
        what,
        advice,
    } in findings
    {
        let mark = match mark {
            Mark::Ok => "ok",
            Mark::Warning => "warning",
            Mark::Problem => "problem",
        };
        // What others say may have more lines than one.
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        let advice = advice.as_ref().map(|it| format!(" → {it}"));
        let advice = advice.unwrap_or_default();
        writeln!(text, "{mark:7}  {about:wide$}  {what}{advice}")
            .expect("text can always be written to");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_line_with_its_mark_and_what_to_do() {
        let findings = [
            Finding::ok("node", "none runs"),
            Finding::warning("clock", "it is\n late").advise("chronyc tracking"),
        ];
        assert_eq!(
            report(&findings),
            "ok       node   none runs\n\
             warning  clock  it is late → chronyc tracking\n"
        );
    }
}
