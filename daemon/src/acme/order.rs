//! One certificate from the CA: account, order, proof, certificate (RFC 8555, 7.1).

use std::{io, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::{
    answers::{Challenges, Proving},
    https::Https,
    kept::{self, Certificate, Folder, Unusable},
};
use crate::config;

/// The longest time from the first request to the certificate.
const DEADLINE: Duration = Duration::from_secs(180);

/// How long the CA may take to look at a proof, or to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));

/// How long a disk may take.
const DISK: Duration = Duration::from_secs(10);

/// Why there is no certificate. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The CA does not answer, or says no.
    #[error(transparent)]
    Ca(#[from] instant_acme::Error),
    /// The CA did not see the proof.
    #[error("the CA could not see that {domain} leads here: {why}")]
    NotProved {
        domain: String,
        /// What the CA says.
        why: String,
    },
    /// The CA knows no way that this node can go.
    #[error("the CA offers no TLS-ALPN-01 for {0}")]
    NoChallenge(String),
    /// It took too long.
    #[error("it took longer than {DEADLINE:?}")]
    Late,
    /// What the CA sent cannot be shown.
    #[error("the CA's certificate cannot be used: {0}")]
    Unusable(#[from] Unusable),
    /// What the CA sent is for other names.
    #[error("the CA's certificate is not for all of the domains")]
    OtherNames,
    /// A key or a certificate of this node's own could not be made.
    #[error("a key could not be made: {0}")]
    Key(#[from] rcgen::Error),
    /// What was made cannot be shown.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Nobody can vouch for the CA.
    #[error("acme.ca cannot be used: {0}")]
    Authorities(String),
    /// What must be kept could not be.
    #[error("the data folder: {0}")]
    Disk(#[from] io::Error),
}

impl Failure {
    /// Whether the CA says that there were too many attempts.
    pub(super) fn is_limit(&self) -> bool {
        self.is_problem("rateLimited")
    }

    fn is_problem(&self, name: &str) -> bool {
        match self {
            Self::Ca(instant_acme::Error::Api(problem)) => {
                let kind = problem.r#type.as_deref().unwrap_or_default();
                kind.rsplit(':').next() == Some(name)
            }
            _ => false,
        }
    }
}

/// Gets a certificate and keeps it, if the disk lets it.
pub(super) async fn obtain(
    settings: &config::Acme,
    folder: &Folder,
    challenges: &Challenges,
) -> Result<Certificate, Failure> {
    let obtained = tokio::time::timeout(DEADLINE, issue(settings, folder, challenges.begin()));
    let pem = obtained.await.map_err(|_| Failure::Late)??;
    let certificate = Certificate::parse(&settings.directory, &pem)?;
    if !certificate.covers(&settings.domains) {
        return Err(Failure::OtherNames);
    }
    let (folder, directory) = (folder.clone(), settings.directory.clone());
    let kept = on_disk(move || folder.keep_certificate(&directory, &pem)).await;
    if let Err(failure) = kept {
        // A CA gives few of the same: what was given is not thrown away.
        tracing::error!(%failure, "the certificate is not kept; a restart asks for another one");
    }
    Ok(certificate)
}

/// The chain and its key, PEM.
async fn issue(
    settings: &config::Acme,
    folder: &Folder,
    proving: Proving<'_>,
) -> Result<String, Failure> {
    let authorities = settings.ca.clone();
    let https = on_disk(move || Https::new(authorities.as_deref())).await?;
    let mut order = order(settings, folder, &https).await?;
    prove(&mut order, &proving).await?;
    let said = match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => None,
        Ok(_) => Some(instant_acme::Error::Str("the order's reason")),
        // What became of the order, which says less than its parts.
        Err(said @ instant_acme::Error::Api(_)) => Some(said),
        Err(error) => return Err(error.into()),
    };
    if let Some(said) = said {
        return Err(not_proved(&mut order).await.unwrap_or(said.into()));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(chain + &key.serialize_pem())
}

/// An order by the account that was kept, or by a new one if there is none or the CA has forgotten it.
async fn order(settings: &config::Acme, folder: &Folder, https: &Https) -> Result<Order, Failure> {
    let (place, directory) = (folder.clone(), settings.directory.clone());
    if let Some(kept) = on_disk(move || place.account(&directory)).await? {
        let ordered = async {
            let account = kept_account(settings, folder, https, kept).await?;
            new_order(&account, settings).await
        };
        match ordered.await {
            Err(failure) if failure.is_problem("accountDoesNotExist") => {
                tracing::warn!("the CA has forgotten this node's account; another one is made");
            }
            ordered => return ordered,
        }
    }
    let account = new_account(settings, folder, https).await?;
    new_order(&account, settings).await
}

async fn new_order(account: &Account, settings: &config::Acme) -> Result<Order, Failure> {
    let domains = settings.domains.iter().cloned().map(Identifier::Dns);
    let domains: Vec<_> = domains.collect();
    Ok(account.new_order(&NewOrder::new(&domains)).await?)
}

async fn kept_account(
    settings: &config::Acme,
    folder: &Folder,
    https: &Https,
    mut kept: kept::Account,
) -> Result<Account, Failure> {
    let credentials = serde_json::from_value(kept.credentials.clone());
    let credentials = credentials.map_err(instant_acme::Error::from)?;
    let builder = Account::builder_with_http(Box::new(https.clone()));
    let account = builder.from_credentials(credentials).await?;
    if kept.contact != settings.contact {
        let contact = contact(settings);
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await?;
        kept.contact.clone_from(&settings.contact);
        let folder = folder.clone();
        on_disk(move || folder.keep_account(&kept)).await?;
    }
    Ok(account)
}

async fn new_account(
    settings: &config::Acme,
    folder: &Folder,
    https: &Https,
) -> Result<Account, Failure> {
    let contact = contact(settings);
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: settings.terms_agreed,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(Box::new(https.clone()));
    let (account, credentials) = builder
        .create(&new, settings.directory.clone(), None)
        .await?;
    let kept = kept::Account {
        directory: settings.directory.clone(),
        contact: settings.contact.clone(),
        credentials: serde_json::to_value(&credentials).map_err(instant_acme::Error::from)?,
    };
    let folder = folder.clone();
    on_disk(move || folder.keep_account(&kept)).await?;
    Ok(account)
}

fn contact(settings: &config::Acme) -> Vec<String> {
    let mail = settings.contact.iter().map(|mail| format!("mailto:{mail}"));
    mail.collect()
}

/// Shows a proof for each domain that the CA has seen none of lately, and tells the CA.
async fn prove(order: &mut Order, proving: &Proving<'_>) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(Failure::NoChallenge(domain));
        };
        proving.show(&domain, &challenge.key_authorization())?;
        challenge.set_ready().await?;
    }
    Ok(())
}

/// Asks the CA what it did not like.
async fn not_proved(order: &mut Order) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let domain = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let error = state.challenges.iter().find_map(|it| it.error.as_ref());
        if let Some(error) = error {
            let why = error.detail.clone().unwrap_or_else(|| error.to_string());
            return Some(Failure::NotProved { domain, why });
        }
    }
    None
}

/// Does what waits for a disk elsewhere, under a deadline.
pub(super) async fn on_disk<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    let done = tokio::time::timeout(DISK, tokio::task::spawn_blocking(work)).await;
    match done {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(io::Error::other("the node is leaving").into()),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
