//! Users, their sessions, the admins and the API keys of this node, over the embedded store.
//!
//! What ends a session returns it, so that the caller can close its sockets and tell the other
//! nodes. The caller brings the time, in unix milliseconds.
//!
//! Users, admins and keys are this node's. Sessions are the cluster's: one is also found if another node
//! made it, and remembered as ended until no other node could take it for a good one.
//!
//! **Invariant:** no session that a login made outlives its user or its password: whoever changes
//! either holds `changes` until the sessions are gone, and a login looks again once it holds it.

mod sessions;

use crate::app::admins::Admins;
use crate::app::cookie::Keyring;
use crate::app::keys::Keys;
use crate::app::passwords::{PasswordError, Passwords};
use crate::app::random;
use crate::live::Live;
use crate::relay::{LookError, Relay};
use serde::Serialize;
pub use sessions::{Ended, SessionView};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tidings_storage::{Session, Store, StoreError, User};
use tokio::sync::Mutex;

/// Where the store keeps the secret that signs cookies when none is configured.
const COOKIE_SECRET: &str = "cookie-secret";
/// The end of the year 9999, which is as far as RFC 3339 goes.
const LAST_TIME_MS: u64 = 253_402_300_799_999;
const MAX_NAME: usize = 128;
const MAX_SESSION_ID: usize = 256;

/// What [`Accounts::open`] needs to know.
#[derive(Clone, Default)]
pub struct AccountOptions {
    /// How long a session lasts when nobody says.
    pub session_ttl: Duration,
    /// The secrets of session cookies, the signing one first; none: one is made and kept.
    pub cookie_secrets: Vec<String>,
    /// An API key with all scopes.
    pub api_key: Option<String>,
    /// Whether other nodes may have copies of the sessions.
    pub is_shared: bool,
    /// Finds sessions of other nodes.
    pub relay: Option<Arc<Relay>>,
}

/// Why something was not done. Nothing changed, unless the store failed in between: then doing it
/// again completes it.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// What was asked for cannot be.
    #[error("{what} must be {allowed}")]
    Invalid {
        /// Which part of it.
        what: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// There is no such user, session, key or admin.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// There is one already, and it is not to be replaced.
    #[error("there is such a {0} already")]
    Conflict(&'static str),
    /// The name or the password is wrong; which of them is not said.
    #[error("wrong user name or password")]
    WrongCredentials,
    /// Too much of this is under way; worth trying again.
    #[error("too many requests are being worked on, try again")]
    Busy,
    /// A password could not be hashed or checked.
    #[error("cannot check passwords: {0}")]
    Passwords(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another node may know, and did not say.
    #[error(transparent)]
    Look(LookError),
}

/// A user, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserView {
    /// The name to log in with, and the user id of the sessions.
    pub name: String,
    /// When it was added, as RFC 3339.
    pub created: String,
}

/// The accounts of this node; a cheap handle.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: Store,
    passwords: Passwords,
    keys: Keys,
    admins: Admins,
    keyring: Live<Keyring>,
    session_ttl: Duration,
    is_shared: bool,
    relay: Option<Arc<Relay>>,
    /// Makes read-then-write one step, and keeps logins out while sessions are being ended.
    changes: Mutex<()>,
}

impl Accounts {
    /// Takes up the accounts in `store`. Makes the secret that signs cookies if there is none.
    pub async fn open(store: Store, options: AccountOptions) -> Result<Self, AccountError> {
        let passwords = Passwords::default();
        let keyring = keyring(&store, &options.cookie_secrets).await?;
        Ok(Self(Arc::new(Inner {
            // Whoever floods the public login keeps neither backends nor admins waiting.
            admins: Admins::new(store.clone(), Passwords::apart()),
            keys: Keys::new(
                store.clone(),
                Passwords::apart(),
                options.api_key.as_deref(),
            ),
            store,
            passwords,
            keyring: Live::new(keyring),
            session_ttl: options.session_ttl,
            is_shared: options.is_shared,
            relay: options.relay,
            changes: Mutex::new(()),
        })))
    }

    /// The API keys.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Who may use the admin page.
    pub fn admins(&self) -> &Admins {
        &self.0.admins
    }

    /// What signs and verifies session cookies.
    pub fn keyring(&self) -> &Live<Keyring> {
        &self.0.keyring
    }

    /// The ring of these secrets, for [`Accounts::keyring`] to go by; of the node's own secret, if
    /// there are none.
    pub async fn ring_of(&self, secrets: &[String]) -> Result<Keyring, AccountError> {
        Ok(keyring(&self.0.store, secrets).await?)
    }

    /// Adds a user.
    pub async fn add_user(
        &self,
        name: &str,
        password: &str,
        now_ms: u64,
    ) -> Result<UserView, AccountError> {
        check_user(name)?;
        let password_hash = self.0.passwords.hash(password).await?;
        let _changes = self.0.changes.lock().await;
        if self.0.store.user(name).await?.is_some() {
            return Err(AccountError::Conflict("user"));
        }
        let user = User {
            name: name.to_owned(),
            password_hash,
            created_ms: now_ms,
        };
        self.0.store.put_user(user.clone()).await?;
        Ok(UserView::from(user))
    }

