//! The folder `acme/` in the data folder: the account, the certificate, and the attempts. Each file is
//! for the daemon's user alone, and is after a power cut what it was or what it is to be.
//!
//! | file | what it is |
//! |---|---|
//! | `account.json` | the account with the CA, with its key |
//! | `certificate.pem` | the CA's address, the chain and its key: one file, so that they go together |
//! | `tries.json` | how many attempts have failed, and when there may be another |
//!
//! All calls wait for the disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::extensions::GeneralName;

use super::plan::Tries;
use crate::http::tls::Lifetime;

const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.pem";
const TRIES: &str = "tries.json";

/// What stands before the address of the CA that has issued a certificate.
const ISSUED_BY: &str = "Issued by ";

/// A certificate that can be shown.
pub(super) struct Certificate {
    pub(super) pair: Arc<CertifiedKey>,
    pub(super) lifetime: Lifetime,
    /// The CA that issued it.
    pub(super) directory: String,
    domains: Vec<String>,
}

/// Why a text is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("chain and key do not go together: {0}")]
    Pair(#[from] rustls::Error),
    #[error("it is no certificate")]
    Certificate,
}

impl Certificate {
    /// Reads chain and key.
    pub(super) fn parse(directory: &str, pem: &str) -> Result<Self, Unusable> {
        let chain =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
        let leaf = chain.first().ok_or(Unusable::Certificate)?;
        let (lifetime, domains) = about(leaf).ok_or(Unusable::Certificate)?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Self {
            pair: Arc::new(pair),
            lifetime,
            directory: directory.to_owned(),
            domains,
        })
    }

    /// Whether it is for all of these.
    pub(super) fn covers(&self, domains: &[String]) -> bool {
        let has = |domain: &String| {
            self.domains
                .iter()
                .any(|it| it.eq_ignore_ascii_case(domain))
        };
        domains.iter().all(has)
    }
}

/// When a certificate is valid, and for which names.
fn about(certificate: &CertificateDer<'_>) -> Option<(Lifetime, Vec<String>)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let lifetime = Lifetime::of(&parsed);
    let names = parsed.subject_alternative_name().ok()??;
    let domains = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
    Some((lifetime, domains.collect()))
}

/// An account with a CA.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    /// The CA.
    pub(super) directory: String,
    pub(super) contact: Vec<String>,
    /// With the key, as the client of ACME writes it.
    pub(super) credentials: Value,
}

#[derive(Serialize, Deserialize)]
struct KeptTries {
    directory: String,
    domains: Vec<String>,
    failures: u32,
    next: i64,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The certificate that was kept, if there is one.
    pub(super) fn certificate(&self) -> Result<Option<Certificate>, Unusable> {
        let Some(pem) = read(&self.0.join(CERTIFICATE))? else {
            return Ok(None);
        };
        let directory = pem.lines().find_map(|line| line.strip_prefix(ISSUED_BY));
        Certificate::parse(directory.unwrap_or_default(), &pem).map(Some)
    }

    /// Keeps a chain and its key.
    pub(super) fn keep_certificate(&self, directory: &str, pem: &str) -> io::Result<()> {
        self.replace(CERTIFICATE, &format!("{ISSUED_BY}{directory}\n{pem}"))
    }

    /// The account with this CA. One that cannot be read is as good as none.
    pub(super) fn account(&self, directory: &str) -> io::Result<Option<Account>> {
        let text = read(&self.0.join(ACCOUNT))?;
        let account: Option<Account> = text.and_then(|it| serde_json::from_str(&it).ok());
        Ok(account.filter(|account| account.directory == directory))
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &Account) -> io::Result<()> {
        self.replace(ACCOUNT, &serde_json::to_string(account)?)
    }

    /// What became of attempts to get this certificate from this CA.
    pub(super) fn tries(&self, directory: &str, domains: &[String]) -> Tries {
        let text = read(&self.0.join(TRIES)).ok().flatten();
        let kept: Option<KeptTries> = text.and_then(|it| serde_json::from_str(&it).ok());
        let same = kept.filter(|kept| kept.directory == directory && kept.domains == domains);
        same.map_or(Tries::default(), |kept| Tries {
            failures: kept.failures,
            next: kept.next,
        })
    }

    /// Keeps what became of them.
    pub(super) fn keep_tries(
        &self,
        directory: &str,
        domains: &[String],
        tries: Tries,
    ) -> io::Result<()> {
        let kept = KeptTries {
            directory: directory.to_owned(),
            domains: domains.to_vec(),
            failures: tries.failures,
            next: tries.next,
        };
        self.replace(TRIES, &serde_json::to_string(&kept)?)
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700).create(&self.0)?;
        // A backup passes over what ends so.
        let new = self.0.join(name).with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn keeps_a_certificate_with_its_ca_for_its_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().join("acme"));
        assert!(folder.certificate().unwrap().is_none());
        let (chain, key) = pem(&["a.example", "B.example"]);
        folder
            .keep_certificate("https://ca/dir", &(chain + &key))
            .unwrap();
        let kept = folder.certificate().unwrap().unwrap();
        assert_eq!(kept.directory, "https://ca/dir");
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert!(kept.covers(&names(&["b.example", "a.example"])));
        assert!(!kept.covers(&names(&["a.example", "c.example"])));
        let mode = |name: &str| {
            let about = fs::metadata(home.path().join(name)).unwrap();
            about.permissions().mode() & 0o777
        };
        assert_eq!((mode("acme"), mode("acme/certificate.pem")), (0o700, 0o600));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((chain, _), (_, key)) = (pem(&["a.example"]), pem(&["a.example"]));
        let parsed = Certificate::parse("", &(chain + &key));
        assert!(matches!(parsed, Err(Unusable::Pair(_))));
    }

    #[test]
    fn attempts_count_for_what_they_were_made_for() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().join("acme"));
        let (one, other) = (vec!["a.example".to_owned()], vec!["b.example".to_owned()]);
        let tries = Tries {
            failures: 3,
            next: 99,
        };
        folder.keep_tries("https://ca", &one, tries).unwrap();
        assert_eq!(folder.tries("https://ca", &one), tries);
        assert_eq!(folder.tries("https://ca", &other), Tries::default());
        assert_eq!(folder.tries("https://other", &one), Tries::default());
    }
}
