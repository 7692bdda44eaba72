//! What each call does to the accounts, wherever they are.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_storage::Session;

use super::call::{AdminCall, CallError};
use crate::app::accounts::{AccountError, Accounts, Ended, SessionView};
use crate::app::keys::{Scope, Scopes};

/// Sessions in one answer.
const PAGE: usize = 500;

/// What the daemon answers to a request over its admin socket.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; `{"error": {"code", "message"}}` if the status is no success.
    pub body: Value,
    /// What ended: the daemon closes the sockets, and tells the other nodes.
    pub ended: Option<Ended>,
}

/// Answers a request over the admin socket; `path` may have a query.
pub async fn respond(
    accounts: &Accounts,
    method: &str,
    path: &str,
    body: &[u8],
    now_ms: u64,
) -> Reply {
    let call = match AdminCall::from_http(method, path, body) {
        Ok(call) => call,
        Err(error @ CallError::NotFound(_)) => return refused(404, "not_found", &error),
        Err(error @ CallError::Body(_)) => return refused(400, "invalid_params", &error),
    };
    match perform(accounts, call, now_ms).await {
        Ok((body, ended)) => Reply {
            status: 200,
            body,
            ended,
        },
        Err(error) => refused(error.status(), error.code(), &error),
    }
}

fn refused(status: u16, code: &str, error: &dyn std::error::Error) -> Reply {
    let body = json!({"error": {"code": code, "message": error.to_string()}});
    Reply {
        status,
        body,
        ended: None,
    }
}

/// Performs a call. Returns the answer, and what ended: the caller closes the sockets, and tells
/// the other nodes.
pub async fn perform(
    accounts: &Accounts,
    call: AdminCall,
    now_ms: u64,
) -> Result<(Value, Option<Ended>), AccountError> {
    let (keys, admins) = (accounts.keys(), accounts.admins());
    let answer = match call {
        AdminCall::Users => json!({"users": accounts.users().await?}),
        AdminCall::AddUser { name, password } => {
            json!(accounts.add_user(&name, &password, now_ms).await?)
        }
        AdminCall::SetPassword { name, password } => {
            return Ok(with_count(
                accounts.set_password(&name, &password, now_ms).await?,
            ));
        }
        AdminCall::RemoveUser { name } => {
            return Ok(with_count(accounts.remove_user(&name, now_ms).await?));
        }
        AdminCall::Sessions {
            user: Some(user), ..
        } => {
            json!({"sessions": views(&accounts.sessions_of(&user, now_ms).await?)})
        }
        AdminCall::Sessions { user: None, after } => {
            page(&accounts.sessions(after, PAGE, now_ms).await?)
        }
        AdminCall::CreateSession { user, ttl } => {
            let ttl = ttl.map(Duration::from_secs);
            let session = accounts.create_session(&user, ttl, None, now_ms).await?;
            json!(SessionView::from(&session))
        }
        AdminCall::RevokeSession { id } => {
            return Ok(with_count(accounts.revoke_session(&id, now_ms).await?));
        }
        AdminCall::Keys => json!({"keys": keys.list().await?}),
        AdminCall::CreateKey { name, scopes } => {
            let key = keys.create(&name, known(&scopes)?, now_ms).await?;
            let mut answer = json!(key.view);
            answer["key"] = Value::String(key.token);
            answer
        }
        AdminCall::RevokeKey { id } => {
            keys.revoke(&id).await?;
            json!({})
        }
        AdminCall::Admins => json!({"admins": admins.list().await?}),
        AdminCall::AddAdmin { name, password } => {
            json!(admins.add(&name, &password, now_ms).await?)
        }
        AdminCall::SetAdminPassword { name, password } => {
            json!({"sessionsEnded": admins.set_password(&name, &password).await?})
        }
        AdminCall::RemoveAdmin { name } => {
            json!({"sessionsEnded": admins.remove(&name).await?})
        }
    };
    Ok((answer, None))
}

fn with_count(ended: Ended) -> (Value, Option<Ended>) {
    (json!({"sessionsEnded": ended.sessions.len()}), Some(ended))
}

fn page(sessions: &[Session]) -> Value {
    let mut answer = json!({"sessions": views(sessions)});
    if let Some(last) = sessions.last().filter(|_| sessions.len() == PAGE) {
        answer["next"] = Value::String(last.id.clone());
    }
    answer
}

fn views(sessions: &[Session]) -> Vec<SessionView> {
    sessions.iter().map(SessionView::from).collect()
}

/// A scope that does not exist is refused: left out, it would be missed later.
fn known(names: &[String]) -> Result<Scopes, AccountError> {
    let scopes = names
        .iter()
        .map(|name| Scope::from_name(name))
        .collect::<Option<Scopes>>();
    scopes.ok_or(AccountError::Invalid {
        what: "the scopes of a key",
        allowed: "one or more of emit, read and admin",
    })
}
