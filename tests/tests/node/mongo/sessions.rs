//! The sessions that Express wrote are the sessions that sockets are checked against.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::doc;
use serde_json::json;
use tidings_tests::express::{CRYPTO, SECRETS};
use tidings_tests::{Express, Mongod, Node};

use super::kit::{beside, figure, noticed_by, put, refusal, store, store_for};

const READ: &str = "tidings_mongodb_sessions_total{source=\"read\"}";

/// A login of the application opens a socket by `auth` and by the cookie alone, and the wrong user
/// does not.
async fn is_honoured(node: Node, uri: &str, args: &[&str]) {
    let (node, express) = tokio::join!(node.start(), Express::start(uri, args));
    let alice = express.login("alice").await;
    let mut by_auth = node.connected(&alice.session).await;
    let by_cookie = node.client().header("Cookie", &alice.cookie);
    let mut by_cookie = by_cookie.connect().await.expect("the cookie is enough");
    node.emit(json!({"user": "alice", "event": "hello", "data": 1}))
        .await;
    by_auth.expect("hello").await;
    by_cookie.expect("hello").await;
    let auth = json!({"sessionID": alice.session.session_id, "userId": "mallory"});
    let error = node.client().auth(auth).connect_error().await;
    assert_eq!(error["data"]["code"], "user_mismatch");
}

#[tokio::test]
async fn as_text() {
    let mongo = Mongod::shared().await;
    is_honoured(beside(mongo.uri()), mongo.uri(), &["--touch-after", "60"]).await;
}

#[tokio::test]
async fn as_documents_with_an_id_of_the_applications_own_and_passport() {
    let mongo = Mongod::shared().await;
    let node = beside(mongo.uri())
        .config("session.document_id", "sess:{sid}")
        .config("session.user_field", "passport.user");
    let args = ["--documents", "--transform", "sess", "--passport"];
    is_honoured(node, mongo.uri(), &args).await;
}

#[tokio::test]
async fn encrypted_in_the_older_form_with_hashed_ids() {
    let mongo = Mongod::shared().await;
    let node = beside(mongo.uri())
        .config("session.document_id", "{sha256}")
        .config("session.secret", CRYPTO);
    let args = ["--crypto", "kruptein", "--transform", "sha256"];
    is_honoured(node, mongo.uri(), &args).await;
}

#[tokio::test]
async fn encrypted_in_the_newer_form() {
    let mongo = Mongod::shared().await;
    let node = beside(mongo.uri());
    let secret = node.file("session-secret", CRYPTO);
    let node = node.config("session.secret_file", secret);
    is_honoured(node, mongo.uri(), &["--crypto", "web"]).await;
}

#[tokio::test]
async fn a_cookie_of_the_old_secret_counts_until_the_secret_goes() {
    let mongo = Mongod::shared().await;
    let express = Express::start(mongo.uri(), &[]).await;
    let alice = express.login("alice").await;
    let [this_year, last_year] = SECRETS;
    let next_year = "the secret of next year";
    let mut node = beside(mongo.uri())
        .config("auth.secrets", json!([next_year, this_year]))
        .start()
        .await;
    let client = node.client().header("Cookie", &alice.cookie);
    client.connect().await.expect("both secrets verify");
    node.reconfigure("auth.secrets", json!([next_year, last_year]));
    node.restart().await;
    let client = node.client().header("Cookie", &alice.cookie);
    let error = client.connect_error().await;
    assert_eq!(error["data"]["code"], "invalid_session");
}

#[tokio::test]
async fn what_is_no_login_is_refused_for_good() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = beside(mongo.uri()).start().await;
    let mut alice = store(&database, "a", "alice").await;
    put(
        &database,
        doc! { "_id": "visitor", "session": "{\"cookie\":{}}" },
    )
    .await;
    let gone = store_for(&database, "old", "alice", Duration::ZERO).await;
    assert_eq!(refusal(&node, &gone).await, "expired_session");
    for id in ["nobodys", "visitor"] {
        alice.session_id = id.to_owned();
        assert_eq!(refusal(&node, &alice).await, "invalid_session", "{id}");
    }
}

#[tokio::test]
async fn embedded_sessions_come_first_and_need_no_mongodb() {
    let mongo = Mongod::shared().await;
    store(&mongo.database(), "same", "mallory").await;
    let node = beside(mongo.uri()).start().await;
    let body = json!({"userId": "alice", "sessionID": "same"});
    let alice = node.session_with(body).await;
    node.connected(&alice).await;
    assert_eq!(figure(&node, READ).await, 0.0);
}

#[tokio::test]
async fn a_thousand_connects_of_one_user_are_one_read() {
    let mongo = Mongod::shared().await;
    let node = beside(mongo.uri()).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&mongo.database(), "a", "alice").await;
    for _ in 0..10 {
        let clients = (0..100).map(|_| node.connected(&alice));
        let clients = join_all(clients).await;
        assert_eq!(clients.len(), 100);
    }
    assert_eq!(figure(&node, READ).await, 1.0);
}
