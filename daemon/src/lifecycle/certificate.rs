//! Whether the certificate's files have been renewed: looked at now and then, as whoever renews them
//! may not know how to say so.

use std::time::{Duration, Instant};

use crate::{
    config::Tls,
    http::tls::{self, Marks, Shown, TlsError},
    live::Live,
    node::Node,
};

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long files that cannot be used may be half written before the log says so.
const HALF_WRITTEN: Duration = Duration::from_secs(12);

/// How long a disk may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// What is known of files that cannot be used.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// As they are, since when, and whether that was said.
    failed: Option<(Marks, Instant, bool)>,
}

impl Files {
    /// Shows what the files hold if they have changed. What cannot be used is tried again with each
    /// look, and the old certificate stays.
    pub(super) async fn look(&mut self, tls: Option<&Tls>, node: &Node) {
        let (Some(tls), Some(shown)) = (tls.cloned(), &node.tls) else {
            return;
        };
        let before = shown.now().files;
        let read = tokio::task::spawn_blocking(move || {
            let found = Marks::of(&tls);
            (found != before).then(|| (found, tls::acceptor(Some(&tls))))
        });
        // A disk that hangs is looked at again; the thread that waits for it is one of many.
        let Ok(Ok(changed)) = tokio::time::timeout(DEADLINE, read).await else {
            return;
        };
        let Some((found, read)) = changed else {
            self.failed = None;
            node.certificate.mended();
            return;
        };
        match read {
            Ok(Some(renewed)) => {
                self.failed = None;
                show(node, renewed, shown);
            }
            Ok(None) => {}
            Err(error) => self.cannot(found, &error, node),
        }
    }

    fn cannot(&mut self, found: Marks, error: &TlsError, node: &Node) {
        let (since, mut said) = match self.failed {
            Some((marks, since, said)) if marks == found => (since, said),
            _ => (Instant::now(), false),
        };
        if !said && since.elapsed() >= HALF_WRITTEN {
            said = true;
            node.certificate.failed();
            tracing::error!(%error, "the renewed certificate cannot be used; the old one is shown");
        }
        self.failed = Some((found, since, said));
    }
}

fn show(node: &Node, renewed: Shown, shown: &Live<Shown>) {
    let (starts, expires) = renewed.lifetime.map(|it| (it.from, it.until)).unzip();
    node.certificate.renewed();
    shown.replace(renewed);
    tracing::info!(
        starts,
        expires,
        "the certificate's files have changed; the new one is shown"
    );
    warn_if_bare(node);
}

/// Tells the log that clients will refuse what they are shown, or are shown nothing.
pub(super) fn warn_if_bare(node: &Node) {
    if node.is_bare() {
        tracing::warn!(
            "there is no certificate that is valid now: clients cannot connect over TLS"
        );
    }
}
