//! Who a socket belongs to: the check at Socket.IO CONNECT.
//!
//! A client shows `auth {sessionID, userId}`, or the session cookie that an `express-session` login
//! or `/auth/login` gave it. What it shows decides for good or not at all: `socket.io-client` stays
//! away after a CONNECT_ERROR, so only a [`Refusal::Final`] may become one.

use crate::app::accounts::{is_session_id, is_user};
use crate::app::cookie::Keyring;
use crate::app::shared::SharedSessions;
use crate::http::cookies;
use crate::live::Live;
use crate::relay::{LookError, Relay};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use tidings_storage::{Session, Store};

/// Who connects without saying who, where nobody is asked.
const ANONYMOUS: &str = "anonymous";

/// What a client shows.
#[derive(Clone, Default)]
pub struct Credentials {
    /// `auth.sessionID`.
    pub session_id: Option<String>,
    /// `auth.userId`.
    pub user_id: Option<String>,
    /// The `Cookie` header of the handshake, as sent.
    pub cookie: Option<String>,
}

/// Whom a socket belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The session's id; empty where nobody is asked for one.
    pub session: Arc<str>,
    /// The user's id.
    pub user: Arc<str>,
    /// When the session ends, in unix milliseconds; never where there is none.
    pub expires_ms: u64,
}

/// Why a client is not let in. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was shown is no good and will not become good: CONNECT_ERROR.
    #[error("{message}")]
    Final {
        /// What `data.code` says.
        code: FinalCode,
        /// What was wrong and what is allowed.
        message: String,
    },
    /// It could not be told: the transport closes, and the client comes again.
    #[error("sessions cannot be checked: {0}")]
    Unavailable(LookError),
}

/// The codes of a final refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalCode {
    /// Session id or user id is not there, or not a string.
    MissingCredentials,
    /// There is no such session, or nobody here signed the cookie.
    InvalidSession,
    /// There was such a session.
    ExpiredSession,
    /// The session is another user's.
    UserMismatch,
}

/// Checks what clients show; a cheap handle.
#[derive(Clone)]
pub struct Authenticator(Arc<Mode>);

enum Mode {
    /// Everyone is who they say.
    Open,
    /// A session is asked for.
    Sessions {
        store: Store,
        cookie: String,
        keyring: Live<Keyring>,
        /// Finds sessions of other nodes.
        relay: Option<Arc<Relay>>,
        /// Finds sessions that an application keeps in MongoDB.
        shared: Option<SharedSessions>,
    },
}

impl Authenticator {
    /// Lets in whoever has a session in `store`. `cookie` is the name of the session cookie.
    /// With a relay, sessions that other nodes made count as well; with shared ones, those too.
    pub fn sessions(
        store: Store,
        cookie: impl Into<String>,
        keyring: Live<Keyring>,
        relay: Option<Arc<Relay>>,
        shared: Option<SharedSessions>,
    ) -> Self {
        Self(Arc::new(Mode::Sessions {
            store,
            cookie: cookie.into(),
            keyring,
            relay,
            shared,
        }))
    }

    /// Lets everyone in, as the user they say they are (`auth.mode = "none"`).
    pub fn open() -> Self {
        Self(Arc::new(Mode::Open))
    }

    /// Judges a CONNECT by its `auth` object, as raw JSON, and the handshake's `Cookie` header.
    pub async fn connect(
        &self,
        auth: Option<&str>,
        cookie: Option<String>,
        now_ms: u64,
    ) -> Result<Login, Refusal> {
        let credentials = Credentials::parse(auth, cookie);
        match &*self.0 {
            Mode::Open => Ok(anyone(&credentials.unwrap_or_default())),
            Mode::Sessions { .. } => self.check(&credentials?, now_ms).await,
        }
    }

