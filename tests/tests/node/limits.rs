//! Limits: events per user, connections per address, subscriptions per user, logins.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::sio::{End, Failure};
use tidings_tests::{Node, RawHttp, RunningNode, SioClient};

async fn user(node: &RunningNode, name: &str) -> SioClient {
    let session = node.session(name).await;
    node.connected(&session).await
}

mod events {
    use super::*;

    const LIMIT: &str = "limits.events_per_minute_per_user";

    #[tokio::test]
    async fn of_all_sockets_of_a_user_count_together() {
        let node = Node::new().config(LIMIT, 6).start().await;
        let mut one = user(&node, "alice").await;
        let mut two = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        for _ in 0..3 {
            assert_eq!(
                one.ask("subscribe:portfolio", Value::Null).await["ok"],
                true
            );
            assert_eq!(
                two.ask("subscribe:portfolio", Value::Null).await["ok"],
                true
            );
        }
        let answer = two.ask("subscribe:portfolio", Value::Null).await;
        assert_eq!(answer["ok"], false, "{answer}");
        assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
        let retry = answer["error"]["retryAfter"]
            .as_u64()
            .expect("when to retry");
        assert!((1..=60).contains(&retry), "{answer}");
        one.emit("subscribe:portfolio", json!([])).await;
        assert_eq!(one.expect("error").await.args[0]["code"], "rate_limited");
        assert_eq!(
            bob.ask("subscribe:portfolio", Value::Null).await["ok"],
            true
        );
    }

    #[tokio::test]
    async fn are_unlimited_with_a_limit_of_zero() {
        let node = Node::new().config(LIMIT, 0).start().await;
        let mut alice = user(&node, "alice").await;
        for _ in 0..300 {
            assert_eq!(
                alice.ask("subscribe:portfolio", Value::Null).await["ok"],
                true
            );
        }
    }

    #[tokio::test]
    async fn survive_a_restart_in_their_count() {
        let mut node = Node::new().config(LIMIT, 3).start().await;
        let session = node.session("alice").await;
        let mut alice = node.connected(&session).await;
        for _ in 0..3 {
            assert_eq!(
                alice.ask("subscribe:portfolio", Value::Null).await["ok"],
                true
            );
        }
        node.restart().await;
        let mut alice = node.connected(&session).await;
        let answer = alice.ask("subscribe:portfolio", Value::Null).await;
        assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
    }

    #[tokio::test]
    async fn far_beyond_the_limit_end_in_a_disconnect_with_its_reason() {
        let node = Node::new()
            .config(LIMIT, 5)
            .config("limits.abuse_windows", 2)
            .start()
            .await;
        let mut alice = user(&node, "alice").await;
        for _ in 0..30 {
            alice.emit("subscribe:portfolio", json!([])).await;
        }
        let mut last = json!(null);
        for _ in 0..10 {
            last = alice.expect("error").await.args[0].clone();
        }
        assert_eq!(last["code"], "rate_limited", "{last}");
        assert_eq!(alice.end().await, End::Disconnected);
    }
}

mod connections {
    use super::*;

    const LIMIT: &str = "limits.connections_per_minute_per_ip";

    #[tokio::test]
    async fn beyond_the_limit_are_told_when_to_retry_before_the_handshake() {
        let node = Node::new().config(LIMIT, 3).start().await;
        let alice = node.session("alice").await;
        for _ in 0..3 {
            node.connected(&alice).await;
        }
        match node.client().auth(alice.auth()).connect().await {
            Err(Failure::Refused(refused)) => {
                assert_eq!(refused.status, 429);
                let body: Value = serde_json::from_str(&refused.body).expect("JSON");
                assert_eq!(body["code"], "rate_limited");
                assert!(body["message"].is_string());
                let retry: u64 = refused
                    .retry_after
                    .expect("Retry-After")
                    .parse()
                    .expect("seconds");
                assert!((1..=60).contains(&retry), "{retry}");
            }
            Err(other) => panic!("429 was due, came {other:?}"),
            Ok(_) => panic!("429 was due, but it connected"),
        }
        let polled = RawHttp::get(node.public(), "/socket.io/?EIO=4&transport=polling").await;
        assert_eq!(polled.status, 429);
        assert_eq!(polled.json()["code"], "rate_limited");
        assert!(polled.header("retry-after").is_some());
        assert_eq!(RawHttp::get(node.public(), "/health").await.status, 200);
    }

