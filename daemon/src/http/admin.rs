//! The admin socket's routes: users, sessions and keys, for whoever may write to the socket. What
//! they are is said by [`crate::cli::admin`], whose command line speaks them.

use hyper::StatusCode;

use super::private::{Answer, Api, cluster, sessions, slots};
use crate::{
    cli::admin::{CLUSTER, FORGET, Reply, SLOTS, respond},
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
    if method == "POST"
        && let Some(id) = path.strip_prefix(FORGET)
    {
        let done = slots::forget(api, id).await;
        return done.unwrap_or_else(|refusal| refusal.answer());
    }
    let Reply {
        status,
        body,
        ended,
    } = respond(&api.accounts, method, path, body, now_ms()).await;
    if let Some(ended) = ended {
        sessions::end_sockets(&api.node, ended).await;
    }
    let status = StatusCode::from_u16(status).expect("replies name statuses");
    Answer::new(status, body.to_string())
}
