//! Several nodes that behave as one: joining, emits from any node to anybody, acknowledgements,
//! and that a node without listeners gets no traffic.

use serde_json::{Value, json};
use tidings_tests::{Cluster, RunningCluster, RunningNode, SILENCE, SioClient};

async fn three() -> RunningCluster {
    Cluster::of(["a", "b", "c"]).start().await
}

/// A client on each node: alice on a, bob on b, carol on c.
async fn clients(cluster: &RunningCluster) -> [SioClient; 3] {
    [
        cluster["a"].guest("alice").await,
        cluster["b"].guest("bob").await,
        cluster["c"].guest("carol").await,
    ]
}

mod nodes {
    use super::*;

    #[tokio::test]
    async fn know_each_other_once_they_are_ready() {
        let cluster = three().await;
        for name in cluster.names() {
            let seen = cluster[name].cluster().await;
            assert_eq!(seen["clustered"], true);
            assert_eq!(seen["node"]["name"], name);
            assert_eq!(seen["node"]["state"], "ready");
            let peers = seen["peers"].as_array().expect("a list");
            assert_eq!(peers.len(), 2, "{seen:#}");
            for peer in peers {
                let other = peer["name"].as_str().expect("a name");
                assert_eq!(peer["address"], cluster[other].cluster_address());
                assert!(peer["roundTripMs"].as_f64().is_some_and(|ms| ms < 1000.0));
            }
        }
        let (status, table, error) = cluster["a"].command(&["cluster", "status"], "");
        assert!(status.success(), "{error}");
        for row in ["a (this node)", "b", "c"] {
            assert!(
                table.lines().any(|line| line.starts_with(row)),
                "{row} is not in\n{table}"
            );
        }
    }

    #[tokio::test]
    async fn are_added_without_a_restart_elsewhere() {
        let mut cluster = Cluster::of(["a", "b"]).start().await;
        let mut alice = cluster["a"].reader("alice", "x").await;
        let newcomer = cluster.newcomer("c").start().await;
        // Ready means that it knows where the listeners are, and they of its own.
        let mut carol = newcomer.reader("carol", "x").await;
        newcomer
            .emit(json!({"room": "news:x", "event": "from-c", "data": 1}))
            .await;
        alice.expect("from-c").await;
        cluster["a"]
            .emit(json!({"room": "news:x", "event": "from-a", "data": 1}))
            .await;
        carol.expect("from-c").await;
        carol.expect("from-a").await;
        cluster.add("c", newcomer);
        cluster.in_step().await;
    }

    #[tokio::test]
    async fn tell_how_many_clients_they_have() {
        let cluster = three().await;
        let _alice = cluster["a"].guest("alice").await;
        let _also = cluster["a"].guest("alice").await;
        tidings_tests::eventually("b knows of a's two clients", async || {
            cluster["b"].sees("a").await["connections"] == 2
        })
        .await;
    }
}

mod emits {
    use super::*;

    #[tokio::test]
    async fn reach_rooms_users_sockets_and_everybody_from_any_node() {
        let cluster = three().await;
        let [mut alice, mut bob, mut carol] = clients(&cluster).await;
        alice.read("x").await;
        carol.read("x").await;
        for name in cluster.names() {
            for (target, reached) in [
                (json!({"room": "news:x"}), [true, false, true]),
                (json!({"user": "bob"}), [false, true, false]),
                (json!({"users": ["alice", "bob"]}), [true, true, false]),
                (json!({"room": carol.sid()}), [false, false, true]),
                (json!({"broadcast": true}), [true, true, true]),
                (
                    json!({"broadcast": true, "except": ["news:x"]}),
                    [false, true, false],
                ),
                (
                    json!({"broadcast": true, "except": [bob.sid()]}),
                    [true, false, true],
                ),
                (
                    json!({"room": "news:x", "except": ["user:carol"]}),
                    [true, false, false],
                ),
                (
                    json!({"room": "news:x", "volatile": true}),
                    [true, false, true],
                ),
            ] {
                let mut emit = target.clone();
                emit["event"] = json!("e");
                emit["data"] = json!([name, target]);
                cluster[name].emit(emit.clone()).await;
                for (client, reached) in [&mut alice, &mut bob, &mut carol].into_iter().zip(reached)
                {
                    if reached {
                        let event = client.expect("e").await;
                        assert_eq!(event.args[0], emit["data"]);
                    }
                }
            }
        }
        for client in [&mut alice, &mut bob, &mut carol] {
            client.silent_for(SILENCE).await;
        }
    }

    #[tokio::test]
    async fn keep_the_order_of_their_emitter() {
        let cluster = Cluster::of(["a", "b"]).start().await;
        let mut bob = cluster["b"].reader("bob", "x").await;
        let count = 500;
        for n in 0..count {
            let target = match n % 3 {
                0 => json!({"room": "news:x"}),
                1 => json!({"user": "bob"}),
                _ => json!({"broadcast": true}),
            };
            let mut emit = target;
            emit["event"] = json!("n");
            emit["data"] = json!(n);
            cluster["a"].emit(emit).await;
        }
        for n in 0..count {
            assert_eq!(bob.expect("n").await.args[0], n);
        }
    }

