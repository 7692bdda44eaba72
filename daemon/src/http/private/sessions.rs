//! Sessions, made and ended by a backend.

use std::{sync::Arc, time::Duration};

use super::{Api, answer::Answer, emit::Outcome, fields::Fields};
use crate::{
    app::accounts::{Accounts, Ended, SessionView},
    node::{Node, now_ms},
};

const FIELDS: [&str; 3] = ["userId", "ttl", "sessionID"];

/// Makes a session.
pub(super) async fn create(api: &Api, body: &[u8]) -> Outcome {
    let fields = Fields::parse(body, &FIELDS)?;
    let user = fields.required("userId")?;
    let ttl: Option<u64> = fields.read("ttl", "a whole number of seconds")?;
    let id = fields.text("sessionID")?;
    let ttl = ttl.map(Duration::from_secs);
    let session = api
        .accounts
        .create_session(&user, ttl, id, now_ms())
        .await?;
    api.node.relay().session_made(&api.node, &session).await;
    Ok(Answer::created(&SessionView::from(&session)))
}

/// Shows a session.
pub(super) async fn show(api: &Api, id: &str) -> Outcome {
    let session = api.accounts.session(id, now_ms()).await?;
    Ok(Answer::ok(&SessionView::from(&session)))
}

/// Ends a session and its sockets.
pub(super) async fn delete(api: &Api, id: &str) -> Outcome {
    let ended = api.accounts.revoke_session(id, now_ms()).await?;
    Ok(Answer::ended(&end_sockets(&api.node, ended).await))
}

/// Ends all sessions of a user and their sockets.
pub(super) async fn delete_all(api: &Api, user: &str) -> Outcome {
    let ended = api.accounts.revoke_user(user, now_ms()).await?;
    Ok(Answer::ended(&end_sockets(&api.node, ended).await))
}

/// Ends the sockets that live under sessions which have ended, on all nodes. Names the nodes that did
/// not answer: they are told again until they do.
pub(crate) async fn end_sockets(node: &Node, ended: Ended) -> Vec<Arc<str>> {
    node.relay().end_sessions(node, ended).await.silent
}

/// Ends one session if it is this user's, with its sockets.
pub(crate) async fn log_out(
    node: &Node,
    accounts: &Accounts,
    id: &str,
    user: Option<&str>,
) -> Result<(), crate::app::accounts::AccountError> {
    use crate::app::accounts::AccountError;
    let found = match accounts.session(id, now_ms()).await {
        Ok(session) => session,
        Err(AccountError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    if user.is_some_and(|user| user != found.user) {
        return Ok(());
    }
    match accounts.revoke_session(id, now_ms()).await {
        Ok(ended) => {
            end_sockets(node, ended).await;
        }
        Err(AccountError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
