//! API keys: `tk_<id>_<secret>`, of which only the argon2id hash is kept.
//!
//! The first use of a key pays for the hash; from then on the SHA-256 of the secret is remembered
//! and compared in constant time, so a wrong secret for a key in use costs next to nothing. For a
//! key not yet used, one check runs at a time and only a few wrong ones are made in a
//! minute.

mod scopes;

use crate::app::accounts::{AccountError, rfc3339};
use crate::app::limits::RetryAfter;
use crate::app::passwords::Passwords;
use crate::app::random;
use crate::app::window::{SlidingWindow, Verdict};
use crate::live::Live;
pub use scopes::{Scope, Scopes};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;
use tidings_storage::{ApiKey, Store};

const PREFIX: &str = "tk_";
/// 59 random bits: keys do not meet by chance.
const ID_LEN: usize = 10;
/// 190 random bits.
const SECRET_LEN: usize = 32;
const MAX_NAME: usize = 128;
/// How many wrong secrets are hashed for one key in a minute.
const CHECKS_PER_MINUTE: u32 = 10;
/// The id of the key that the configuration brings.
const CONFIGURED: &str = "configured";

/// The API keys of this node; a cheap handle.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    store: Store,
    passwords: Passwords,
    /// The configured key, if there is one.
    configured: Live<Option<Fingerprint>>,
    known: Mutex<Known>,
    /// Held while a secret is hashed: those who come with the same key meanwhile find it
    /// remembered.
    slow: tokio::sync::Mutex<()>,
}

/// What is remembered of stored keys, and so no larger than their number.
#[derive(Default)]
struct Known {
    /// Keys that have been used.
    verified: HashMap<String, (Fingerprint, Caller)>,
    /// Checks of keys that have not.
    checks: HashMap<String, SlidingWindow>,
}

/// The SHA-256 of a secret with so many random bits that nobody can go back from it.
type Fingerprint = [u8; 32];

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's id: for logs, where the key itself must not be.
    pub key: Arc<str>,
    /// What the key may do.
    pub scopes: Scopes,
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// There is no such key.
    #[error("the API key is missing, wrong or revoked")]
    Unauthorized,
    /// The key may do other things, but not this.
    #[error("the API key lacks the scope `{0}`")]
    Forbidden(Scope),
    /// Too many wrong keys were tried.
    #[error("too many wrong API keys: {0}")]
    Limited(RetryAfter),
    /// It cannot be told now.
    #[error("the API key cannot be checked: {0}")]
    Unavailable(AccountError),
}

/// A stored key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// What to revoke it by.
    pub id: String,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, as RFC 3339.
    pub created: String,
}

/// A new key: the only time that it can be seen.
pub struct NewKey {
    /// What the caller sends: `tk_<id>_<secret>`.
    pub token: String,
    /// The rest of it.
    pub view: KeyView,
}

impl Keys {
    /// The keys in `store`, and one that the configuration brings, which has all scopes.
    pub fn new(store: Store, passwords: Passwords, configured: Option<&str>) -> Self {
        Self(Arc::new(Inner {
            store,
            passwords,
            configured: Live::new(configured.map(fingerprint)),
            known: Mutex::default(),
            slow: tokio::sync::Mutex::new(()),
        }))
    }

    /// Whose key this is.
    pub async fn verify(&self, token: &str, now_ms: u64) -> Result<Caller, KeyRefusal> {
        if self.is_configured(token) {
            return Ok(Caller {
                key: CONFIGURED.into(),
                scopes: Scopes::ALL,
            });
        }
        let (id, secret) = split(token).ok_or(KeyRefusal::Unauthorized)?;
        if let Some(judged) = self.recall(id, secret) {
            return judged;
        }
        let _slow = self.0.slow.lock().await;
        match self.recall(id, secret) {
            Some(judged) => judged,
            None => self.check(id, secret, now_ms).await,
        }
    }

    /// Replaces the key that the configuration brings: the one before lets nobody in any more.
    pub fn replace_configured(&self, token: Option<&str>) {
        self.0.configured.replace(token.map(fingerprint));
    }

    fn is_configured(&self, token: &str) -> bool {
        let configured = self.0.configured.now();
        let right = |right: &Fingerprint| same(right, &fingerprint(token));
        configured.as_ref().as_ref().is_some_and(right)
    }

