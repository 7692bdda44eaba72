//! MongoDB that is away, slow or refusing costs nobody anything who does not need it, is told of,
//! and is found to be well again by itself.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tidings_tests::mongod::Fail;
use tidings_tests::{Mongod, RunningNode, eventually};

use super::kit::{beside, figure, mongodb, noticed_by, put, seen, status, store, unavailable};
use tidings_tests::node::SessionCreds;

/// What everybody has who does not need MongoDB just now: a socket stays, and gets events at once.
async fn nothing_is_blocked(node: &RunningNode, client: &mut tidings_tests::SioClient) {
    let begun = Instant::now();
    node.emit(json!({"broadcast": true, "event": "still here", "args": [1]}))
        .await;
    client.expect("still here").await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

/// A session connects before its client's patience is over, as it comes again and again.
async fn connects_again(node: &RunningNode, session: &SessionCreds) {
    eventually("it connects by itself", async || {
        node.client().auth(session.auth()).connect().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_node_starts_without_it_and_says_since_when_it_is_away() {
    let mut mongod = Mongod::standalone().await;
    mongod.kill9();
    let node = beside(&mongod.uri("app")).start().await;
    seen(&node, false).await;
    let first = mongodb(&node).await;
    assert_eq!(status(&node).await, "degraded");
    let message = first["message"].as_str().expect("a reason");
    assert!(message.contains("cannot be reached"), "{message}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let later = mongodb(&node).await;
    assert_eq!(later["since"], first["since"], "it is the same trouble");
    mongod.start_again().await;
    seen(&node, true).await;
    assert_eq!(status(&node).await, "ok");
    assert_eq!(mongodb(&node).await["since"], Value::Null);
}

#[tokio::test]
async fn killed_it_is_missed_by_unknown_sessions_alone() {
    let mut mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    // What is known is old at once.
    let node = beside(&mongod.uri("app")).config("session.cache", "1ms");
    let mut node = node.config("session.recheck", "1ms").start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    mongod.kill9();
    node.connected(&alice).await;
    unavailable(&node, &bob).await;
    seen(&node, false).await;
    nothing_is_blocked(&node, &mut client).await;
    assert!(figure(&node, "tidings_mongodb_sessions_total{source=\"stale\"}").await >= 1.0);
    let refused = figure(
        &node,
        "tidings_mongodb_sessions_total{source=\"unavailable\"}",
    );
    assert!(refused.await >= 1.0);
    let away = figure(
        &node,
        "tidings_mongodb_operations_total{outcome=\"unreachable\"}",
    );
    assert!(away.await >= 1.0);
    drop(client);
    // What is known is so after a restart of the node, too.
    node.restart().await;
    let mut client = node.connected(&alice).await;
    mongod.start_again().await;
    connects_again(&node, &bob).await;
    seen(&node, true).await;
    noticed_by(&node, "changeStream").await;
    nothing_is_blocked(&node, &mut client).await;
}

#[tokio::test]
async fn slow_it_costs_its_deadline_and_nobody_else_anything() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).config("mongodb.timeout", "500ms");
    let node = node.start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    mongod
        .fail(Fail::commands(["find"]).after(Duration::from_secs(10)))
        .await;
    let begun = Instant::now();
    let refused = unavailable(&node, &bob);
    let (_, ()) = tokio::join!(refused, nothing_is_blocked(&node, &mut client));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    node.connected(&alice).await;
    // Pings are answered all the while.
    seen(&node, false).await;
    let message = mongodb(&node).await["message"].to_string();
    assert!(message.contains("no answer within 500ms"), "{message}");
    assert!(figure(&node, "tidings_mongodb_operations_total{outcome=\"late\"}").await >= 1.0);
    mongod.heal().await;
    connects_again(&node, &bob).await;
    seen(&node, true).await;
}

#[tokio::test]
async fn frozen_it_is_found_out_and_found_well_again() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).config("mongodb.timeout", "500ms");
    let node = node.start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    mongod.freeze();
    unavailable(&node, &bob).await;
    seen(&node, false).await;
    noticed_by(&node, "nothing").await;
    nothing_is_blocked(&node, &mut client).await;
    mongod.thaw();
    connects_again(&node, &bob).await;
    seen(&node, true).await;
    noticed_by(&node, "changeStream").await;
}

#[tokio::test]
async fn errors_of_the_server_are_no_verdict_on_a_session() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).start().await;
    let bob = store(&database, "b", "bob").await;
    // ShutdownInProgress, and InternalError.
    for code in [91, 1] {
        mongod.fail(Fail::commands(["find"]).with_code(code)).await;
        unavailable(&node, &bob).await;
        mongod.heal().await;
        connects_again(&node, &bob).await;
        let sessions = database.collection::<Document>("sessions");
        let gone = sessions.delete_many(doc! {}).await;
        gone.expect("sessions can be deleted");
        noticed_by(&node, "changeStream").await;
        eventually("nothing is known of it", async || {
            let refused = node.client().auth(bob.auth()).connect().await;
            matches!(refused, Err(tidings_tests::sio::Failure::ConnectError(_)))
        })
        .await;
        store(&database, "b", "bob").await;
    }
}

