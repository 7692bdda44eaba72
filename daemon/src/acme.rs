//! A certificate from a CA, asked for by ACME (RFC 8555) and proved by TLS-ALPN-01 (RFC 8737): on the
//! public port itself, in the handshake, so that no other port is needed.
//!
//! What fails here never keeps a node from starting, nor from showing the certificate that it has.
//!
//! | module | what it is |
//! |---|---|
//! | `plan` | PURE: when to ask the CA, and when to ask again |
//! | `kept` | the account and the certificate in the data folder |
//! | `answers` | what a handshake is answered with |
//! | `order` | one certificate from the CA |
//! | `https` | the way to the CA |
//! | `figures` | what operators see |

mod answers;
mod figures;
mod https;
mod kept;
mod order;
mod plan;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use crate::{
    app::random,
    backup, config,
    http::tls::{Lifetime, Shown},
    node::Node,
};
use answers::{Answers, Challenges};
use figures::Figures;
use kept::{Certificate, Folder};
use order::Failure;
use plan::Tries;

pub(crate) use answers::PROTOCOL;
pub(crate) use figures::{Standing, View};

/// The longest sleep until the time of day is looked at again: it may be set, and machines rest.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Asks for certificates. A cheap handle.
#[derive(Clone)]
pub(crate) struct Acme(Arc<Inner>);

struct Inner {
    settings: config::Acme,
    folder: Folder,
    challenges: Challenges,
    figures: Figures,
    /// What the next attempt goes by, as it was kept.
    begin: Begin,
    /// An operator wants another attempt now.
    asked: Notify,
}

/// What was kept over a restart.
#[derive(Clone, Copy, Debug, Default)]
struct Begin {
    /// The certificate, if it is the one that is wanted.
    certificate: Option<Lifetime>,
    tries: Tries,
}

impl Acme {
    /// Reads what an earlier run has kept in the data folder, and gives what clients are shown until
    /// there is something newer: the kept certificate, or none at all, which refuses them. `None` if
    /// no certificate is to be asked for.
    pub(crate) fn open(
        settings: &config::Acme,
        data_dir: &Path,
    ) -> Result<Option<(Self, Shown)>, rustls::Error> {
        if settings.domains.is_empty() {
            return Ok(None);
        }
        let folder = Folder::new(data_dir.join(backup::ACME));
        let kept = folder.certificate().unwrap_or_else(|error| {
            tracing::error!(%error, "the certificate of an earlier run cannot be used");
            None
        });
        let is_wanted = |kept: &&Certificate| {
            kept.directory == settings.directory && kept.covers(&settings.domains)
        };
        let begin = Begin {
            certificate: kept.as_ref().filter(is_wanted).map(|kept| kept.lifetime),
            tries: folder.tries(&settings.directory, &settings.domains),
        };
        let acme = Self(Arc::new(Inner {
            settings: settings.clone(),
            folder,
            challenges: Challenges::default(),
            figures: Figures::new(begin.tries),
            begin,
            asked: Notify::new(),
        }));
        let shown = acme.shown(kept.map(|kept| (kept.pair, kept.lifetime)))?;
        Ok(Some((acme, shown)))
    }

    /// How it stands, for operators.
    pub(crate) fn view(&self) -> View {
        self.0.figures.view(&self.0.settings)
    }

    /// Has an attempt that waits after a failure made now.
    pub(crate) fn ask_now(&self) {
        self.0.asked.notify_one();
    }

    /// Asks for certificates whenever one is due, until it is dropped.
    pub(crate) async fn run(self, node: Arc<Node>) {
        let Begin {
            mut certificate,
            mut tries,
        } = self.0.begin;
        loop {
            let due = plan::due(certificate, tries, now());
            self.0.figures.next(due);
            let wait = u64::try_from(due - now()).unwrap_or_default();
            if wait > 0 {
                // Both are cancel-safe.
                let asked = tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY.min(Duration::from_secs(wait))) => false,
                    () = self.0.asked.notified() => true,
                };
                if !(asked && (certificate.is_none() || tries.failures > 0)) {
                    continue;
                }
            }
            tries = tries.failed(now(), random::bytes(), false);
            // Before the attempt: one that ends with the process counts as failed.
            if let Err(failure) = self.keep(tries).await {
                // What cannot be counted is not asked: restarts would hammer the CA.
                tracing::error!(%failure, "the CA is not asked: attempts cannot be counted");
                self.0.figures.failed(tries.failures, failure.to_string());
                continue;
            }
            match self.attempt(&node).await {
                Ok(lifetime) => {
                    certificate = Some(lifetime);
                    tries = Tries::issued(lifetime, now());
                    self.0.figures.issued();
                }
                Err(failure) => {
                    if failure.is_limit() {
                        tries = tries.failed(now(), random::bytes(), true);
                    }
                    let seconds = tries.next - now();
                    tracing::error!(
                        %failure,
                        failures = tries.failures,
                        "no certificate from the CA; asked again in {seconds} s, or at a reload"
                    );
                    self.0.figures.failed(tries.failures, failure.to_string());
                }
            }
            if let Err(failure) = self.keep(tries).await {
                tracing::warn!(%failure, "what came of it cannot be kept");
            }
        }
    }

    /// Gets a certificate, keeps it and shows it.
    async fn attempt(&self, node: &Node) -> Result<Lifetime, Failure> {
        let Inner {
            settings,
            folder,
            challenges,
            ..
        } = &*self.0;
        tracing::info!(domains = ?settings.domains, directory = settings.directory, "asking the CA");
        let issued = order::obtain(settings, folder, challenges).await?;
        let lifetime = issued.lifetime;
        let shown = self.shown(Some((issued.pair, lifetime)))?;
        node.show_certificate(shown);
        let (expires, renewal) = (lifetime.until, plan::renewal(lifetime));
        tracing::info!(
            domains = ?settings.domains, expires, renewal,
            "the CA has issued a certificate, which is shown"
        );
        Ok(lifetime)
    }

    fn shown(
        &self,
        certificate: Option<(Arc<CertifiedKey>, Lifetime)>,
    ) -> Result<Shown, rustls::Error> {
        let (pair, lifetime) = certificate.unzip();
        let answers = Answers::new(pair, self.0.challenges.clone());
        Shown::answering(Arc::new(answers), PROTOCOL, lifetime)
    }

    /// Keeps what the next run needs, so that restarts do not hammer the CA.
    async fn keep(&self, tries: Tries) -> Result<(), Failure> {
        let acme = self.clone();
        let kept = order::on_disk(move || {
            let settings = &acme.0.settings;
            let folder = &acme.0.folder;
            folder.keep_tries(&settings.directory, &settings.domains, tries)
        });
        Ok(kept.await?)
    }
}

/// What is there of a certificate from a CA, for who looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// When the kept certificate is valid.
    pub(crate) lifetime: Option<Lifetime>,
    /// Attempts that have failed in a row.
    pub(crate) failures: u32,
    /// Why it cannot be used, if it cannot.
    pub(crate) unusable: Option<String>,
}

/// Looks at what is kept in a data folder. Waits for the disk.
pub(crate) fn kept(settings: &config::Acme, data_dir: &Path) -> Kept {
    let folder = Folder::new(data_dir.join(backup::ACME));
    let (lifetime, unusable) = match folder.certificate() {
        Ok(kept) => (kept.map(|kept| kept.lifetime), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Kept {
        lifetime,
        failures: folder
            .tries(&settings.directory, &settings.domains)
            .failures,
        unusable,
    }
}

/// The time of day, Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