    #[tokio::test]
    async fn of_strangers_do_not_count_by_a_header_they_wrote() {
        let node = Node::new().config(LIMIT, 1).start().await;
        let open = async |from: &str| {
            let target = "/socket.io/?EIO=4&transport=polling";
            let headers = [("X-Forwarded-For", from)];
            RawHttp::once(node.public(), "GET", target, &headers, b"")
                .await
                .status
        };
        assert_eq!(open("203.0.113.1").await, 200);
        assert_eq!(open("203.0.113.2").await, 429);
    }

    #[tokio::test]
    async fn behind_a_trusted_proxy_count_by_the_client() {
        let node = Node::new()
            .config(LIMIT, 1)
            .config("http.trusted_proxies", json!(["127.0.0.0/8"]))
            .start()
            .await;
        let open = async |name: &str, from: &str| {
            let target = "/socket.io/?EIO=4&transport=polling";
            let headers = [(name, from)];
            RawHttp::once(node.public(), "GET", target, &headers, b"")
                .await
                .status
        };
        assert_eq!(open("X-Forwarded-For", "203.0.113.1").await, 200);
        assert_eq!(open("X-Forwarded-For", "203.0.113.2").await, 200);
        assert_eq!(open("X-Forwarded-For", "203.0.113.1").await, 429);
        assert_eq!(
            open("X-Forwarded-For", "198.51.100.9, 203.0.113.2").await,
            429
        );
        assert_eq!(open("Forwarded", "for=\"[2001:db8:1:2::7]\"").await, 200);
        assert_eq!(open("Forwarded", "for=\"[2001:db8:1:2::8]\"").await, 429);
        assert_eq!(open("Forwarded", "for=\"[2001:db8:1:3::8]\"").await, 200);
    }

    #[tokio::test]
    async fn that_recover_are_not_counted() {
        let node = Node::new().config(LIMIT, 2).start().await;
        let session = node.session("alice").await;
        let mut alice = node.connected(&session).await;
        assert_eq!(alice.ask("subscribe:trades", Value::Null).await["ok"], true);
        for round in 0..4 {
            let recovery = alice.cut();
            alice = node
                .client()
                .auth(session.auth())
                .recover(&recovery)
                .connect()
                .await
                .unwrap_or_else(|failure| panic!("round {round}: {failure:?}"));
            assert!(alice.recovered(), "round {round}");
        }
    }

    /// Whoever lost a connection may come back to it while the address's window is full; it is no
    /// way in for others.
    #[tokio::test]
    async fn that_are_lost_come_back_though_the_window_is_full() {
        let node = Node::new().config(LIMIT, 2).start().await;
        let session = node.session("alice").await;
        let mut alice = node.connected(&session).await;
        assert_eq!(alice.ask("subscribe:trades", Value::Null).await["ok"], true);
        let target = "/socket.io/?EIO=4&transport=polling";
        let open = async || {
            RawHttp::once(node.public(), "GET", target, &[], b"")
                .await
                .status
        };
        assert_eq!((open().await, open().await), (200, 429));
        // Only the loss of a connection that has lived a while counts as one.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let recovery = alice.cut();
        eventually_gone(&node).await;
        let back = node.client().auth(session.auth()).recover(&recovery);
        let alice = back.connect().await.expect("it recovers");
        assert!(alice.recovered());
        tokio::time::sleep(Duration::from_secs(4)).await;
        alice.cut();
        eventually_gone(&node).await;
        // The place of the lost connection is free again, but not for a new one.
        let mut engine = node
            .client()
            .engine()
            .await
            .expect("it is let in to recover");
        engine.send(format!("40{}", session.auth())).await;
        assert_eq!(
            engine.closed().await,
            Some((1013, "rate_limited".to_owned()))
        );
        assert_eq!(open().await, 429);
    }

