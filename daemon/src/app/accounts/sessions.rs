//! The sessions: made by a login or by a backend, looked at, ended.

use super::{AccountError, Accounts, check_user, is_session_id, rfc3339};
use crate::app::random;
use serde::Serialize;
use std::time::Duration;
use tidings_storage::Session;

const MIN_TTL: Duration = Duration::from_secs(1);
/// Ten years.
const MAX_TTL: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// How many sessions are read at once to fill a page, as expired ones are passed over.
const READ: usize = 256;

/// A session as the HTTP API and the command line show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// What the client connects with; as secret as a password.
    #[serde(rename = "sessionID")]
    pub session_id: String,
    /// Whose it is.
    #[serde(rename = "userId")]
    pub user_id: String,
    /// When it ends, as RFC 3339.
    pub expires: String,
}

impl From<&Session> for SessionView {
    fn from(session: &Session) -> Self {
        Self {
            session_id: session.id.clone(),
            user_id: session.user.clone(),
            expires: rfc3339(session.expires_ms),
        }
    }
}

impl Accounts {
    /// Makes a session for any user, known here or not. With an id of the caller's own it replaces
    /// a session of the same user, which so lasts longer or shorter; it never takes over another's.
    pub async fn create_session(
        &self,
        user: &str,
        ttl: Option<Duration>,
        id: Option<String>,
        now_ms: u64,
    ) -> Result<Session, AccountError> {
        check_user(user)?;
        let ttl = ttl.unwrap_or(self.0.session_ttl);
        let given = id.is_some();
        let session = self.new_session(user, ttl, id, now_ms)?;
        let _changes = self.0.changes.lock().await;
        if given {
            let taken = self.0.store.session(&session.id).await?;
            if taken.is_some_and(|taken| taken.user != user && taken.expires_ms > now_ms) {
                return Err(AccountError::Conflict("session"));
            }
        }
        self.0.store.put_session(session.clone()).await?;
        Ok(session)
    }

    /// The session of this id, unless it has ended.
    pub async fn session(&self, id: &str, now_ms: u64) -> Result<Session, AccountError> {
        let missing = AccountError::NotFound("session");
        if !is_session_id(id) {
            return Err(missing);
        }
        let session = self.0.store.session(id).await?;
        session
            .filter(|session| session.expires_ms > now_ms)
            .ok_or(missing)
    }

    /// A user's sessions that have not ended, ordered by id.
    pub async fn sessions_of(&self, user: &str, now_ms: u64) -> Result<Vec<Session>, AccountError> {
        check_user(user)?;
        let mut sessions = self.0.store.sessions_of(user).await?;
        sessions.retain(|session| session.expires_ms > now_ms);
        Ok(sessions)
    }

    /// At most `limit` sessions that have not ended, those after the id `after`, ordered by id.
    /// Fewer than `limit` are the last.
    pub async fn sessions(
        &self,
        mut after: Option<String>,
        limit: usize,
        now_ms: u64,
    ) -> Result<Vec<Session>, AccountError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.0.store.sessions(after, READ).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            found.extend(
                page.into_iter()
                    .filter(|session| session.expires_ms > now_ms),
            );
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Ends a session and returns it.
    pub async fn revoke_session(&self, id: &str) -> Result<Session, AccountError> {
        let missing = AccountError::NotFound("session");
        if !is_session_id(id) {
            return Err(missing);
        }
        let _changes = self.0.changes.lock().await;
        self.0.store.delete_session(id).await?.ok_or(missing)
    }

    /// Ends all sessions of a user and returns them.
    pub async fn revoke_user(&self, user: &str) -> Result<Vec<Session>, AccountError> {
        check_user(user)?;
        let _changes = self.0.changes.lock().await;
        Ok(self.0.store.delete_sessions_of(user).await?)
    }

    pub(super) fn new_session(
        &self,
        user: &str,
        ttl: Duration,
        id: Option<String>,
        now_ms: u64,
    ) -> Result<Session, AccountError> {
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            let allowed = "between 1 second and 10 years (315360000 seconds)";
            return Err(AccountError::Invalid {
                what: "the ttl of a session",
                allowed,
            });
        }
        if id.as_deref().is_some_and(|id| !is_session_id(id)) {
            let allowed = "1 to 256 printable ASCII characters";
            return Err(AccountError::Invalid {
                what: "sessionID",
                allowed,
            });
        }
        Ok(Session {
            id: id.unwrap_or_else(random::session_id),
            user: user.to_owned(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(ttl.as_millis() as u64),
        })
    }
}
