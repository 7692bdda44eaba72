//! What operators see of the certificate's making.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Tries;
use crate::config;

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The last attempt succeeded, or none was needed.
    Ok,
    /// The last attempt failed, and another one waits.
    Failing,
}

/// How it stands.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) domains: Vec<String>,
    pub(crate) directory: String,
    pub(crate) standing: Standing,
    /// Certificates that were issued since the start.
    pub(crate) issued: u64,
    /// Attempts that have failed since the start.
    pub(crate) failed: u64,
    /// Those that have failed in a row.
    pub(crate) failures: u32,
    /// When the CA is asked next, Unix seconds.
    pub(crate) next: i64,
    /// Why the last attempt failed, if it did.
    pub(crate) message: Option<String>,
}

/// Counts.
#[derive(Debug)]
pub(super) struct Figures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    issued: u64,
    failed: u64,
    failures: u32,
    next: i64,
    message: Option<String>,
}

impl Figures {
    /// Begins with what an earlier run has left.
    pub(super) fn new(tries: Tries) -> Self {
        let message = (tries.failures > 0).then(|| "failed before the last start".to_owned());
        Self(Mutex::new(Counts {
            failures: tries.failures,
            next: tries.next,
            message,
            ..Counts::default()
        }))
    }

    pub(super) fn issued(&self) {
        let mut counts = self.counts();
        counts.issued += 1;
        counts.failures = 0;
        counts.message = None;
    }

    pub(super) fn failed(&self, failures: u32, message: String) {
        let mut counts = self.counts();
        counts.failed += 1;
        counts.failures = failures;
        counts.message = Some(message);
    }

    pub(super) fn next(&self, next: i64) {
        self.counts().next = next;
    }

    pub(super) fn view(&self, settings: &config::Acme) -> View {
        let counts = self.counts();
        View {
            domains: settings.domains.clone(),
            directory: settings.directory.clone(),
            standing: match counts.failures {
                0 => Standing::Ok,
                _ => Standing::Failing,
            },
            issued: counts.issued,
            failed: counts.failed,
            failures: counts.failures,
            next: counts.next,
            message: counts.message.clone(),
        }
    }

    /// Each change is whole, whatever became of who made it.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
