//! The people who may use the admin page: accounts with a password, sessions in memory, and locks
//! against guessing.
//!
//! Accounts are this node's, as users and keys are: whoever may reach one node's private listener
//! need not be let in by another's. Sessions and locks are in memory, so a restart ends all of
//! them. A name that nobody has costs the same work, is locked in the same way and is answered in
//! the same words as one that somebody has.
//!
//! **Invariant:** no session outlives its account or the password it was opened with: a change ends
//! them after it is stored, and a login looks again once its session is there.

mod locks;
mod sessions;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_storage::{Store, StoreError, User};

use super::accounts::{AccountError, UserView, check_user, is_user};
use super::passwords::{LONG, Passwords};
pub use locks::Locked;
use locks::Locks;
use sessions::Sessions;
pub use sessions::{ABSOLUTE_MS, IDLE_MS, Opened, Signed};

/// The admins of this node; a cheap handle.
#[derive(Clone)]
pub struct Admins(Arc<Inner>);

struct Inner {
    store: Store,
    passwords: Passwords,
    sessions: Mutex<Sessions>,
    locks: Mutex<Locks>,
    /// Makes read-then-write one step.
    changes: tokio::sync::Mutex<()>,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Too many attempts failed; this one was not looked at.
    #[error("too many failed attempts: {}", .0.after)]
    Locked(Locked),
    /// The name or the password is wrong, or it could not be told.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Admins {
    /// The admins in `store`.
    pub fn new(store: Store, passwords: Passwords) -> Self {
        Self(Arc::new(Inner {
            store,
            passwords,
            sessions: Mutex::default(),
            locks: Mutex::default(),
            changes: tokio::sync::Mutex::new(()),
        }))
    }

    /// Adds an admin.
    pub async fn add(
        &self,
        name: &str,
        password: &str,
        now_ms: u64,
    ) -> Result<UserView, AccountError> {
        check_user(name)?;
        let password_hash = self.hash(password).await?;
        let _changes = self.0.changes.lock().await;
        if self.0.store.admin(name).await?.is_some() {
            return Err(AccountError::Conflict("name"));
        }
        let admin = User {
            name: name.to_owned(),
            password_hash,
            created_ms: now_ms,
        };
        self.0.store.put_admin(admin.clone()).await?;
        tracing::info!(target: "tidings::audit", admin = ?name, "an admin was added");
        Ok(UserView::from(admin))
    }

    /// Gives an admin another password; says how many sessions ended with the old one.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<usize, AccountError> {
        let password_hash = self.hash(password).await?;
        let _changes = self.0.changes.lock().await;
        let admin = self.account(name).await?;
        let admin = admin.ok_or(AccountError::NotFound("admin"))?;
        let admin = User {
            password_hash,
            ..admin
        };
        self.0.store.put_admin(admin).await?;
        // Whoever tried to guess the old one shall not keep its owner out.
        self.locks().forget(name);
        tracing::info!(target: "tidings::audit", admin = ?name, "an admin has another password");
        Ok(self.sessions().end_all(name))
    }

    /// Removes an admin; says how many sessions ended.
    pub async fn remove(&self, name: &str) -> Result<usize, AccountError> {
        let _changes = self.0.changes.lock().await;
        if !(is_user(name) && self.0.store.delete_admin(name).await?) {
            return Err(AccountError::NotFound("admin"));
        }
        tracing::info!(target: "tidings::audit", admin = ?name, "an admin was removed");
        Ok(self.sessions().end_all(name))
    }

    /// All admins, ordered by name.
    pub async fn list(&self) -> Result<Vec<UserView>, AccountError> {
        let admins = self.0.store.admins().await?;
        Ok(admins.into_iter().map(UserView::from).collect())
    }

    /// Opens a session for who knows the password. The attempt counts as failed until it has
    /// succeeded, so that attempts at the same time do not slip past the locks.
    pub async fn login(
        &self,
        name: &str,
        password: &str,
        from: IpAddr,
        now_ms: u64,
    ) -> Result<Opened, LoginError> {
        if !LONG.contains(&password.len()) {
            // No admin's: it costs no work, and guesses nothing.
            return Err(AccountError::WrongCredentials.into());
        }
        // One lock for all names that nobody can have.
        let named = if is_user(name) { name } else { "" };
        let attempt = self.locks().attempt(named, from, now_ms);
        attempt.map_err(LoginError::Locked)?;
        let judged = self.judge(name, password, now_ms).await;
        match &judged {
            Ok(_) => self.locks().succeeded(named, from),
            Err(AccountError::WrongCredentials) => {}
            // It was not looked at, so nothing was guessed.
            Err(_) => self.locks().took_back(named, from),
        }
        Ok(judged?)
    }

    async fn judge(&self, name: &str, password: &str, now_ms: u64) -> Result<Opened, AccountError> {
        let admin = self.account(name).await?;
        let hash = admin.as_ref().map(|admin| admin.password_hash.as_str());
        if !self.0.passwords.verify(password, hash).await? {
            return Err(AccountError::WrongCredentials);
        }
        let opened = self.sessions().open(name, now_ms);
        if self.account(name).await? != admin {
            self.sessions().end(&opened.token);
            return Err(AccountError::WrongCredentials);
        }
        Ok(opened)
    }

    /// Whether an account of this name exists, for the log alone.
    pub async fn is_known(&self, name: &str) -> bool {
        matches!(self.account(name).await, Ok(Some(_)))
    }

    /// Whose session a token opens, if it has not ended.
    pub fn session(&self, token: &str, now_ms: u64) -> Option<Signed> {
        self.sessions().find(token, now_ms)
    }

    /// The admin is there: the session goes on, up to its absolute end.
    pub fn renew(&self, token: &str, now_ms: u64) -> Option<Signed> {
        self.sessions().renew(token, now_ms)
    }

    /// Ends a session; says whose it was.
    pub fn logout(&self, token: &str) -> Option<Arc<str>> {
        self.sessions().end(token)
    }

    async fn hash(&self, password: &str) -> Result<String, AccountError> {
        if !LONG.contains(&password.len()) {
            return Err(AccountError::Invalid {
                what: "an admin's password",
                allowed: "12 to 1024 bytes long",
            });
        }
        Ok(self.0.passwords.hash(password).await?)
    }

    /// An illegal name is that of nobody.
    async fn account(&self, name: &str) -> Result<Option<User>, StoreError> {
        if is_user(name) {
            self.0.store.admin(name).await
        } else {
            Ok(None)
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        let sessions = &self.0.sessions;
        sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        let locks = &self.0.locks;
        locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
