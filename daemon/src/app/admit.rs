//! Admission: what the control plane decides over a CONNECT before the shard lets a client in.
//!
//! The handler says whether and as whom; then a client that comes back under a `pid` gets its
//! record, if it is still that user's and the history can prove what was missed.

use serde::Deserialize;

use super::handler::{Admission, ConnectRequest, Refusal};
use crate::{node::Node, recovery::session::Opened};

/// What of the CONNECT payload concerns recovery. All else is the handler's.
#[derive(Debug, Default, Deserialize)]
struct Returning {
    #[serde(default)]
    pid: Option<serde_json::Value>,
    #[serde(default)]
    offset: Option<serde_json::Value>,
    #[serde(default)]
    recovery: Option<serde_json::Value>,
}

/// Decides over a CONNECT.
pub(crate) async fn admit(
    node: &Node,
    request: ConnectRequest,
) -> Result<(Admission, Opened), Refusal> {
    let namespace = request.namespace.clone();
    let auth = request.auth.clone();
    let recovery = request.handshake.recovery;
    let admission = node.handler.connect(request).await?;
    let recoverable = node
        .handler
        .namespace(&namespace)
        .is_some_and(|rules| rules.recoverable);
    let returning: Returning = auth
        .and_then(|auth| serde_json::from_str(auth.get()).ok())
        .unwrap_or_default();
    let declined = returning.recovery == Some(serde_json::Value::Bool(false));
    if !recoverable || declined || !recovery {
        return Ok((admission, Opened::Plain));
    }
    let text = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) => Some(text),
        _ => None,
    };
    let (pid, offset) = (text(returning.pid), text(returning.offset));
    let opened = node
        .recovery
        .open(node, &namespace, &admission, pid, offset)
        .await;
    Ok((admission, opened))
}
