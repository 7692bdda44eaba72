//! The certificate that clients are to be shown.

use std::{os::unix::fs::MetadataExt, path::Path};

use super::{Finding, Patient};
use crate::{
    acme::{Kept, kept},
    app::accounts::rfc3339,
    config::Tls,
    http::tls::{self, Lifetime, TlsError},
};

const ABOUT: &str = "certificate";

const DAY: i64 = 86_400;

pub(super) fn examine(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    if let Some(files) = &config.tls {
        return of_files(files, patient.now);
    }
    if !config.acme.domains.is_empty() {
        let kept = kept(&config.acme, &config.node.data_dir);
        return vec![judge_kept(&kept, patient.node.is_there(), patient.now)];
    }
    vec![Finding::ok(ABOUT, "none is configured: plain HTTP")]
}

fn of_files(files: &Tls, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match tls::acceptor(Some(files)) {
        Ok(shown) => {
            let lifetime = shown.and_then(|shown| shown.lifetime);
            judge(
                lifetime,
                now,
                "renew it; the node shows new files by itself",
            )
        }
        Err(error) => {
            let advice = match error {
                TlsError::Version(_) => "make it with extensions, such as subjectAltName",
                TlsError::File { .. } | TlsError::Pair(_) => {
                    "see that both files are PEM, belong together and can be read by the node's user"
                }
            };
            Finding::problem(ABOUT, error.to_string()).advise(advice)
        }
    });
    if let Some(mode) = open_to_all(&files.key) {
        let key = files.key.display();
        let what = format!("everybody may read tls.key = {key} (mode {mode:o})");
        findings.push(Finding::warning(ABOUT, what).advise(format!("chmod o-rwx {key}")));
    }
    findings
}

fn open_to_all(path: &Path) -> Option<u32> {
    let mode = path.metadata().ok()?.mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}

fn judge(lifetime: Option<Lifetime>, now: i64, advice: &str) -> Finding {
    let shown = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        rfc3339(seconds.saturating_mul(1000))
    };
    let Some(Lifetime { from, until }) = lifetime else {
        return Finding::warning(ABOUT, "when it ends cannot be read")
            .advise("see what openssl x509 -noout -dates says of it");
    };
    if now < from {
        return Finding::problem(ABOUT, format!("it is valid only from {}", shown(from)))
            .advise("see whether the clock is right; clients refuse it until then");
    }
    match until - now {
        left if left < 0 => {
            Finding::problem(ABOUT, format!("it ended at {}", shown(until))).advise(advice)
        }
        left if left < 7 * DAY => {
            Finding::warning(ABOUT, format!("it ends at {}", shown(until))).advise(advice)
        }
        _ => Finding::ok(ABOUT, format!("valid until {}", shown(until))),
    }
}

fn judge_kept(kept: &Kept, runs: bool, now: i64) -> Finding {
    let advice = "the CA must reach this node at port 443 of each of acme.domains; the log says why it \
                  cannot. Then: tidings reload";
    if let Some(why) = &kept.unusable {
        let what = format!("the one that the CA has given cannot be used: {why}");
        return Finding::warning(ABOUT, what).advise("the node asks for another one");
    }
    let failures = kept.failures;
    match kept.lifetime {
        None if failures > 0 => {
            let what = format!("none yet: the CA was asked {failures} times in vain");
            Finding::problem(ABOUT, what).advise(advice)
        }
        None if runs => Finding::warning(ABOUT, "none yet").advise(advice),
        None => Finding::ok(ABOUT, "none yet: the node asks the CA when it starts"),
        Some(lifetime) if failures > 0 => {
            let mut found = judge(Some(lifetime), now, advice);
            found.what = format!("{}; renewed {failures} times in vain", found.what);
            if found.mark == super::Mark::Ok {
                found = Finding::warning(ABOUT, found.what).advise(advice);
            }
            found
        }
        Some(lifetime) => judge(Some(lifetime), now, advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    fn until(until: i64) -> Option<Lifetime> {
        Some(Lifetime { from: DAY, until })
    }

    #[test]
    fn a_certificate_is_judged_by_what_is_left_of_it() {
        let mark = |now| judge(until(100 * DAY), now, "").mark;
        assert_eq!(mark(10 * DAY), Mark::Ok);
        assert_eq!(mark(94 * DAY), Mark::Warning);
        assert_eq!(mark(100 * DAY), Mark::Warning);
        assert_eq!(mark(100 * DAY + 1), Mark::Problem);
        assert_eq!(mark(DAY - 1), Mark::Problem);
        assert_eq!(judge(None, 10 * DAY, "").mark, Mark::Warning);
    }

    #[test]
    fn one_of_a_ca_is_judged_by_the_attempts_too() {
        let mark = |lifetime, failures, runs| {
            let kept = Kept {
                lifetime,
                failures,
                unusable: None,
            };
            judge_kept(&kept, runs, 10 * DAY).mark
        };
        assert_eq!(mark(None, 0, false), Mark::Ok);
        assert_eq!(mark(None, 0, true), Mark::Warning);
        assert_eq!(mark(None, 1, true), Mark::Problem);
        assert_eq!(mark(until(100 * DAY), 0, true), Mark::Ok);
        assert_eq!(mark(until(100 * DAY), 2, true), Mark::Warning);
        assert_eq!(mark(until(9 * DAY), 2, true), Mark::Problem);
    }
}
