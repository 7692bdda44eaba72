//! What tests with MongoDB have in common.

use serde_json::Value;
use tidings_tests::{RunningNode, eventually};

/// MongoDB in detailed health.
pub(crate) async fn mongodb(node: &RunningNode) -> Value {
    let (_, health) = node.api("GET", "/api/health/detailed", Value::Null).await;
    health["mongodb"].clone()
}

/// The node's status.
pub(crate) async fn status(node: &RunningNode) -> Value {
    let (_, health) = node.api("GET", "/health", Value::Null).await;
    health["status"].clone()
}

/// Waits until MongoDB is seen to be well, or not.
pub(crate) async fn seen(node: &RunningNode, well: bool) {
    let wanted = if well { "ok" } else { "degraded" };
    let what = format!("MongoDB is {wanted}");
    eventually(&what, async || mongodb(node).await["status"] == wanted).await;
}
