//! A certificate authority for one test, and clients that trust it alone.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
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
    trust: Trust,
}

impl Certificate {
    /// Makes one that is valid for a very long time.
    pub fn new() -> Certificate {
        Certificate::with(|_| {})
    }

    /// Makes one that is valid until so many days from now, and has been since so many days ago.
    pub fn of_days(ago: u32, left: u32) -> Certificate {
        Certificate::between(-i64::from(ago), left.into())
    }

    /// Makes one that is valid between these, in days from now.
    pub fn between(from: i64, until: i64) -> Certificate {
        let now = std::time::SystemTime::now();
        let day = |count: i64| {
            let seconds = std::time::Duration::from_secs(count.unsigned_abs() * 86_400);
            match count < 0 {
                true => now - seconds,
                false => now + seconds,
            }
        };
        Certificate::with(|params| {
            params.not_before = day(from).into();
            params.not_after = day(until).into();
        })
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
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
        let mut params = CertificateParams::new(names).expect("legal names");
        change(&mut params);
        let server = params
            .signed_by(&key, &authority)
            .expect("a sound certificate");
        Certificate {
            chain: server.pem(),
            key: key.serialize_pem(),
            authority: authority.pem(),
            trust: Trust::new(&authority.pem()),
        }
    }

    /// A TLS stream to `address`; panics if the handshake fails.
    pub async fn connect(&self, address: &str) -> Box<dyn Stream> {
        let connected = self.trust.connect(address).await;
        let (stream, _) = connected.unwrap_or_else(|e| panic!("no TLS with {address}: {e}"));
        stream
    }

    /// Clients that trust its authority.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
}

impl Default for Certificate {
    fn default() -> Certificate {
        Certificate::new()
    }
}

/// Trusts one authority and nobody else.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the authority in this PEM text.
    pub fn new(authority: &str) -> Trust {
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("it is PEM");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("a sound certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trust(Arc::new(client))
    }

    /// A TLS stream to `localhost` at this address, and the certificate that it shows.
    pub async fn connect(&self, address: &str) -> io::Result<(Box<dyn Stream>, Vec<u8>)> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").expect("a legal name");
        let connector = TlsConnector::from(self.0.clone());
        let stream = connector.connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let leaf = chain.expect("a server shows one")[0].to_vec();
        Ok((Box::new(stream), leaf))
    }
}