    /// Gives a user another password, and returns the sessions that ended with the old one.
    pub async fn set_password(
        &self,
        name: &str,
        password: &str,
        now_ms: u64,
    ) -> Result<Ended, AccountError> {
        let password_hash = self.0.passwords.hash(password).await?;
        let _changes = self.0.changes.lock().await;
        let user = self
            .user(name)
            .await?
            .ok_or(AccountError::NotFound("user"))?;
        self.0
            .store
            .put_user(User {
                password_hash,
                ..user
            })
            .await?;
        Ok(self.end_all(name, now_ms).await?)
    }

    /// Removes a user, and returns the sessions that ended with it.
    pub async fn remove_user(&self, name: &str, now_ms: u64) -> Result<Ended, AccountError> {
        let _changes = self.0.changes.lock().await;
        self.user(name)
            .await?
            .ok_or(AccountError::NotFound("user"))?;
        // The user last: if the store fails in between, there is still a user to be removed again.
        let ended = self.end_all(name, now_ms).await?;
        self.0.store.delete_user(name).await?;
        Ok(ended)
    }

    /// All users, ordered by name.
    pub async fn users(&self) -> Result<Vec<UserView>, AccountError> {
        Ok(self
            .0
            .store
            .users()
            .await?
            .into_iter()
            .map(UserView::from)
            .collect())
    }

    /// Makes a session for who knows the password. The caller counts the attempt against its limits
    /// first.
    pub async fn login(
        &self,
        name: &str,
        password: &str,
        now_ms: u64,
    ) -> Result<Session, AccountError> {
        let user = self.user(name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        if !self.0.passwords.verify(password, hash).await? {
            return Err(AccountError::WrongCredentials);
        }
        let _changes = self.0.changes.lock().await;
        if self.user(name).await? != user {
            return Err(AccountError::WrongCredentials);
        }
        let session = self.new_session(name, self.0.session_ttl, None, now_ms)?;
        Ok(self.0.store.put_session(session).await?)
    }

    /// An illegal name is that of nobody.
    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        if is_user(name) {
            self.0.store.user(name).await
        } else {
            Ok(None)
        }
    }
}

/// Whether this can be a user id: 1 to 128 characters, none of them a control character. Anything
/// else may be in it, as applications bring the ids they have (e-mail addresses, `auth0|…`); room
/// names take it in as it is.
pub fn is_user(user: &str) -> bool {
    !user.is_empty() && user.chars().count() <= MAX_NAME && !user.chars().any(char::is_control)
}

/// Whether this can be a session id: 1 to 256 printable ASCII characters.
pub fn is_session_id(id: &str) -> bool {
    let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    (1..=MAX_SESSION_ID).contains(&id.len()) && id.bytes().all(printable)
}

/// A time as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms.min(LAST_TIME_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

pub(in crate::app) fn check_user(user: &str) -> Result<(), AccountError> {
    let allowed = "1 to 128 characters without control characters";
    if is_user(user) {
        Ok(())
    } else {
        Err(AccountError::Invalid {
            what: "a user",
            allowed,
        })
    }
}

async fn keyring(store: &Store, secrets: &[String]) -> Result<Keyring, StoreError> {
    match Keyring::new(secrets) {
        Some(keyring) => Ok(keyring),
        None => own_keyring(store).await,
    }
}

/// The secret of a node that was given none, so that its cookies outlive a restart.
async fn own_keyring(store: &Store) -> Result<Keyring, StoreError> {
    let secret = match store.meta(COOKIE_SECRET).await? {
        Some(secret) => secret,
        None => {
            let secret = random::bytes::<32>().to_vec();
            store.put_meta(COOKIE_SECRET, secret.clone()).await?;
            secret
        }
    };
    Ok(Keyring::new([secret]).expect("one secret makes a ring"))
}

impl AccountError {
    /// The code for an answer over HTTP or the command line.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_params",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::WrongCredentials => "invalid_credentials",
            Self::Busy | Self::Store(_) | Self::Look(_) => "unavailable",
            Self::Passwords(_) => "internal",
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid { .. } => 400,
            Self::NotFound(_) => 404,
            Self::Conflict(_) => 409,
            Self::WrongCredentials => 401,
            Self::Busy | Self::Store(_) | Self::Look(_) => 503,
            Self::Passwords(_) => 500,
        }
    }
}

impl From<PasswordError> for AccountError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Short | PasswordError::Length => Self::Invalid {
                what: "a password",
                allowed: "1 to 1024 bytes long",
            },
            PasswordError::Hash(error) => Self::Passwords(error.to_string()),
        }
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            created: rfc3339(user.created_ms),
        }
    }
}

#[cfg(test)]
mod tests;
