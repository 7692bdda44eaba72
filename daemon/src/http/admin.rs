//! The admin socket's routes: users, sessions and keys, for whoever may write to the socket. What
//! they are is said by [`crate::cli::admin`], whose command line speaks them.

use hyper::StatusCode;

use super::health;
use super::private::{
    Answer, Api, cluster, sessions, slots, status::view as detailed, with_silent,
};
use crate::{
    cli::admin::{BAD_SETTINGS, CLUSTER, DETAILED, FORGET, HEALTH, RELOAD, Reply, SLOTS, respond},
    node::now_ms,
};

/// Answers a request on the admin socket; `path` may have a query.
pub(super) async fn answer(api: &Api, method: &str, path: &str, body: &[u8]) -> Answer {
    if (method, path) == ("GET", CLUSTER) {
        let view = cluster::view(&api.node).await;
        return Answer::new(StatusCode::OK, view.to_string());
    }
    if (method, path) == ("GET", SLOTS) {
        let view = slots::view(&api.node).await;
        return Answer::new(StatusCode::OK, view.to_string());
    }
    if (method, path) == ("GET", HEALTH) {
        let status = serde_json::json!({ "status": health::status(&api.node) });
        return Answer::new(StatusCode::OK, status.to_string());
    }
    if (method, path) == ("GET", DETAILED) {
        let (view, _) = detailed(api).await;
        return Answer::new(StatusCode::OK, view.to_string());
    }
    if (method, path) == ("POST", RELOAD) {
        return match api.reload().await {
            Ok(reloaded) => Answer::new(
                StatusCode::OK,
                serde_json::to_string(&reloaded).expect("lists of texts are JSON"),
            ),
            Err(message) => {
                let error =
                    serde_json::json!({"error": {"code": BAD_SETTINGS, "message": message}});
                Answer::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
        };
    }
    if method == "POST"
        && let Some(id) = path.strip_prefix(FORGET)
    {
        let done = slots::forget(api, id).await;
        return done.unwrap_or_else(|refusal| refusal.answer());
    }
    let Reply {
        status,
        mut body,
        ended,
    } = respond(&api.accounts, method, path, body, now_ms()).await;
    if let Some(ended) = ended {
        body = with_silent(body, &sessions::end_sockets(&api.node, ended).await);
    }
    let status = StatusCode::from_u16(status).expect("replies name statuses");
    Answer::new(status, body.to_string())
}
