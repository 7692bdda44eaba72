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
    let asked = Recovery::of(node, &request);
    let admission = node.handler.connect(request).await?;
    let opened = match asked {
        Recovery::No => Opened::Plain,
        Recovery::Asked { pid, offset } => {
            let presented = (pid, offset);
            node.recovery
                .open(node, &namespace, &admission, presented)
                .await?
        }
    };
    Ok((admission, opened))
}

/// Decides over a CONNECT at once, where neither the handler nor a record must be waited for.
pub(crate) fn admit_now(
    node: &Node,
    request: &ConnectRequest,
) -> Option<Result<(Admission, Opened), Refusal>> {
    let opened = match Recovery::of(node, request) {
        Recovery::No => Opened::Plain,
        Recovery::Asked { pid: Some(_), .. } => return None,
        Recovery::Asked { pid: None, offset } => node.recovery.fresh(node, offset),
    };
    let decided = node.handler.connect_now(request)?;
    Some(decided.map(|admission| (admission, opened)))
}

/// Whether a client may recover, and what it presents for it.
enum Recovery {
    /// It may not, or does not want to.
    No,
    Asked {
        pid: Option<String>,
        offset: Option<String>,
    },
}

impl Recovery {
    fn of(node: &Node, request: &ConnectRequest) -> Self {
        let recoverable = node
            .handler
            .namespace(&request.namespace)
            .is_some_and(|rules| rules.recoverable);
        if !recoverable || !request.handshake.recovery {
            return Recovery::No;
        }
        let returning: Returning = request
            .auth
            .as_deref()
            .and_then(|auth| serde_json::from_str(auth.get()).ok())
            .unwrap_or_default();
        if returning.recovery == Some(serde_json::Value::Bool(false)) {
            return Recovery::No;
        }
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        Recovery::Asked {
            pid: text(returning.pid),
            offset: text(returning.offset),
        }
    }
}
