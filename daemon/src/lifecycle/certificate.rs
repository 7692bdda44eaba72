//! Whether the certificate's files have been renewed: looked at now and then, as whoever renews them
//! may not know how to say so.

use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use tokio_rustls::TlsAcceptor;

use crate::{
    config::Tls,
    http::tls::{self, TlsError},
    node::Node,
};

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long files that cannot be used may be half written before the log says so.
const HALF_WRITTEN: Duration = Duration::from_secs(12);

/// How long a disk may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// What tells a renewed file from the one before, for certificate and key.
type Marks = [Option<(u64, u64, i64, i64)>; 2];

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Those whose certificate is shown.
    shown: Option<Marks>,
    /// Those that could not be used, since when, and whether that was said.
    failed: Option<(Marks, Instant, bool)>,
}

impl Files {
    /// Notes the files as they are: what they hold is shown.
    pub(super) fn taken(&mut self, tls: Option<&Tls>) {
        self.shown = tls.map(marks);
        self.failed = None;
    }

    /// Shows what the files hold if they have changed. What cannot be used is tried again with each
    /// change, and the old certificate stays.
    pub(super) async fn look(&mut self, tls: Option<&Tls>, node: &Node) {
        let (Some(tls), Some(shown)) = (tls.cloned(), &node.tls) else {
            return;
        };
        let before = self.shown;
        let read = tokio::task::spawn_blocking(move || {
            let found = marks(&tls);
            (Some(found) != before).then(|| (found, tls::acceptor(Some(&tls))))
        });
        // A disk that hangs is looked at again; the thread that waits for it is one of many.
        let Ok(Ok(Some((found, read)))) = tokio::time::timeout(DEADLINE, read).await else {
            return;
        };
        match read {
            Ok(Some(acceptor)) => {
                self.shown = Some(found);
                self.failed = None;
                show(node, acceptor, shown);
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

fn show(node: &Node, acceptor: tls::Shown, shown: &crate::live::Live<TlsAcceptor>) {
    node.certificate.renewed(acceptor.expires);
    shown.replace(acceptor.acceptor);
    tracing::info!(
        expires = acceptor.expires,
        "the certificate's files have changed; the new one is shown"
    );
}

fn marks(tls: &Tls) -> Marks {
    let mark = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
    };
    [mark(&tls.cert), mark(&tls.key)]
}
