//! Who a node is to the others: a short-lived certificate for its name, minted from the cluster's
//! key at start and renewed while it runs, and the TLS settings that ask the same of a peer.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::key::{ClusterKey, KeyError};

/// How long a certificate holds.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// When it is replaced: links made in the meantime live on.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(8 * 3600);
/// How far a peer's clock may be behind ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);
/// The name that every node's certificate has, asked for when it is not known who will answer.
pub(crate) const CLUSTER_NAME: &str = "cluster.tidings.internal";
/// What every handshake agrees on, so that nothing else is taken for a link.
const PROTOCOL: &[u8] = b"tidings-cluster/1";

/// A node's certificate, replaced from time to time.
pub(crate) struct Identity {
    key: ClusterKey,
    node: String,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// Mints the first certificate.
    pub(crate) fn new(key: ClusterKey, node: &str) -> Result<Arc<Self>, KeyError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let minted = mint(&key, node, &provider)?;
        Ok(Arc::new(Self {
            key,
            node: node.to_owned(),
            provider,
            current: RwLock::new(Arc::new(minted)),
        }))
    }

    /// Mints another certificate, for the links to come.
    pub(crate) fn renew(&self) -> Result<(), KeyError> {
        let minted = mint(&self.key, &self.node, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(minted);
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How a node answers: TLS 1.3, and only to whom holds the cluster's key.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, KeyError> {
        let roots = Arc::new(self.key.roots()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|error| KeyError::Certificate(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| KeyError::Certificate(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A resumed session would be trusted for as long as the ticket, not the certificate.
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// How a node dials.
    pub(crate) fn client_config(self: &Arc<Self>) -> Result<ClientConfig, KeyError> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| KeyError::Certificate(error.to_string()))?
            .with_root_certificates(self.key.roots()?)
            .with_client_cert_resolver(self.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// Whether a peer's certificate, already verified against the cluster's key, is for this node.
pub(crate) fn is_for(certificates: &[CertificateDer<'_>], node: &str) -> bool {
    let Some(leaf) = certificates.first() else {
        return false;
    };
    let Ok(name) = ServerName::try_from(node_name(node)) else {
        return false;
    };
    webpki::EndEntityCert::try_from(leaf)
        .is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

/// A node's name as certificates spell it.
fn node_name(node: &str) -> String {
    format!("{node}.node.tidings.internal")
}

fn mint(key: &ClusterKey, node: &str, provider: &CryptoProvider) -> Result<CertifiedKey, KeyError> {
    let failed = |error: rcgen::Error| KeyError::Certificate(error.to_string());
    let signer = key.signer();
    let mut params =
        CertificateParams::new(vec![node_name(node), CLUSTER_NAME.to_owned()]).map_err(failed)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, node);
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + LIFETIME).into();
    let own = KeyPair::generate().map_err(failed)?;
    let issuer = Issuer::from_params(&signer.params, &signer.key);
    let certificate = params.signed_by(&own, &issuer).map_err(failed)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| KeyError::Certificate(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], private))
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_its_node_and_no_other() {
        let key = ClusterKey::from_pem(&ClusterKey::generate().unwrap()).unwrap();
        let identity = Identity::new(key, "gw-1").unwrap();
        let before = identity.current();
        assert!(is_for(&before.cert, "gw-1"));
        assert!(!is_for(&before.cert, "gw-2"));
        assert!(!is_for(&before.cert, ""));
        assert!(!is_for(&[], "gw-1"));
        identity.renew().unwrap();
        let after = identity.current();
        assert_ne!(before.cert, after.cert);
        assert!(is_for(&after.cert, "gw-1"));
    }
}
