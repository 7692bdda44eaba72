//! Everybody comes at once, as after a restart: nobody is turned away.

use serde_json::json;
use tidings_tests::{Node, SioClient};
use tokio::task::JoinSet;

/// More than the control plane takes at once.
const CLIENTS: usize = 6000;

/// Each of them waits for a record on the disk before it is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_let_in() {
    let node = Node::new()
        .config("auth.mode", "none")
        .config("limits.connections_per_minute_per_ip", 0)
        .start()
        .await;
    let mut coming = JoinSet::new();
    for number in 0..CLIENTS {
        let connector = node.client().auth(json!({"userId": format!("u{number}")}));
        coming.spawn(async move { connector.connect().await });
    }
    let mut clients: Vec<SioClient> = Vec::new();
    while let Some(came) = coming.join_next().await {
        clients.push(came.expect("no panic").unwrap_or_else(|failure| {
            panic!("after {} came, one was refused: {failure:?}", clients.len())
        }));
    }
    assert!(clients.iter().all(|client| client.pid().is_some()));
    node.emit(json!({"broadcast": true, "event": "welcome"}))
        .await;
    for client in &mut clients {
        client.expect("welcome").await;
    }
}
