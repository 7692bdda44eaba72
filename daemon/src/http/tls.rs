//! TLS for the listeners: certificate and key from PEM files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{key} = {path:?} cannot be read: {reason}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not go together.
    #[error("tls.cert and tls.key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// Accepts TLS with the configured certificate; `None` if there is none.
pub fn acceptor(tls: Option<&Tls>) -> Result<Option<TlsAcceptor>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
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
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| file("tls.key", &tls.key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