#[tokio::test]
async fn a_primary_that_steps_down_is_waited_for() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    mongod.step_down(Duration::from_secs(3)).await;
    unavailable(&node, &bob).await;
    node.connected(&alice).await;
    nothing_is_blocked(&node, &mut client).await;
    connects_again(&node, &bob).await;
    seen(&node, true).await;
    noticed_by(&node, "changeStream").await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let mongod = Mongod::with_users().await;
    let read = doc! { "role": "read", "db": "app" };
    let database = mongod.database("app").await;
    let bob = store(&database, "b", "bob").await;
    let uri = format!("mongodb://tidings:hunter2@{}/app", mongod.address());
    let node = beside(&uri).start().await;
    seen(&node, false).await;
    unavailable(&node, &bob).await;
    let message = mongodb(&node).await["message"].to_string();
    assert!(message.contains("access was refused"), "{message}");
    assert!(!message.contains("hunter2") && !node.log().contains("hunter2"));
    mongod
        .add_user("app", "tidings", "hunter2", vec![read])
        .await;
    connects_again(&node, &bob).await;
    seen(&node, true).await;
}

#[tokio::test]
async fn a_malformed_document_is_told_and_may_be_mended() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = beside(mongo.uri()).start().await;
    let bob = store(&database, "b", "bob").await;
    for session in [json!("{"), json!(5), json!({"userId": [1]})] {
        let session = mongodb::bson::serialize_to_bson(&session).expect("JSON is BSON");
        put(&database, doc! { "_id": "b", "session": session }).await;
        unavailable(&node, &bob).await;
    }
    let message = mongodb(&node).await["message"].to_string();
    assert!(message.contains("user id is neither text"), "{message}");
    assert_eq!(status(&node).await, "degraded");
    // A change that is noticed meanwhile reads it once more.
    let malformed = figure(&node, "tidings_mongodb_sessions_malformed_total").await;
    assert!(malformed >= 3.0, "{malformed}");
    store(&database, "b", "bob").await;
    node.connected(&bob).await;
    seen(&node, true).await;
}

/// More than operations are done at once; each is another's session, so each is a read.
#[tokio::test]
async fn a_thousand_users_who_come_at_once_all_get_in() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    // They are read one by one, by a debug build among other tests.
    let node = beside(mongo.uri()).config("mongodb.timeout", "10s");
    let node = node.start().await;
    noticed_by(&node, "changeStream").await;
    let end = mongodb::bson::DateTime::from_millis(i64::MAX / 1000);
    let session = |n: usize| {
        let session = json!({"cookie": {"originalMaxAge": null}, "userId": format!("u{n}")});
        doc! { "_id": format!("s{n}"), "session": session.to_string(), "expires": end }
    };
    let sessions = database.collection::<Document>("sessions");
    let done = sessions.insert_many((0..1000).map(session)).await;
    done.expect("sessions can be stored");
    let creds = (0..1000).map(|n| SessionCreds {
        session_id: format!("s{n}"),
        user_id: format!("u{n}"),
    });
    let connect = creds.map(|creds| {
        let node = &node;
        async move { node.client().auth(creds.auth()).connect().await }
    });
    let clients = futures_util::future::join_all(connect).await;
    let refused: Vec<_> = clients.iter().filter_map(|it| it.as_ref().err()).collect();
    assert!(
        refused.is_empty(),
        "{}: {:?}",
        refused.len(),
        refused.first()
    );
    assert_eq!(status(&node).await, "ok");
    let busy = "tidings_mongodb_operations_total{outcome=\"busy\"}";
    assert_eq!(figure(&node, busy).await, 0.0);
}

/// The whole of it stands in the connection string: whom to trust, and who this is.
#[tokio::test]
async fn it_is_spoken_to_by_tls_and_only_if_its_certificate_is_trusted() {
    let mongod = Mongod::with_users_over_tls().await;
    let roles = vec![doc! { "role": "read", "db": "app" }];
    mongod
        .add_user("app", "tidings", "its-password", roles)
        .await;
    let database = mongod.database("app").await;
    let alice = store(&database, "a", "alice").await;
    let uri = mongod.uri("app");
    let uri = uri.replace("mongodb://", "mongodb://tidings:its-password@");
    let node = beside(&uri).start().await;
    node.connected(&alice).await;
    seen(&node, true).await;
    assert!(!node.log().contains("its-password"));

    let untrusted = uri.split("&tlsCAFile").next().expect("an end");
    let node = beside(untrusted)
        .config("mongodb.timeout", "1s")
        .start()
        .await;
    seen(&node, false).await;
    unavailable(&node, &alice).await;
}
