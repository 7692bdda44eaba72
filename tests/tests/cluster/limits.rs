//! Limits hold for all nodes of a cluster together, and overshoot by no more than what arrives
//! within one exchange.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tidings_tests::{Cluster, RawHttp, RunningCluster, RunningNode, SioClient};

const EVENTS: &str = "limits.events_per_minute_per_user";

/// How long it may take until all nodes know what one has counted: it tells after at most 100 ms,
/// the cluster passes it on after at most 100 ms, and so does the key's owner; twice that, as the
/// machine may be busy.
const EXCHANGE: Duration = Duration::from_millis(600);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three nodes with a limit.
async fn limited(key: &str, limit: usize) -> RunningCluster {
    let cluster = Cluster::of(NAMES).config(key, limit).start().await;
    cluster.agreed().await;
    cluster
}

/// One client of a user at each node.
async fn everywhere(cluster: &RunningCluster, user: &str) -> Vec<SioClient> {
    let clients = NAMES.map(|name| cluster[name].guest(user));
    join_all(clients).await
}

/// Whether an event is let pass.
async fn passes(client: &mut SioClient) -> bool {
    let answer = client.ask("subscribe:news", json!({"topic": "all"})).await;
    if answer["ok"] == false {
        assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
    }
    answer["ok"] == true
}

#[tokio::test]
async fn a_user_that_changes_nodes_slowly_gets_exactly_the_limit() {
    let cluster = limited(EVENTS, 7).await;
    let mut clients = everywhere(&cluster, "alice").await;
    let mut passed = 0;
    for turn in 0..12 {
        passed += usize::from(passes(&mut clients[turn % 3]).await);
        tokio::time::sleep(EXCHANGE).await;
    }
    assert_eq!(passed, 7);
    let mut bob = everywhere(&cluster, "bob").await;
    assert!(passes(&mut bob[2]).await, "others are not concerned");
}

#[tokio::test]
async fn a_user_that_hammers_all_nodes_at_once_gets_little_more_than_the_limit() {
    const LIMIT: usize = 100;
    const PAUSE: Duration = Duration::from_millis(40);
    let cluster = limited(EVENTS, LIMIT).await;
    let hammered = everywhere(&cluster, "alice")
        .await
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                let (begun, mut passed) = (Instant::now(), 0);
                let mut due = tokio::time::interval(PAUSE);
                while begun.elapsed() < 110 * PAUSE {
                    due.tick().await;
                    passed += usize::from(passes(&mut client).await);
                }
                passed
            })
        });
    let mut passed = 0;
    for client in hammered.collect::<Vec<_>>() {
        passed += client.await.expect("a client that counts");
    }
    // Three nodes that knew nothing of each other would let 300 pass.
    let bound = LIMIT + 3 * (EXCHANGE.as_millis() / PAUSE.as_millis()) as usize;
    println!("{passed} of {LIMIT} passed, {bound} might");
    assert!(
        (LIMIT..=bound).contains(&passed),
        "{passed} passed, {bound} may"
    );
}

#[tokio::test]
async fn connections_of_an_address_count_together() {
    let cluster = limited("limits.connections_per_minute_per_ip", 6).await;
    let mut passed = 0;
    for turn in 0..12 {
        passed += usize::from(opens(&cluster[NAMES[turn % 3]]).await);
        tokio::time::sleep(EXCHANGE).await;
    }
    assert_eq!(passed, 6);
}

async fn opens(node: &RunningNode) -> bool {
    let target = "/socket.io/?EIO=4&transport=polling";
    let status = RawHttp::get(node.public(), target).await.status;
    assert!(status == 200 || status == 429, "{status}");
    status == 200
}

#[tokio::test]
async fn logins_count_together() {
    let cluster = limited("limits.logins_per_minute_per_user", 4).await;
    let mut statuses = Vec::new();
    for turn in 0..9 {
        statuses.push(log_in(&cluster[NAMES[turn % 3]]).await);
        tokio::time::sleep(EXCHANGE).await;
    }
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429, 429, 429, 429]);
}

async fn log_in(node: &RunningNode) -> u16 {
    let body = json!({"username": "alice", "password": "wrong"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let (to, body) = (node.public(), body.as_bytes());
    RawHttp::once(to, "POST", "/auth/login", &headers, body)
        .await
        .status
}

mod subscriptions {
    use super::*;

    const LIMIT: &str = "limits.subscriptions_per_user";

    /// Subscribes to a topic; gives the code of the refusal.
    async fn watch(client: &mut SioClient, topic: &str) -> Option<String> {
        let ask = json!({"topic": topic});
        let answer = client.ask("subscribe:news", ask).await;
        answer["error"]["code"].as_str().map(str::to_owned)
    }

    #[tokio::test]
    async fn count_together_and_make_room_when_they_end() {
        let cluster = limited(LIMIT, 3).await;
        let mut clients = everywhere(&cluster, "alice").await;
        for (at, topic) in ["A", "B", "C"].iter().enumerate() {
            assert_eq!(watch(&mut clients[at], topic).await, None);
            tokio::time::sleep(EXCHANGE).await;
        }
        for client in &mut clients {
            let refused = watch(client, "D").await;
            assert_eq!(refused.as_deref(), Some("subscription_limit"));
        }
        let first = clients.remove(0);
        first.disconnect().await;
        let [second, third] = &mut clients[..] else {
            panic!("two are left")
        };
        tokio::time::sleep(EXCHANGE).await;
        assert_eq!(watch(second, "D").await, None);
        tokio::time::sleep(EXCHANGE).await;
        assert!(watch(third, "E").await.is_some());
    }

    /// They are told again and again, for longer than what is told counts.
    #[tokio::test]
    async fn are_held_as_long_as_they_last() {
        let cluster = limited(LIMIT, 2).await;
        let mut clients = everywhere(&cluster, "alice").await;
        assert_eq!(watch(&mut clients[0], "A").await, None);
        assert_eq!(watch(&mut clients[1], "B").await, None);
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert!(watch(&mut clients[1], "C").await.is_some());
    }

    /// What a node had that died is forgotten after half a minute.
    #[tokio::test]
    async fn of_a_node_that_died_are_forgotten() {
        let mut cluster = limited(LIMIT, 2).await;
        let mut clients = everywhere(&cluster, "alice").await;
        assert_eq!(watch(&mut clients[0], "A").await, None);
        assert_eq!(watch(&mut clients[1], "B").await, None);
        tokio::time::sleep(EXCHANGE).await;
        cluster["a"].kill9();
        assert!(watch(&mut clients[1], "C").await.is_some());
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(watch(&mut clients[1], "C").await, None);
        cluster["a"].start_again().await;
    }
}

#[tokio::test]
async fn counts_that_outlive_a_restart_are_told_again() {
    let mut cluster = limited(EVENTS, 5).await;
    let mut clients = everywhere(&cluster, "alice").await;
    for _ in 0..5 {
        assert!(passes(&mut clients[0]).await);
    }
    drop(clients);
    // All are gone at once, so that nobody remembers for them.
    for name in NAMES {
        assert!(cluster[name].term().await.success());
    }
    for name in NAMES {
        cluster[name].start_again().await;
    }
    cluster.in_step().await;
    cluster.agreed().await;
    let mut alice = cluster["b"].guest("alice").await;
    // The first is counted before anything is known of the others.
    passes(&mut alice).await;
    tokio::time::sleep(EXCHANGE).await;
    assert!(!passes(&mut alice).await);
}
