//! TLS for clients.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem, pem::PemObject},
};
use thiserror::Error;

/// What all clients need to speak TLS with the server.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The authorities cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The text is not PEM.
    #[error("cannot read the authorities: {0}")]
    Pem(#[from] pem::Error),
    /// There is no certificate in it, or one that is not sound.
    #[error("cannot use the authorities: {0}")]
    Rustls(#[from] rustls::Error),
    /// The PEM text holds no certificate.
    #[error("the authorities' file holds no certificate")]
    Empty,
}

impl Tls {
    /// Trusts the certificates in `authorities` (PEM), one of which must vouch for the address that
    /// clients connect to. Every client shakes hands in full, as if it had never been here.
    pub fn new(authorities: &[u8], target: SocketAddr) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Empty);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::IpAddress(target.ip().into()),
        })
    }

    /// One client's side of TLS.
    pub(super) fn connection(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(self.config.clone(), self.name.clone()).map_err(io::Error::other)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_must_be_certificates() {
        let target = "127.0.0.1:1".parse().unwrap();
        assert!(matches!(Tls::new(b"", target), Err(TlsError::Empty)));
        let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Tls::new(broken, target), Err(TlsError::Pem(_))));
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Tls::new(certificate.cert.pem().as_bytes(), target).unwrap();
    }
}
