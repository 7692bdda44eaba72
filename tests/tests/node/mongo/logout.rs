//! A session that ends in MongoDB closes its sockets within two seconds.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::json;
use tidings_tests::mongod::Fail;
use tidings_tests::node::SessionCreds;
use tidings_tests::sio::End;
use tidings_tests::{Express, Mongod, SILENCE, SioClient, eventually};

use super::kit::{beside, delete, figure, mongodb, noticed_by, refusal, seen, store, store_for};

/// What is promised.
const WITHIN: Duration = Duration::from_secs(2);

async fn ends(client: &mut SioClient, begun: Instant) {
    assert_eq!(client.end().await, End::Disconnected);
    let took = begun.elapsed();
    assert!(took < WITHIN, "it took {took:?}");
}

#[tokio::test]
async fn the_applications_logout_closes_its_sockets_and_no_others() {
    let mongo = Mongod::shared().await;
    let node = beside(mongo.uri()).start();
    let (node, express) = tokio::join!(node, Express::start(mongo.uri(), &[]));
    noticed_by(&node, "changeStream").await;
    let (alice, other) = (express.login("alice").await, express.login("alice").await);
    let mut client = node.connected(&alice.session).await;
    let mut others = node.connected(&other.session).await;
    // A visit moves the end and closes nothing.
    express.visit(&alice).await;
    client.silent_for(SILENCE).await;
    let begun = Instant::now();
    express.logout(&alice).await;
    ends(&mut client, begun).await;
    assert_eq!(refusal(&node, &alice.session).await, "invalid_session");
    let begun = Instant::now();
    express.leave(&other).await;
    ends(&mut others, begun).await;
    assert_eq!(refusal(&node, &other.session).await, "invalid_session");
}

#[tokio::test]
async fn on_a_server_alone_by_looking_again_and_again() {
    let mongod = Mongod::standalone().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).start().await;
    let embedded = node.session("alice").await;
    let mut embedded = node.connected(&embedded).await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    let mut bobs = node.connected(&bob).await;
    noticed_by(&node, "recheck").await;
    let message = mongodb(&node).await["logout"]["message"].clone();
    assert!(message.to_string().contains("no replica set"), "{message}");
    let begun = Instant::now();
    delete(&database, "a").await;
    ends(&mut client, begun).await;
    assert_eq!(refusal(&node, &alice).await, "invalid_session");
    // Another user's login under the same session is not bob's.
    let begun = Instant::now();
    store(&database, "b", "mallory").await;
    ends(&mut bobs, begun).await;
    embedded.silent_for(SILENCE).await;
}

#[tokio::test]
async fn who_logs_in_again_under_the_same_session_is_let_in_at_once() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = beside(mongo.uri()).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let mut client = node.connected(&alice).await;
    let begun = Instant::now();
    delete(&database, "a").await;
    ends(&mut client, begun).await;
    assert_eq!(refusal(&node, &alice).await, "invalid_session");
    store(&database, "a", "alice").await;
    let begun = Instant::now();
    eventually("the new login counts", async || {
        node.client().auth(alice.auth()).connect().await.is_ok()
    })
    .await;
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_session_that_expires_or_is_prolonged_is_followed() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let sessions = database.collection::<Document>("sessions");
    let node = beside(mongo.uri()).start().await;
    noticed_by(&node, "changeStream").await;
    let short = store_for(&database, "a", "alice", Duration::from_secs(3)).await;
    let longer = store_for(&database, "b", "alice", Duration::from_secs(3)).await;
    let begun = Instant::now();
    let mut short = node.connected(&short).await;
    let mut longer = node.connected(&longer).await;
    let end = mongodb::bson::DateTime::from_millis(i64::MAX / 1000);
    let touch = doc! { "$set": { "expires": end } };
    let done = sessions.update_one(doc! { "_id": "b" }, touch).await;
    done.expect("a session can be touched");
    assert_eq!(short.end().await, End::Disconnected);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3) + WITHIN, "{took:?}");
    longer.silent_for(Duration::from_secs(1)).await;
}

