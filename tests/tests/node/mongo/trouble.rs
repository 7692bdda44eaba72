//! MongoDB that is away, slow or refusing costs nobody anything who does not need it, is told of,
//! and is found to be well again by itself.

use serde_json::Value;
use tidings_tests::{Mongod, Node};

use super::kit::{mongodb, seen, status};

#[tokio::test]
async fn a_node_starts_without_it_and_says_since_when_it_is_away() {
    let mut mongod = Mongod::standalone().await;
    mongod.kill9();
    let node = Node::new().config("mongodb.uri", mongod.uri("app"));
    let node = node.start().await;
    seen(&node, false).await;
    let first = mongodb(&node).await;
    assert_eq!(status(&node).await, "degraded");
    let message = first["message"].as_str().expect("a reason");
    assert!(message.starts_with("ping: cannot be reached"), "{message}");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let later = mongodb(&node).await;
    assert_eq!(
        later["since"], first["since"],
        "it is still the same trouble"
    );
    mongod.start_again().await;
    seen(&node, true).await;
    assert_eq!(status(&node).await, "ok");
    assert_eq!(mongodb(&node).await["since"], Value::Null);
}
