//! `tidings migrate`: indexes that are needed, once, and by one at a time.

use mongodb::bson::{Document, doc};
use mongodb::{Database, IndexModel};
use serde_json::Value;
use tidings_tests::{Mongod, Node};

async fn indexes(database: &Database, collection: &str) -> Vec<String> {
    let collection = database.collection::<Document>(collection);
    collection.list_index_names().await.unwrap_or_default()
}

#[tokio::test]
async fn makes_what_is_missing_and_says_what_is() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = Node::new().config("mongodb.uri", mongo.uri());

    let (status, said, error) = node.command(&["migrate", "--dry-run"], "");
    assert!(status.success(), "{error}");
    assert!(said.contains("would be made"), "{said}");
    assert!(said.contains("WARNING: sessions has no index"), "{said}");
    assert!(indexes(&database, "trades").await.is_empty());

    // Two at once, of which one waits.
    let (first, second) = std::thread::scope(|scope| {
        let migrate = || node.command(&["migrate"], "");
        let other = scope.spawn(migrate);
        (migrate(), other.join().expect("it does not panic"))
    });
    for (status, said, error) in [&first, &second] {
        assert!(status.success(), "{said}{error}");
    }
    assert_eq!(
        indexes(&database, "trades").await,
        ["_id_", "userId_1__id_-1"]
    );
    assert_eq!(indexes(&database, "portfolios").await, ["_id_", "userId_1"]);

    let expire = mongodb::options::IndexOptions::builder()
        .expire_after(std::time::Duration::ZERO)
        .build();
    let model = IndexModel::builder()
        .keys(doc! { "expires": 1 })
        .options(expire);
    let sessions = database.collection::<Document>("sessions");
    let made = sessions.create_index(model.build()).await;
    made.expect("MongoDB makes indexes");
    let (status, said, error) = node.command(&["migrate"], "");
    assert!(status.success(), "{error}");
    assert!(said.contains("there: userId_1__id_-1"), "{said}");
    assert!(!said.contains("WARNING"), "{said}");

    let newer = doc! { "$set": { "version": 99_i64 } };
    let rows = database.collection::<Document>("tidings_migrations");
    let changed = rows.update_one(doc! { "_id": "schema", "version": 1_i64 }, newer);
    assert_eq!(changed.await.expect("MongoDB writes").modified_count, 1);
    let (status, _, error) = node.command(&["migrate"], "");
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("the database is of version 99"), "{error}");
}

#[tokio::test]
async fn says_when_there_is_nothing_to_migrate_or_nobody_there() {
    let (status, said, error) = Node::new().command(&["migrate"], "");
    assert!(status.success(), "{error}");
    assert!(said.contains("nothing to migrate"), "{said}");
    let node = Node::new()
        .config("mongodb.uri", "mongodb://127.0.0.1:9/app")
        .config("mongodb.timeout", "300ms");
    let (status, _, error) = node.command(&["migrate"], "");
    assert_eq!(status.code(), Some(69), "{error}");
}

/// It makes nothing in the collection of sessions, so it needs no right to it; and whose collections a
/// node may not read is said once.
#[tokio::test]
async fn needs_no_right_to_the_sessions() {
    let mongod = Mongod::with_users().await;
    let database = mongod.database("app").await;
    let privilege = |collection: &str, actions: &[&str]| {
        doc! {
            "resource": { "db": "app", "collection": collection }, "actions": actions,
        }
    };
    let role = doc! {
        "createRole": "tidings",
        "roles": [],
        "privileges": [
            privilege("sessions", &["find"]),
            privilege("trades", &["listIndexes", "createIndex"]),
            privilege("portfolios", &["listIndexes", "createIndex"]),
            privilege("watchlists", &["listIndexes", "createIndex"]),
            privilege("tidings_leases", &["find", "insert", "update"]),
            privilege("tidings_migrations", &["find", "insert", "update"]),
        ],
    };
    let made = database.run_command(role).await;
    made.expect("a role can be made");
    mongod
        .add_user(
            "app",
            "tidings",
            "pw",
            vec![doc! { "role": "tidings" , "db": "app" }],
        )
        .await;
    let uri = format!("mongodb://tidings:pw@{}/app", mongod.address());
    let node = Node::new().config("mongodb.uri", uri);
    let (status, said, error) = node.command(&["migrate"], "");
    assert!(status.success(), "{error}");
    assert!(said.contains("cannot be told"), "{said}");
    assert!(indexes(&database, "trades").await.len() == 2, "{said}");

    let node = node.start().await;
    let session = node.session("alice").await;
    let mut alice = node.connected(&session).await;
    for _ in 0..2 {
        let answer = alice.ask("subscribe:trades", Value::Null).await;
        assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    }
    let log = node.log();
    assert_eq!(
        log.matches("may not read this collection").count(),
        1,
        "{log}"
    );
}