    /// Makes a key.
    pub async fn create(
        &self,
        name: &str,
        scopes: Scopes,
        now_ms: u64,
    ) -> Result<NewKey, AccountError> {
        check_name(name)?;
        if scopes == Scopes::NONE {
            let allowed = "one or more of emit, read and admin";
            return Err(AccountError::Invalid {
                what: "the scopes of a key",
                allowed,
            });
        }
        let (id, secret) = (random::base62(ID_LEN), random::base62(SECRET_LEN));
        let key = ApiKey {
            hash: self.0.passwords.hash(&secret).await?,
            name: name.to_owned(),
            scopes: scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            created_ms: now_ms,
            id,
        };
        let token = format!("{PREFIX}{}_{secret}", key.id);
        let view = KeyView::from(&key);
        self.0.store.put_key(key).await?;
        Ok(NewKey { token, view })
    }

    /// The stored keys, ordered by id.
    pub async fn list(&self) -> Result<Vec<KeyView>, AccountError> {
        Ok(self
            .0
            .store
            .keys()
            .await?
            .iter()
            .map(KeyView::from)
            .collect())
    }

    /// Ends a key: once this returns, it lets nobody in.
    pub async fn revoke(&self, id: &str) -> Result<(), AccountError> {
        let deleted = is_id(id) && self.0.store.delete_key(id).await?;
        self.forget(id);
        if deleted {
            Ok(())
        } else {
            Err(AccountError::NotFound("key"))
        }
    }

    /// What is known without hashing; nothing of a key that has not been used.
    fn recall(&self, id: &str, secret: &str) -> Option<Result<Caller, KeyRefusal>> {
        let known = self.known();
        let (right, caller) = known.verified.get(id)?;
        let right = same(right, &fingerprint(secret));
        Some(if right {
            Ok(caller.clone())
        } else {
            Err(KeyRefusal::Unauthorized)
        })
    }

    async fn check(&self, id: &str, secret: &str, now_ms: u64) -> Result<Caller, KeyRefusal> {
        let key = self.stored(id).await?;
        self.count_check(id, now_ms)?;
        let right = self.0.passwords.verify(secret, Some(&key.hash)).await;
        if !right.map_err(|error| KeyRefusal::Unavailable(error.into()))? {
            return Err(KeyRefusal::Unauthorized);
        }
        let caller = Caller {
            key: id.into(),
            scopes: Scopes::from_names(&key.scopes),
        };
        self.remember(id, secret, caller.clone());
        // Revoked meanwhile, it may have been forgotten before it was remembered.
        self.stored(id).await.inspect_err(|_| self.forget(id))?;
        Ok(caller)
    }

    async fn stored(&self, id: &str) -> Result<ApiKey, KeyRefusal> {
        let stored = self.0.store.key(id).await;
        let stored = stored.map_err(|error| KeyRefusal::Unavailable(error.into()))?;
        stored.ok_or(KeyRefusal::Unauthorized)
    }

    fn count_check(&self, id: &str, now_ms: u64) -> Result<(), KeyRefusal> {
        let mut known = self.known();
        let window = known.checks.entry(id.to_owned()).or_default();
        match window.hit(now_ms, CHECKS_PER_MINUTE) {
            Verdict::Allowed { .. } => Ok(()),
            Verdict::Refused { retry_after } => Err(KeyRefusal::Limited(RetryAfter(retry_after))),
        }
    }

    fn remember(&self, id: &str, secret: &str, caller: Caller) {
        let mut known = self.known();
        known.checks.remove(id);
        known
            .verified
            .insert(id.to_owned(), (fingerprint(secret), caller));
    }

    fn forget(&self, id: &str) {
        let mut known = self.known();
        known.checks.remove(id);
        known.verified.remove(id);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// Lets the caller on only with a scope.
    pub fn require(&self, scope: Scope) -> Result<(), KeyRefusal> {
        if self.scopes.contains(scope) {
            Ok(())
        } else {
            Err(KeyRefusal::Forbidden(scope))
        }
    }
}

impl KeyRefusal {
    /// The code for an answer over HTTP.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::Limited(_) => "rate_limited",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden(_) => 403,
            Self::Limited(_) => 429,
            Self::Unavailable(_) => 503,
        }
    }
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            scopes: Scopes::from_names(&key.scopes),
            created: rfc3339(key.created_ms),
        }
    }
}

fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    (is_id(id) && secret.len() == SECRET_LEN).then_some((id, secret))
}

fn is_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let legal =
        !name.is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control);
    let allowed = "1 to 128 characters without control characters";
    if legal {
        Ok(())
    } else {
        Err(AccountError::Invalid {
            what: "the name of a key",
            allowed,
        })
    }
}

fn fingerprint(secret: &str) -> Fingerprint {
    Sha256::digest(secret).into()
}

fn same(one: &Fingerprint, other: &Fingerprint) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests;
