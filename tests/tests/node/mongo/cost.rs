//! What checking sessions in MongoDB costs: printed, to be looked at.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use tidings_tests::node::SessionCreds;
use tidings_tests::{Mongod, RunningNode};

use super::kit::{beside, figure, noticed_by, store};

const USERS: usize = 1000;

/// Connects under way at once.
const AT_ONCE: usize = 32;

async fn connects_per_second(node: &RunningNode, sessions: &[SessionCreds]) -> f64 {
    let begun = Instant::now();
    let connected = iter(sessions).map(|session| node.connected(session));
    let connected: Vec<_> = connected.buffer_unordered(AT_ONCE).collect().await;
    sessions.len() as f64 / begun.elapsed().as_secs_f64() * (connected.len() / USERS) as f64
}

#[tokio::test]
#[ignore = "a measurement, which needs the machine to itself"]
async fn of_a_thousand_users_cold_and_warm() {
    let mongo = Mongod::shared().await;
    let database = mongo.database();
    let node = beside(mongo.uri()).start().await;
    noticed_by(&node, "changeStream").await;
    let mut sessions = Vec::new();
    for number in 0..USERS {
        let user = format!("user-{number}");
        sessions.push(store(&database, &format!("session-{number}"), &user).await);
    }
    // Changes of sessions that nobody has asked for are passed over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let read = "tidings_mongodb_sessions_total{source=\"read\"}";
    let cold = connects_per_second(&node, &sessions).await;
    let reads_cold = figure(&node, read).await;
    let warm = connects_per_second(&node, &sessions).await;
    let reads_warm = figure(&node, read).await - reads_cold;
    let users = USERS as f64;
    println!(
        "cold: {cold:.0} connects/s, {} reads each",
        reads_cold / users
    );
    println!(
        "warm: {warm:.0} connects/s, {} reads each",
        reads_warm / users
    );
    assert_eq!((reads_cold, reads_warm), (users, 0.0));
}