    #[tokio::test]
    async fn carry_attachments_and_large_arguments() {
        let cluster = Cluster::of(["a", "b"]).start().await;
        let mut bob = cluster["b"].guest("bob").await;
        let large = "x".repeat(500_000);
        cluster["a"]
            .emit(json!({"user": "bob", "event": "large", "data": large}))
            .await;
        assert_eq!(bob.expect("large").await.args[0], large);
    }
}

mod acknowledgements {
    use super::*;

    #[tokio::test]
    async fn are_collected_from_the_clients_of_all_nodes() {
        let cluster = three().await;
        let [mut alice, mut bob, mut carol] = clients(&cluster).await;
        let ask = json!({"broadcast": true, "event": "q", "data": 1, "ack": {"timeoutMs": 5000}});
        let asking = cluster["b"].api("POST", "/api/v1/emit", ask);
        let answering = async {
            for client in [&mut alice, &mut bob, &mut carol] {
                let event = client.expect("q").await;
                let id = event.id.expect("an answer is wanted");
                let sid = client.sid().to_owned();
                client.ack(id, json!([sid])).await;
            }
        };
        let ((status, answer), ()) = tokio::join!(asking, answering);
        assert_eq!(status, 200, "{answer}");
        let mut sids: Vec<&str> = responses(&answer).collect();
        let mut wanted = [alice.sid(), bob.sid(), carol.sid()];
        sids.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sids, wanted, "{answer}");
        assert_eq!(answer["missing"], json!([]), "{answer}");
    }

    #[tokio::test]
    async fn that_do_not_come_are_named_and_the_others_given() {
        let cluster = three().await;
        let [mut alice, bob, carol] = clients(&cluster).await;
        let ask = json!({"broadcast": true, "event": "q", "data": 1, "ack": {"timeoutMs": 700}});
        let asking = cluster["c"].api("POST", "/api/v1/emit", ask);
        let answering = async {
            let id = alice.expect("q").await.id.expect("an answer is wanted");
            alice.ack(id, json!(["here"])).await;
        };
        let ((status, answer), ()) = tokio::join!(asking, answering);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(responses(&answer).collect::<Vec<_>>(), ["here"], "{answer}");
        let missing = answer["missing"].as_array().expect("a list");
        for client in [&bob, &carol] {
            assert!(missing.contains(&json!(client.sid())), "{answer}");
        }
        assert_eq!(missing.len(), 2, "{answer}");
    }

    fn responses(answer: &Value) -> impl Iterator<Item = &str> {
        let responses = answer["responses"].as_array().expect("a list");
        responses
            .iter()
            .map(|response| response.as_str().expect("a text"))
    }
}

mod interest {
    use super::*;

    /// Bytes of forwards from one node to another.
    async fn forwarded(from: &RunningNode, to: &str) -> u64 {
        from.sees(to).await["forwardedBytes"]
            .as_u64()
            .expect("a number")
    }

    #[tokio::test]
    async fn decides_who_gets_live_traffic() {
        let cluster = three().await;
        let mut bob = cluster["b"].reader("bob", "x").await;
        let mut carol = cluster["c"].reader("carol", "y").await;
        let before = forwarded(&cluster["a"], "c").await;
        let total = cluster["c"].cluster().await["totals"]["received"].clone();
        for n in 0..50 {
            cluster["a"]
                .emit(json!({"room": "news:x", "event": "n", "data": n}))
                .await;
            cluster["a"]
                .emit(json!({"user": "bob", "event": "n", "data": n}))
                .await;
            cluster["a"]
                .emit(json!({"room": bob.sid(), "event": "n", "data": n}))
                .await;
        }
        for n in 0..50 {
            for _ in 0..3 {
                assert_eq!(bob.expect("n").await.args[0], n);
            }
        }
        assert!(forwarded(&cluster["a"], "b").await > 150 * 20);
        assert_eq!(forwarded(&cluster["a"], "c").await, before);
        let now = cluster["c"].cluster().await["totals"]["received"].clone();
        assert_eq!(now, total, "a node without listeners was forwarded to");
        cluster["a"]
            .emit(json!({"room": "news:y", "event": "y", "data": 0}))
            .await;
        carol.expect("y").await;
        assert!(forwarded(&cluster["a"], "c").await > before);
    }

    #[tokio::test]
    async fn ends_some_time_after_the_last_listener_is_gone() {
        let cluster = Cluster::of(["a", "b"]).start().await;
        let bob = cluster["b"].reader("bob", "x").await;
        let mut stays = cluster["b"].reader("ben", "y").await;
        let rooms = || async { cluster["a"].sees("b").await["rooms"].as_u64() };
        let with_both = rooms().await.expect("a number");
        bob.disconnect().await;
        tidings_tests::eventually("a has forgotten b's rooms", async || {
            rooms().await.is_some_and(|now| now + 1 < with_both)
        })
        .await;
        let before = forwarded(&cluster["a"], "b").await;
        cluster["a"]
            .emit(json!({"room": "news:x", "event": "gone", "data": 1}))
            .await;
        cluster["a"]
            .emit(json!({"user": "bob", "event": "gone", "data": 1}))
            .await;
        tokio::time::sleep(SILENCE).await;
        assert_eq!(forwarded(&cluster["a"], "b").await, before);
        cluster["a"]
            .emit(json!({"room": "news:y", "event": "y", "data": 1}))
            .await;
        stays.expect("y").await;
    }
}
