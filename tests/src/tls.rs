//! A certificate authority for one test, and clients that trust it alone.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::raw_http::Stream;

/// A chain and key for `localhost` and `127.0.0.1`, with the authority behind them.
pub struct Certificate {
    /// The server's certificate, PEM.
    pub chain: String,
    /// Its private key, PEM.
    pub key: String,
    /// The authority's certificate, PEM, for clients that read files.
    pub authority: String,
    /// Trusts the authority and nobody else.
    client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one.
    pub fn new() -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to refuse");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // OpenSSL takes a certificate whose issuer is named like itself for self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("keys can be made");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a sound certificate");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("keys can be made");
        let server = CertificateParams::new(names)
            .expect("legal names")
            .signed_by(&key, &authority)
            .expect("a sound certificate");
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.der().clone())
            .expect("a sound certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Certificate {
            chain: server.pem(),
            key: key.serialize_pem(),
            authority: authority.pem(),
            client: Arc::new(client),
        }
    }

    /// A TLS stream to `address`; panics if the handshake fails.
    pub async fn connect(&self, address: &str) -> Box<dyn Stream> {
        let stream = TcpStream::connect(address)
            .await
            .unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        let name = ServerName::try_from("localhost").expect("a legal name");
        let connector = TlsConnector::from(self.client.clone());
        Box::new(
            connector
                .connect(name, stream)
                .await
                .unwrap_or_else(|e| panic!("no TLS with {address}: {e}")),
        )
    }
}

impl Default for Certificate {
    fn default() -> Certificate {
        Certificate::new()
    }
}
