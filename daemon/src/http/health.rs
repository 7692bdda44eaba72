//! `GET /health`, on both listeners.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tidings_storage::mongo::Mongo;

use super::public::json;
use crate::node::{Node, Phase};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Ok,
    /// It serves, but something that it needs fails.
    Degraded,
    /// A part of it, such as one shard, does not answer.
    Stuck,
    /// It does not serve yet.
    Starting,
    /// It moves its clients away.
    Draining,
    /// It cannot keep what it must keep.
    Failed,
}

/// How the node is now.
pub fn status(node: &Node) -> Status {
    use tidings_storage::{Health, mongo::MongoHealth};
    let mongo = node.mongo.as_ref().map(Mongo::health);
    let bare = node.is_bare();
    match (node.phase(), node.recovery.store().health()) {
        (Phase::Starting, _) => Status::Starting,
        (Phase::Draining | Phase::Closed, _) => Status::Draining,
        (Phase::Ready, _) if node.is_stuck() => Status::Stuck,
        (Phase::Ready, Health::Ok) if node.streams.iter().any(|it| it.lost_lately().is_some()) => {
            Status::Degraded
        }
        (Phase::Ready, Health::Ok) if matches!(mongo, Some(MongoHealth::Degraded { .. })) => {
            Status::Degraded
        }
        (Phase::Ready, Health::Ok) if bare => Status::Degraded,
        (Phase::Ready, Health::Ok) => Status::Ok,
        (Phase::Ready, Health::Degraded(_)) => Status::Degraded,
        (Phase::Ready, Health::Failed(_)) => Status::Failed,
    }
}

/// The answer to `GET /health`.
pub(crate) fn answer(node: &Node) -> Response<Full<Bytes>> {
    let status = status(node);
    let code = match status {
        Status::Ok | Status::Degraded => StatusCode::OK,
        Status::Stuck | Status::Starting | Status::Draining | Status::Failed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    json(code, serde_json::json!({ "status": status }).to_string())
}