/// Many more changes at once than may wait, and most of sessions that nobody here lives under.
#[tokio::test]
async fn logouts_in_a_flood_of_changes_close_their_sockets_and_so_do_later_ones() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let sessions = database.collection::<Document>("sessions");
    let node = beside(mongo.uri()).config("limits.connections_per_minute_per_ip", 0);
    let node = node.start().await;
    noticed_by(&node, "changeStream").await;
    let login = json!({"cookie": {"originalMaxAge": null}, "userId": "alice"}).to_string();
    let end = mongodb::bson::DateTime::from_millis(i64::MAX / 1000);
    let all = (0..3000).map(|n| doc! { "_id": n.to_string(), "session": &login, "expires": end });
    let done = sessions.insert_many(all).await;
    done.expect("sessions can be stored");
    let mut clients = Vec::new();
    for n in 0..22 {
        let session = SessionCreds {
            session_id: (n * 130).to_string(),
            user_id: "alice".to_owned(),
        };
        clients.push(node.connected(&session).await);
    }
    let mut stays = clients.pop().expect("there are 22");
    let mut later = clients.pop().expect("there are 21");
    let visitor = json!({"cookie": {"originalMaxAge": null}}).to_string();
    let gone: Vec<_> = (0..20).map(|n| (n * 130).to_string()).collect();
    let is_gone = doc! { "$in": ["$_id", gone] };
    let change = doc! { "$set": {
        "session": { "$cond": [is_gone, &visitor, "$session"] }, "seen": 1,
    } };
    let begun = Instant::now();
    let done = sessions.update_many(doc! {}, vec![change]).await;
    assert_eq!(
        done.expect("sessions can be changed").modified_count,
        3000,
        "all of them change"
    );
    for client in &mut clients {
        assert_eq!(client.end().await, End::Disconnected);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    let change = doc! { "$set": { "session": visitor } };
    let done = sessions.update_one(doc! { "_id": "2600" }, change).await;
    assert_eq!(
        done.expect("a session can be changed").modified_count,
        1,
        "one changes"
    );
    assert_eq!(later.end().await, End::Disconnected);
    stays.silent_for(SILENCE).await;
}

#[tokio::test]
async fn a_logout_while_sessions_cannot_be_read_is_made_up_for() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let sessions = database.collection::<Document>("sessions");
    let node = beside(&mongod.uri("app")).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    let mut others = node.connected(&bob).await;
    let failed = "tidings_mongodb_operations_total{outcome=\"failed\"}";
    let before = figure(&node, failed).await;
    mongod.fail(Fail::commands(["find"]).with_code(8)).await;
    let visitor = json!({"cookie": {"originalMaxAge": null}}).to_string();
    let change = doc! { "$set": { "session": visitor } };
    let done = sessions.update_one(doc! { "_id": "a" }, change).await;
    assert_eq!(
        done.expect("a session can be changed").modified_count,
        1,
        "one changes"
    );
    eventually("it is read again, which fails", async || {
        figure(&node, failed).await >= before + 2.0
    })
    .await;
    mongod.heal().await;
    assert_eq!(client.end().await, End::Disconnected);
    assert_eq!(refusal(&node, &alice).await, "invalid_session");
    others.silent_for(SILENCE).await;
}

#[tokio::test]
async fn a_stream_that_broke_goes_on_and_misses_no_logout() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let mut client = node.connected(&alice).await;
    let rounds = figure(&node, "tidings_mongodb_session_rounds_total").await;
    // The stream can be neither read nor opened while alice logs out.
    mongod
        .fail(Fail::commands(["getMore", "aggregate"]).by_closing())
        .await;
    noticed_by(&node, "nothing").await;
    delete(&database, "a").await;
    client.silent_for(SILENCE).await;
    let begun = Instant::now();
    mongod.heal().await;
    ends(&mut client, begun).await;
    // It went on from its place: nobody's session was looked at in its stead.
    let after = figure(&node, "tidings_mongodb_session_rounds_total").await;
    assert_eq!(after, rounds);
}

#[tokio::test]
async fn a_stream_whose_place_is_lost_looks_at_every_session() {
    let mongod = Mongod::replica_set().await;
    let database = mongod.database("app").await;
    let node = beside(&mongod.uri("app")).start().await;
    noticed_by(&node, "changeStream").await;
    let alice = store(&database, "a", "alice").await;
    let bob = store(&database, "b", "bob").await;
    let mut client = node.connected(&alice).await;
    let mut others = node.connected(&bob).await;
    let rounds = figure(&node, "tidings_mongodb_session_rounds_total").await;
    // ChangeStreamHistoryLost, whenever the stream is read or opened.
    mongod
        .fail(Fail::commands(["getMore"]).with_code(286))
        .await;
    eventually("a round is made", async || {
        figure(&node, "tidings_mongodb_session_rounds_total").await > rounds
    })
    .await;
    let begun = Instant::now();
    delete(&database, "a").await;
    ends(&mut client, begun).await;
    mongod.heal().await;
    seen(&node, true).await;
    others.silent_for(SILENCE).await;
}

#[tokio::test]
async fn a_user_without_the_right_to_change_streams_gets_rechecks() {
    let mongod = Mongod::with_users().await;
    let right = doc! { "role": "read", "db": "app" };
    mongod.add_user("app", "tidings", "pw", vec![right]).await;
    let database = mongod.database("app").await;
    let uri = format!("mongodb://tidings:pw@{}/app", mongod.address());
    let node = beside(&uri).start().await;
    let alice = store(&database, "a", "alice").await;
    let mut client = node.connected(&alice).await;
    noticed_by(&node, "recheck").await;
    let begun = Instant::now();
    delete(&database, "a").await;
    ends(&mut client, begun).await;
    node.emit(json!({"broadcast": true, "event": "e"})).await;
}
