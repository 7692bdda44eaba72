//! What a TLS handshake is answered with: the certificate, or the proof that a CA looks for.

use std::{collections::BTreeMap, sync::Arc};

use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::order::Failure;
use crate::live::Live;

/// The application protocol of TLS-ALPN-01, by which a CA says what it has come for (RFC 8737, 6.2).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// Proofs that a CA may look for now, by domain. A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct Challenges(Live<BTreeMap<String, Arc<CertifiedKey>>>);

impl Default for Challenges {
    fn default() -> Self {
        Self(Live::new(BTreeMap::new()))
    }
}

/// Takes the proofs away again when it is dropped.
pub(super) struct Proving<'a>(&'a Challenges);

impl Challenges {
    /// Begins an order. There is one at a time.
    pub(super) fn begin(&self) -> Proving<'_> {
        Proving(self)
    }
}

impl Proving<'_> {
    /// Shows a domain's proof to whoever comes for it.
    pub(super) fn show(&self, domain: &str, key: &KeyAuthorization) -> Result<(), Failure> {
        let proof = Arc::new(proof(domain, key.digest().as_ref())?);
        let mut proofs = BTreeMap::clone(&self.0.0.now());
        proofs.insert(domain.to_ascii_lowercase(), proof);
        self.0.0.replace(proofs);
        Ok(())
    }
}

impl Drop for Proving<'_> {
    fn drop(&mut self) {
        self.0.0.replace(BTreeMap::new());
    }
}

/// A certificate that says that this node knows the challenge (RFC 8737, 3).
fn proof(domain: &str, digest: &[u8]) -> Result<CertifiedKey, Failure> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let chain = vec![certificate.der().clone()];
    let keys = ring::default_provider().key_provider;
    // Not compared with the certificate, which has an extension that webpki knows nothing of.
    Ok(CertifiedKey::new(chain, keys.load_private_key(key.into())?))
}

/// Chooses what to answer.
#[derive(Debug)]
pub(super) struct Answers {
    /// The node's certificate; without one clients are refused.
    own: Option<Arc<CertifiedKey>>,
    challenges: Challenges,
}

impl Answers {
    pub(super) fn new(own: Option<Arc<CertifiedKey>>, challenges: Challenges) -> Self {
        Self { own, challenges }
    }
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = hello.alpn().into_iter().flatten();
        // A CA asks for nothing else.
        if protocols.next() == Some(PROTOCOL) && protocols.next().is_none() {
            let domain = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.0.now().get(&domain).cloned();
        }
        self.own.clone()
    }
}
