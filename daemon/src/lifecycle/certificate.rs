//! Whether the certificate's files have been renewed: looked at now and then, as whoever renews them
//! may not know how to say so.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::{
    config::Tls,
    http::tls::{self, Marks, Shown, TlsError},
    node::Node,
};

/// How often the files are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long files that cannot be used may be half written before the log says so.
const HALF_WRITTEN: Duration = Duration::from_secs(12);

/// How long a disk may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// What is known of the files.
#[derive(Default)]
pub(super) struct Files {
    /// Those that cannot be used: as they are, since when, and whether that was said.
    failed: Option<(Marks, Instant, bool)>,
    /// They are being read.
    reading: Option<JoinHandle<Option<Read>>>,
}

/// Files that are not those shown, and what is in them.
type Read = (Marks, Result<Option<Shown>, TlsError>);

impl Files {
    /// Shows what the files hold if they have changed. What cannot be used is tried again with each
    /// look, and the old certificate stays.
    pub(super) async fn look(&mut self, tls: Option<&Tls>, node: &Node) {
        let (Some(tls), Some(shown)) = (tls.cloned(), &node.tls) else {
            return;
        };
        let before = shown.now().files;
        let read = self.reading.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || {
                let found = Marks::of(&tls);
                (found != before).then(|| (found, tls::acceptor(Some(&tls))))
            })
        });
        // Where a disk hangs one thread waits for it, however often it is looked at.
        let Ok(read) = tokio::time::timeout(DEADLINE, read).await else {
            return;
        };
        self.reading = None;
        let Ok(changed) = read else { return };
        let Some((found, read)) = changed else {
            self.failed = None;
            node.certificate.mended();
            return;
        };
        match read {
            Ok(Some(renewed)) => {
                self.failed = None;
                show(node, renewed);
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

fn show(node: &Node, renewed: Shown) {
    let (starts, expires) = renewed.lifetime.map(|it| (it.from, it.until)).unzip();
    tracing::info!(
        starts,
        expires,
        "the certificate's files have changed; the new one is shown"
    );
    node.show_certificate(renewed);
}
