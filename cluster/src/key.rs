//! The cluster's key: a private certificate authority in one file. Whoever holds it is of the
//! cluster; nothing else is asked.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use rustls::RootCertStore;

/// What begins a key in its file.
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
/// What ends it.
const END: &str = "-----END PRIVATE KEY-----";

/// Why a key file cannot be used. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key in it.
    #[error("it holds no private key; `tidings cluster key` makes one")]
    Empty,
    /// A key in it cannot be read.
    #[error("key {number} in it cannot be read: {problem}")]
    Unreadable {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(String),
}

/// The cluster's key, or several while one takes another's place: the first signs, all are
/// trusted. A cheap handle; prints without the key itself.
#[derive(Clone)]
pub struct ClusterKey(Arc<Vec<Authority>>);

/// One certificate authority.
pub(crate) struct Authority {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
}

impl ClusterKey {
    /// A new key, as the text of its file.
    pub fn generate() -> Result<String, KeyError> {
        let key = KeyPair::generate().map_err(|error| KeyError::Certificate(error.to_string()))?;
        Ok(key.serialize_pem().replace("\r\n", "\n"))
    }

    /// Reads a key file: one or more private keys in PEM (PKCS #8, ECDSA P-256), text around them
    /// is ignored.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut authorities = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find(BEGIN) {
            let number = authorities.len() + 1;
            let unreadable = |problem: String| KeyError::Unreadable { number, problem };
            let block = &rest[begin..];
            let end = block
                .find(END)
                .ok_or_else(|| unreadable(format!("{END:?} is missing")))?;
            let (pem, after) = block.split_at(end + END.len());
            let key = KeyPair::from_pem(pem).map_err(|error| unreadable(error.to_string()))?;
            authorities.push(Authority::new(key)?);
            rest = after;
        }
        if authorities.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self(Arc::new(authorities)))
    }

    /// The authority that signs.
    pub(crate) fn signer(&self) -> &Authority {
        &self.0[0]
    }

    /// All authorities whose certificates are trusted.
    pub(crate) fn roots(&self) -> Result<RootCertStore, KeyError> {
        let mut roots = RootCertStore::empty();
        for authority in &*self.0 {
            let failed = |error: String| KeyError::Certificate(error);
            let certificate = authority
                .params
                .self_signed(&authority.key)
                .map_err(|error| failed(error.to_string()))?;
            roots
                .add(certificate.der().clone())
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(roots)
    }
}

impl Authority {
    /// The certificate is not kept: all in it but the key is the same everywhere, and what makes
    /// others trust it is the key.
    fn new(key: KeyPair) -> Result<Self, KeyError> {
        let mut params = CertificateParams::new(Vec::new())
            .map_err(|error| KeyError::Certificate(error.to_string()))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.serial_number = Some(SerialNumber::from(1_u64));
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2999, 12, 31);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Tidings cluster");
        params.distinguished_name = name;
        Ok(Self { params, key })
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({} keys, ***)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_read_again() {
        let text = ClusterKey::generate().unwrap();
        let key = ClusterKey::from_pem(&text).unwrap();
        assert_eq!(key.roots().unwrap().len(), 1);
        assert!(!format!("{key:?}").contains(text.lines().nth(1).unwrap()));
    }

    #[test]
    fn two_keys_are_trusted_while_one_replaces_the_other() {
        let (old, new) = (
            ClusterKey::generate().unwrap(),
            ClusterKey::generate().unwrap(),
        );
        let both = format!("# the new key\n{new}\n# the old key\n{old}");
        assert_eq!(
            ClusterKey::from_pem(&both).unwrap().roots().unwrap().len(),
            2
        );
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_number() {
        assert!(matches!(
            ClusterKey::from_pem("hello"),
            Err(KeyError::Empty)
        ));
        let text = ClusterKey::generate().unwrap();
        let cut = format!("{text}\n{BEGIN}\nAAAA\n");
        let error = ClusterKey::from_pem(&cut).unwrap_err();
        assert!(
            matches!(error, KeyError::Unreadable { number: 2, .. }),
            "{error}"
        );
    }
}
