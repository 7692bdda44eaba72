//! TLS for the listeners: certificate and key from PEM files, or as a CA gives them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ResolvesServerCert, WantsServerCert},
};
use tokio_rustls::TlsAcceptor;
use x509_parser::{certificate::X509Certificate, x509::X509Version};

use crate::config::Tls;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is no PEM, or not what it is to be.
    #[error("{key} = {path:?} cannot be used: {reason}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is of another version of X.509 than 3.
    #[error("tls.cert is an X.509 certificate of version {0}, and TLS takes version 3 alone")]
    Version(u32),
    /// Certificate and key do not go together.
    #[error("tls.cert and tls.key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// When a certificate is valid, unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Lifetime {
    /// Whether it has begun and has not ended.
    pub fn holds(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// That of a certificate.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        }
    }
}

/// A certificate that can be shown.
#[derive(Clone)]
pub struct Shown {
    /// Accepts TLS with it.
    pub acceptor: TlsAcceptor,
    /// When it is valid; `None` if there is none yet, or if that cannot be read.
    pub lifetime: Option<Lifetime>,
    /// The files it was read from.
    pub files: Marks,
}

impl Shown {
    /// What `answers` chooses for each client, of whom some speak another protocol than HTTP.
    pub(crate) fn answering(
        answers: Arc<dyn ResolvesServerCert>,
        protocol: &[u8],
        lifetime: Option<Lifetime>,
    ) -> Result<Self, rustls::Error> {
        let mut config = builder()?.with_cert_resolver(answers);
        config.alpn_protocols = vec![HTTP.to_vec(), protocol.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            lifetime,
            files: Marks::NONE,
        })
    }
}

/// What clients speak, as TLS calls it.
const HTTP: &[u8] = b"http/1.1";

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth())
}

/// What tells a renewed file from the one before, for certificate and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks([Option<(u64, u64, i64, i64)>; 2]);

impl Marks {
    /// Those of a certificate that is in no file.
    const NONE: Self = Self([None; 2]);

    /// The files as they are now.
    pub fn of(tls: &Tls) -> Self {
        let mark = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
        };
        Self([mark(&tls.cert), mark(&tls.key)])
    }
}

/// What operators see of the certificates that were shown.
#[derive(Debug, Default)]
pub struct Figures {
    renewals: AtomicU64,
    failures: AtomicU64,
    unusable: AtomicBool,
}

impl Figures {
    /// Another one is shown.
    pub fn renewed(&self) {
        self.mended();
        self.renewals.fetch_add(1, Relaxed);
    }

    /// Another one was there and cannot be shown.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
        self.unusable.store(true, Relaxed);
    }

    /// The files hold what is shown.
    pub fn mended(&self) {
        self.unusable.store(false, Relaxed);
    }

    /// Whether the files hold something that cannot be shown.
    pub fn is_unusable(&self) -> bool {
        self.unusable.load(Relaxed)
    }

    /// How many were shown since the start, the first included, and how many could not be.
    pub fn counts(&self) -> (u64, u64) {
        (self.renewals.load(Relaxed), self.failures.load(Relaxed))
    }
}

/// The authorities that a PEM file names.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, String> {
    // Whatever else it is may never come to an end.
    if file.exists() && !file.is_file() {
        return Err("it must be a PEM file".to_owned());
    }
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| format!("it cannot be read as PEM: {error}"))?;
    let mut roots = RootCertStore::empty();
    for root in found {
        let added = roots.add(root);
        added.map_err(|error| format!("a certificate in it is none: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it; PEM is wanted".to_owned());
    }
    Ok(roots)
}

/// Reads the configured certificate; `None` if there is none.
pub fn acceptor(tls: Option<&Tls>) -> Result<Option<Shown>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
    // Before they are read: a change in between shall be seen as one.
    let files = Marks::of(tls);
    let file = |key, path: &Path, reason: String| TlsError::File {
        key,
        path: path.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file("tls.cert", &tls.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(file(
            "tls.cert",
            &tls.cert,
            "there is no certificate in it".to_owned(),
        ));
    }
    let leaf = x509_parser::parse_x509_certificate(&chain[0]);
    // One that this parser cannot read may still do.
    let leaf = leaf
        .ok()
        .map(|(_, leaf)| (leaf.version, Lifetime::of(&leaf)));
    if let Some((version, _)) = leaf
        && version != X509Version::V3
    {
        return Err(TlsError::Version(version.0 + 1));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| file("tls.key", &tls.key, error.to_string()))?;
    let mut config = builder()?.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok(Some(Shown {
        acceptor,
        lifetime: leaf.map(|(_, lifetime)| lifetime),
        files,
    }))
}