    async fn eventually_gone(node: &RunningNode) {
        tidings_tests::eventually("the node has noticed", async || {
            let (_, user) = node.api("GET", "/api/v1/users/alice", Value::Null).await;
            user["sockets"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    }

    #[tokio::test]
    async fn beyond_what_the_node_holds_are_refused_for_now() {
        let node = Node::new().config("limits.connections", 3).start().await;
        let alice = node.session("alice").await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(node.connected(&alice).await);
        }
        match node.client().auth(alice.auth()).connect().await {
            Err(Failure::Refused(refused)) => assert_eq!(refused.status, 503),
            Err(other) => panic!("503 was due, came {other:?}"),
            Ok(_) => panic!("503 was due, but it connected"),
        }
        clients.pop().expect("there are three").disconnect().await;
        drop(clients.pop());
        tidings_tests::eventually("there is room again", async || {
            node.client().auth(alice.auth()).connect().await.is_ok()
        })
        .await;
    }
}

mod subscriptions {
    use super::*;

    #[tokio::test]
    async fn of_all_sockets_of_a_user_count_by_distinct_rooms() {
        let node = Node::new()
            .config("limits.subscriptions_per_user", 3)
            .start()
            .await;
        let mut one = user(&node, "alice").await;
        let mut two = user(&node, "alice").await;
        let watch = json!({"symbols": ["A", "B"]});
        assert_eq!(
            one.ask("subscribe:watchlist", watch.clone()).await["ok"],
            true
        );
        let again = two.ask("subscribe:watchlist", watch).await;
        assert_eq!(
            again["joined"],
            json!(["A", "B"]),
            "the same rooms count once: {again}"
        );
        let more = two
            .ask("subscribe:watchlist", json!({"symbols": ["C", "D", "E"]}))
            .await;
        assert_eq!(more["ok"], true, "{more}");
        assert_eq!(more["joined"], json!(["C"]));
        let codes: Vec<_> = more["rejected"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| {
                (
                    one["value"].as_str().expect("text"),
                    one["code"].as_str().expect("text"),
                )
            })
            .collect();
        assert_eq!(
            codes,
            [("D", "subscription_limit"), ("E", "subscription_limit")]
        );
        let none = one
            .ask("subscribe:watchlist", json!({"symbols": ["Z"]}))
            .await;
        assert_eq!(none["ok"], false, "{none}");
        assert_eq!(none["error"]["code"], "subscription_limit");
    }

    #[tokio::test]
    async fn are_given_back_by_unsubscribing_and_leaving() {
        let node = Node::new()
            .config("limits.subscriptions_per_user", 1)
            .start()
            .await;
        let mut one = user(&node, "alice").await;
        let mut two = user(&node, "alice").await;
        let watch = |symbol: &str| json!({"symbols": [symbol]});
        assert_eq!(one.ask("subscribe:watchlist", watch("A")).await["ok"], true);
        assert_eq!(
            two.ask("subscribe:watchlist", watch("B")).await["ok"],
            false
        );
        assert_eq!(
            one.ask("unsubscribe:watchlist", watch("A")).await["ok"],
            true
        );
        assert_eq!(two.ask("subscribe:watchlist", watch("B")).await["ok"], true);
        two.disconnect().await;
        let mut freed = false;
        for _ in 0..50 {
            freed = one.ask("subscribe:watchlist", watch("C")).await["ok"] == true;
            if freed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(freed, "a socket that left still holds its room");
    }
}

#[tokio::test]
async fn logins_are_limited_by_name_and_by_address() {
    for (key, names) in [
        (
            "limits.logins_per_minute_per_user",
            ["alice", "alice", "alice"],
        ),
        ("limits.logins_per_minute_per_ip", ["alice", "bob", "carol"]),
    ] {
        let node = Node::new()
            .config("limits.logins_per_minute_per_user", 0)
            .config("limits.logins_per_minute_per_ip", 0)
            .config(key, 2)
            .start()
            .await;
        let mut statuses = Vec::new();
        for name in names {
            let body = json!({"username": name, "password": "guess"}).to_string();
            let headers = [("Content-Type", "application/json")];
            let answer = RawHttp::once(
                node.public(),
                "POST",
                "/auth/login",
                &headers,
                body.as_bytes(),
            )
            .await;
            if answer.status == 429 {
                assert!(answer.header("retry-after").is_some(), "{key}");
            }
            statuses.push(answer.status);
        }
        assert_eq!(statuses, [401, 401, 429], "{key}");
    }
}
