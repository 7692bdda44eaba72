//! The sessions: made by a login or by a backend, looked at, ended.

use super::{AccountError, Accounts, check_user, is_session_id, rfc3339};
use crate::app::random;
use crate::node::now_ms;
use crate::relay::LookError;
use serde::Serialize;
use std::time::Duration;
use tidings_storage::{Revocation, Session, StoreError};

const MIN_TTL: Duration = Duration::from_secs(1);
/// Ten years.
const MAX_TTL: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// How many sessions are read at once to fill a page, as expired ones are passed over.
const READ: usize = 256;
/// How long it is remembered that all sessions of a user ended, if none that is known here lasts
/// longer: a node that was cut off for as long may still have one.
const ALL_ENDED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The sessions that this node knew, all of one user.
    pub sessions: Vec<Session>,
    /// What ended them; also copies that other nodes have.
    pub revocation: Revocation,
}

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
        if given {
            // It may be another node's. If that is not known, the caller's word counts.
            let _ = self.find(&session.id).await;
        }
        let _changes = self.0.changes.lock().await;
        if given && let Some(taken) = self.0.store.session(&session.id).await? {
            if taken.user != user && taken.expires_ms > now_ms {
                return Err(AccountError::Conflict("session"));
            }
            if taken.expires_ms > session.expires_ms {
                // A node that is cut off must not go by the later end when it is back.
                self.end(Revocation {
                    session: Some(taken.id),
                    user: taken.user,
                    revoked_ms: taken.created_ms,
                    expires_ms: taken.expires_ms,
                })
                .await?;
            }
        }
        Ok(self.0.store.put_session(session).await?)
    }

    /// The session of this id, unless it has ended.
    pub async fn session(&self, id: &str, now_ms: u64) -> Result<Session, AccountError> {
        let missing = AccountError::NotFound("session");
        if !is_session_id(id) {
            return Err(missing);
        }
        let session = self.find(id).await?;
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

    /// Ends a session, whichever node made it.
    pub async fn revoke_session(&self, id: &str, now_ms: u64) -> Result<Ended, AccountError> {
        let missing = || AccountError::NotFound("session");
        if !is_session_id(id) {
            return Err(missing());
        }
        self.find(id).await?;
        let _changes = self.0.changes.lock().await;
        let session = self.0.store.session(id).await?.ok_or_else(missing)?;
        let revocation = Revocation {
            session: Some(session.id),
            user: session.user,
            revoked_ms: now_ms.max(session.created_ms),
            expires_ms: session.expires_ms,
        };
        Ok(self.end(revocation).await?)
    }

    /// Ends all sessions of a user.
    pub async fn revoke_user(&self, user: &str, now_ms: u64) -> Result<Ended, AccountError> {
        check_user(user)?;
        let _changes = self.0.changes.lock().await;
        Ok(self.end_all(user, now_ms).await?)
    }

    pub(super) async fn end_all(&self, user: &str, now_ms: u64) -> Result<Ended, StoreError> {
        let sessions = self.0.store.sessions_of(user).await?;
        let last_ms = sessions.iter().map(|session| session.created_ms).max();
        self.end(Revocation {
            session: None,
            user: user.to_owned(),
            revoked_ms: now_ms.max(last_ms.unwrap_or_default()),
            expires_ms: now_ms.saturating_add(ALL_ENDED_FOR.as_millis() as u64),
        })
        .await
    }

    /// Ends sessions; remembered where other nodes may have copies.
    async fn end(&self, revocation: Revocation) -> Result<Ended, StoreError> {
        let store = &self.0.store;
        let sessions = match &revocation.session {
            _ if self.0.is_shared => store.revoke(revocation.clone(), now_ms()).await?,
            Some(id) => store.delete_session(id).await?.into_iter().collect(),
            None => store.delete_sessions_of(&revocation.user).await?,
        };
        Ok(Ended {
            sessions,
            revocation,
        })
    }

    /// A session, whichever node made it; kept here from then on.
    async fn find(&self, id: &str) -> Result<Option<Session>, AccountError> {
        match &self.0.relay {
            Some(relay) => relay.session(id).await.map_err(|error| match error {
                LookError::Store(error) => AccountError::Store(error),
                error => AccountError::Look(error),
            }),
            None => Ok(self.0.store.session(id).await?),
        }
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