    /// The same without waiting; `None` where the store has to be asked.
    pub fn connect_now(
        &self,
        auth: Option<&str>,
        cookie: Option<&str>,
        now_ms: u64,
    ) -> Option<Result<Login, Refusal>> {
        let credentials = Credentials::parse(auth, cookie.map(str::to_owned));
        let Mode::Sessions {
            store,
            cookie,
            keyring,
            relay,
            shared,
        } = &*self.0
        else {
            return Some(Ok(anyone(&credentials.unwrap_or_default())));
        };
        let found = credentials.and_then(|credentials| {
            let id = credentials.session(cookie, &keyring.now())?;
            Ok((id, credentials.user_id))
        });
        match found {
            Ok((id, user)) => {
                let Some(session) = store.recent_session(&id) else {
                    let session = shared.as_ref()?.recent(&id, now_ms)?;
                    return Some(judge(Some(session), user.as_deref(), now_ms));
                };
                // Another node may have given it another end.
                let is_shared = relay.as_ref().is_some_and(|it| it.cluster().is_some());
                if is_shared && session.expires_ms <= now_ms {
                    return None;
                }
                Some(judge(Some(session), user.as_deref(), now_ms))
            }
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// Judges credentials. Also asked again of a connection that recovers.
    pub async fn check(&self, credentials: &Credentials, now_ms: u64) -> Result<Login, Refusal> {
        let Mode::Sessions {
            store,
            cookie,
            keyring,
            relay,
            shared,
        } = &*self.0
        else {
            return Ok(anyone(credentials));
        };
        let id = credentials.session(cookie, &keyring.now())?;
        let session = match shared {
            None => elsewhere(store, relay.as_ref(), &id).await,
            Some(shared) => match store.session(&id).await {
                Ok(Some(own)) if own.expires_ms > now_ms => Ok(Some(own)),
                _ => match shared.session(&id).await {
                    Ok(Some(session)) => Ok(Some(session)),
                    found => match elsewhere(store, relay.as_ref(), &id).await {
                        // Whether it is in MongoDB is not known.
                        Ok(None) => found.map_err(LookError::Shared),
                        session => session,
                    },
                },
            },
        };
        let session = session.map_err(Refusal::Unavailable)?;
        judge(session, credentials.user_id.as_deref(), now_ms)
    }
}

/// An embedded session, of this node or another.
async fn elsewhere(
    store: &Store,
    relay: Option<&Arc<Relay>>,
    id: &str,
) -> Result<Option<Session>, LookError> {
    match relay {
        Some(relay) => relay.session(id).await,
        None => store.session(id).await.map_err(LookError::Store),
    }
}

impl Credentials {
    /// Takes the `auth` object of a CONNECT apart. `null` counts as not there.
    pub fn parse(auth: Option<&str>, cookie: Option<String>) -> Result<Self, Refusal> {
        let auth = auth.map(serde_json::from_str::<RawAuth<'_>>).transpose();
        let auth = auth.map_err(|_| not_strings("auth must be an object with"))?;
        let auth = auth.unwrap_or_default();
        Ok(Self {
            session_id: string("sessionID", auth.session_id)?,
            user_id: string("userId", auth.user_id)?,
            cookie,
        })
    }

    /// The id of the session that is shown, which may not exist.
    fn session(&self, cookie: &str, keyring: &Keyring) -> Result<String, Refusal> {
        let id = match &self.session_id {
            Some(_) if self.user_id.is_none() => return Err(missing("userId")),
            Some(id) => id.clone(),
            None => self.cookie_session(cookie, keyring)?,
        };
        is_session_id(&id).then_some(id).ok_or_else(unknown_session)
    }

    /// The session id of the first cookie of this name that is signed.
    fn cookie_session(&self, name: &str, keyring: &Keyring) -> Result<String, Refusal> {
        let mut values = cookies::values(self.cookie.as_deref().unwrap_or_default(), name);
        let first = values.next().ok_or_else(|| match self.user_id {
            Some(_) => missing("sessionID"),
            None => missing("sessionID and userId"),
        })?;
        let signed = std::iter::once(first)
            .chain(values)
            .find_map(|value| keyring.verify(value));
        signed.ok_or_else(|| {
            let message = format!("the cookie {name} is not signed with a secret of this server");
            Refusal::Final {
                code: FinalCode::InvalidSession,
                message,
            }
        })
    }
}

/// The members of `auth` that matter here; clients put others in as well.
#[derive(Default, Deserialize)]
struct RawAuth<'a> {
    #[serde(borrow, rename = "sessionID")]
    session_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "userId")]
    user_id: Option<&'a RawValue>,
}

fn string(name: &str, value: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    let text = value
        .map(|value| serde_json::from_str(value.get()))
        .transpose();
    text.map_err(|_| not_strings(&format!("{name} is not a string: auth needs")))
}

fn judge(session: Option<Session>, user: Option<&str>, now_ms: u64) -> Result<Login, Refusal> {
    let session = session.ok_or_else(unknown_session)?;
    if user.is_some_and(|user| user != session.user) {
        let message = "the session belongs to another user".to_owned();
        return Err(Refusal::Final {
            code: FinalCode::UserMismatch,
            message,
        });
    }
    if session.expires_ms <= now_ms {
        let message = "the session has expired, log in again".to_owned();
        return Err(Refusal::Final {
            code: FinalCode::ExpiredSession,
            message,
        });
    }
    Ok(Login {
        session: session.id.into(),
        user: session.user.into(),
        expires_ms: session.expires_ms,
    })
}

fn anyone(credentials: &Credentials) -> Login {
    let user = credentials
        .user_id
        .as_deref()
        .filter(|user| is_user(user))
        .unwrap_or(ANONYMOUS);
    Login {
        session: "".into(),
        user: user.into(),
        expires_ms: u64::MAX,
    }
}

fn missing(what: &str) -> Refusal {
    not_strings(&format!("{what} is missing: auth needs"))
}

fn not_strings(what: &str) -> Refusal {
    let message = format!("{what} the strings sessionID and userId");
    Refusal::Final {
        code: FinalCode::MissingCredentials,
        message,
    }
}

fn unknown_session() -> Refusal {
    let message = "there is no such session, log in again".to_owned();
    Refusal::Final {
        code: FinalCode::InvalidSession,
        message,
    }
}

impl FinalCode {
    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::InvalidSession => "invalid_session",
            Self::ExpiredSession => "expired_session",
            Self::UserMismatch => "user_mismatch",
        }
    }
}

impl Refusal {
    /// The code as clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Final { code, .. } => code.as_str(),
            Self::Unavailable(_) => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests;
