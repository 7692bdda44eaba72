//! What tests with MongoDB have in common.

use std::time::{Duration, SystemTime};

use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use tidings_tests::node::SessionCreds;
use tidings_tests::sio::Failure;
use tidings_tests::{Node, RawHttp, RunningNode, eventually};

/// A node beside an application that keeps its logins there.
pub(crate) fn beside(uri: &str) -> Node {
    Node::new()
        .config("mongodb.uri", uri)
        .config("auth.secrets", json!(tidings_tests::express::SECRETS))
}

/// Stores a session as connect-mongo does, good for an hour.
pub(crate) async fn store(database: &Database, id: &str, user: &str) -> SessionCreds {
    store_for(database, id, user, Duration::from_secs(3600)).await
}

/// Stores a session that lasts so long.
pub(crate) async fn store_for(
    database: &Database,
    id: &str,
    user: &str,
    ttl: Duration,
) -> SessionCreds {
    let session = json!({"cookie": {"originalMaxAge": null}, "userId": user}).to_string();
    let expires = DateTime::from_system_time(SystemTime::now() + ttl);
    put(
        database,
        doc! { "_id": id, "session": session, "expires": expires },
    )
    .await;
    SessionCreds {
        session_id: id.to_owned(),
        user_id: user.to_owned(),
    }
}

/// Stores a document of a session as it is.
pub(crate) async fn put(database: &Database, document: Document) {
    let sessions = database.collection::<Document>("sessions");
    let id = doc! { "_id": document.get("_id") };
    let done = sessions.replace_one(id, document).upsert(true).await;
    done.expect("a session can be stored");
}

/// Deletes a session, as a logout does.
pub(crate) async fn delete(database: &Database, id: &str) {
    let sessions = database.collection::<Document>("sessions");
    let done = sessions.delete_one(doc! { "_id": id }).await;
    assert_eq!(done.expect("a session can be deleted").deleted_count, 1);
}

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

/// Waits until logouts are noticed in this way.
pub(crate) async fn noticed_by(node: &RunningNode, by: &str) {
    let what = format!("logouts are noticed by {by}");
    eventually(&what, async || mongodb(node).await["logout"]["by"] == by).await;
}

/// A figure of the metrics, with its labels if it has any.
pub(crate) async fn figure(node: &RunningNode, name: &str) -> f64 {
    let key = format!("Bearer {}", tidings_tests::node::API_KEY);
    let headers = [("Authorization", key.as_str())];
    let answer = RawHttp::once(node.private(), "GET", "/metrics", &headers, b"").await;
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse().expect("a figure is a number")
}

/// Why a session is refused for good.
pub(crate) async fn refusal(node: &RunningNode, session: &SessionCreds) -> String {
    let error = node.client().auth(session.auth()).connect_error().await;
    error["data"]["code"].as_str().expect("a code").to_owned()
}

/// A session cannot be checked: the client may come again.
pub(crate) async fn unavailable(node: &RunningNode, session: &SessionCreds) {
    match node.client().auth(session.auth()).connect().await {
        Err(Failure::Closed(_)) => {}
        Err(other) => panic!("it should be told to come again, was {other:?}"),
        Ok(_) => panic!("it should be told to come again, but it connected"),
    }
}
