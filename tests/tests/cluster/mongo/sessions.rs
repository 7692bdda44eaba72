//! Logins that an application keeps in MongoDB, honoured and ended on every node.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings_tests::express::SECRETS;
use tidings_tests::sio::End;
use tidings_tests::{Cluster, Express, Mongod, RunningNode, eventually};

/// What is promised for the end of a session.
const WITHIN: Duration = Duration::from_secs(2);

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn follows_changes(node: &RunningNode) {
    eventually("changes are told", async || {
        let (_, health) = node.api("GET", "/api/health/detailed", Value::Null).await;
        health["mongodb"]["logout"]["by"] == "changeStream"
    })
    .await;
}

#[tokio::test]
async fn a_login_counts_on_every_node_and_its_end_closes_its_sockets_on_all() {
    let mongo = Mongod::shared().await;
    let cluster = Cluster::of(NAMES)
        .config("auth.mode", "session")
        .config("auth.secrets", json!(SECRETS))
        .config("mongodb.uri", mongo.uri())
        .start();
    let (cluster, express) = tokio::join!(cluster, Express::start(mongo.uri(), &[]));
    for name in NAMES {
        follows_changes(&cluster[name]).await;
    }
    let (alice, other) = (express.login("alice").await, express.login("alice").await);
    let mut by_auth = join_all(NAMES.map(|name| cluster[name].connected(&alice.session))).await;
    let by_cookie = NAMES.map(|name| {
        let client = cluster[name].client().header("Cookie", &alice.cookie);
        async move { client.connect().await.expect("the cookie is enough") }
    });
    by_auth.extend(join_all(by_cookie).await);
    let mut others = join_all(NAMES.map(|name| cluster[name].connected(&other.session))).await;
    let begun = Instant::now();
    express.logout(&alice).await;
    for client in &mut by_auth {
        assert_eq!(client.end().await, End::Disconnected);
    }
    let took = begun.elapsed();
    assert!(took < WITHIN, "the last socket ended after {took:?}");
    for name in NAMES {
        let client = cluster[name].client().auth(alice.session.auth());
        let error = client.connect_error().await;
        assert_eq!(error["data"]["code"], "invalid_session");
    }
    cluster["a"]
        .emit(json!({"user": "alice", "event": "still here", "args": [1]}))
        .await;
    for client in &mut others {
        client.expect("still here").await;
    }
}
