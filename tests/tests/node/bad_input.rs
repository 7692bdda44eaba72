//! Bad input to every door: it is refused, and nobody else notices.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::sio::End;
use tidings_tests::{EnginePolling, Incoming, Node, RawHttp, RunningNode};

/// Checks that the node still serves clients and backends.
async fn assert_serving(node: &RunningNode) {
    let session = node.session("witness").await;
    let mut client = node.connected(&session).await;
    node.emit(json!({"user": "witness", "event": "still", "args": [1]}))
        .await;
    client.expect("still").await;
}

/// Deterministic noise.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

mod http {
    use super::*;

    #[tokio::test]
    async fn that_is_noise_is_refused_by_both_listeners() {
        let node = Node::new().start().await;
        for address in [node.public(), node.private()] {
            for seed in 0..20 {
                let mut http = RawHttp::connect(address).await;
                let _ = http.send_bytes(&noise(seed, 2000)).await;
                let _ = http.send_bytes(b"\r\n\r\n").await;
                if let Ok(answer) = http.response().await {
                    assert!((400..500).contains(&answer.status), "{answer:?}");
                }
            }
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn with_a_malformed_head_is_refused() {
        let node = Node::new().start().await;
        for head in [
            "GET\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
            "POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\n\
             Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            for address in [node.public(), node.private()] {
                let mut http = RawHttp::connect(address).await;
                http.send_bytes(head.as_bytes())
                    .await
                    .expect("it can be sent");
                if let Ok(answer) = http.response().await {
                    assert!((400..600).contains(&answer.status), "{head:?}: {answer:?}");
                }
            }
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn with_a_head_beyond_the_limit_is_refused() {
        let node = Node::new().config("limits.header", "8KiB").start().await;
        let long = "a".repeat(200 * 1024);
        for address in [node.public(), node.private()] {
            let headers = [("X-Long", long.as_str())];
            let mut http = RawHttp::connect(address).await;
            // Refused before it was read to its end, it may not even be answered.
            if let Ok(answer) = http.try_request("GET", "/health", &headers, b"").await {
                assert_eq!(answer.status, 431, "{address}");
            }
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn that_never_ends_is_given_up() {
        let node = Node::new().config("auth.mode", "none").start().await;
        let mut silent = RawHttp::connect(node.public()).await;
        // Clients on bad networks are given 15 s, however their bytes are spread over them.
        let patience = Duration::from_secs(20);
        let slow = async |begins| {
            let mut http = RawHttp::connect(node.public()).await;
            tokio::time::sleep(begins).await;
            let part = b"GET /health HTTP/1.1\r\nHost";
            http.send_bytes(part).await.expect("it can be sent");
            http.closed_within(patience - begins).await
        };
        // One whose request is whole may wait for its answer.
        let (session, _) = EnginePolling::open(node.public(), "/socket.io/").await;
        session.send(&["40"]).await;
        assert!(session.poll().await[0].starts_with("40"));
        let waiting = async {
            let mut poll = session.hanging_get().await;
            tokio::time::sleep(Duration::from_secs(17)).await;
            node.emit(json!({"broadcast": true, "event": "e"})).await;
            let answer = poll.response().await.expect("the poll goes on");
            assert!(answer.text().starts_with("42[\"e\""), "{answer:?}");
        };
        tokio::join!(
            silent.closed_within(patience),
            slow(Duration::ZERO),
            slow(Duration::from_secs(8)),
            waiting
        );
        assert_serving(&node).await;
    }
}

mod api {
    use super::*;

    /// Every route that takes a body, with the status that garbage must bring.
    const ROUTES: [(&str, &str); 14] = [
        ("POST", "/api/v1/emit"),
        ("POST", "/api/v1/emit/batch"),
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/users/a/portfolio"),
        ("POST", "/api/v1/users/a/trades/executed"),
        ("POST", "/api/v1/users/a/trades/failed"),
        ("POST", "/api/v1/quotes/AAPL"),
        ("POST", "/api/v1/users/a/quotes/AAPL"),
        ("POST", "/api/v1/rooms/r/join"),
        ("POST", "/api/v1/rooms/r/leave"),
        ("POST", "/auth/login"),
        ("POST", "/api/v1/quotes/no%20symbol"),
        ("POST", "/api/v1/users/%00/portfolio"),
        ("POST", "/api/v1/rooms/%ff/join"),
    ];

    #[tokio::test]
    async fn bodies_that_are_no_json_are_refused_everywhere() {
        let node = Node::new()
            .config("limits.logins_per_minute_per_ip", 0)
            .start()
            .await;
        let key = format!("Bearer {API_KEY}");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (method, path) in ROUTES {
            let address = if path.starts_with("/auth") {
                node.public()
            } else {
                node.private()
            };
            for body in [
                &b""[..],
                b"{",
                b"nonsense",
                b"\"\xff\xfe\"",
                b"{\"a\":1}{\"b\":2}",
                b"{\"a\":1,\"a\":2",
                &noise(7, 500),
                deep.as_bytes(),
            ] {
                let headers = [
                    ("Authorization", key.as_str()),
                    ("Content-Type", "application/json"),
                ];
                let answer = RawHttp::once(address, method, path, &headers, body).await;
                if body == deep.as_bytes() {
                    // It is JSON, and where any is taken it may be taken: nothing may overflow.
                    assert!(answer.status < 500, "{path}: {}", answer.text());
                    continue;
                }
                assert!(
                    matches!(answer.status, 400 | 404 | 413 | 422),
                    "{path}: {} {}",
                    answer.status,
                    answer.text()
                );
                let code = &answer.json()["error"]["code"];
                assert!(code.is_string(), "{path}: {}", answer.text());
            }
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn paths_and_methods_that_lead_nowhere_say_so() {
        let node = Node::new().start().await;
        for (method, path, status) in [
            ("GET", "/api/v1/nothing", 404),
            ("GET", "/api/v1/../../etc/passwd", 404),
            ("DELETE", "/api/v1/emit", 405),
            ("GET", "/api/v1/sessions/nobodys", 404),
            ("DELETE", "/api/v1/sessions/nobodys", 404),
            ("POST", "/api/v1/sockets/nobody/disconnect", 404),
        ] {
            let (got, answer) = node.api(method, path, Value::Null).await;
            assert_eq!(got, status, "{method} {path}: {answer}");
            assert!(
                answer["error"]["code"].is_string(),
                "{method} {path}: {answer}"
            );
        }
        for query in ["limit=0", "limit=x", "limit=99999999999", "after=%ff"] {
            let (status, answer) = node
                .api("GET", &format!("/api/v1/rooms?{query}"), Value::Null)
                .await;
            assert!(matches!(status, 200 | 400), "{query}: {status} {answer}");
        }
        assert_serving(&node).await;
    }
}

mod packets {
    use super::*;

    #[tokio::test]
    async fn that_are_noise_close_one_connection() {
        let node = Node::new().start().await;
        let session = node.session("alice").await;
        for seed in 0..40 {
            let mut ws = node.client().engine().await.expect("it opens");
            ws.send(format!("40{}", session.auth())).await;
            ws.text().await;
            let bytes = noise(seed, 300);
            let text: String = bytes.iter().map(|&b| char::from(b)).collect();
            ws.send(format!("4{text}")).await;
            ws.send_binary(bytes).await;
            ws.closed().await;
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn before_the_session_is_checked_go_nowhere() {
        let node = Node::new().start().await;
        for packet in [r#"42["subscribe:trades"]"#, "41", r#"430["x"]"#, "45", "4"] {
            let mut ws = node.client().engine().await.expect("it opens");
            ws.send(packet).await;
            assert!(
                matches!(ws.recv().await, Incoming::Closed(_) | Incoming::Text(_)),
                "{packet}"
            );
        }
        assert_serving(&node).await;
    }

    #[tokio::test]
    async fn with_arguments_of_any_kind_are_answered() {
        let node = Node::new()
            .config("limits.events_per_minute_per_user", 0)
            .start()
            .await;
        let session = node.session("alice").await;
        let mut client = node.connected(&session).await;
        for args in [
            json!([null]),
            json!([1]),
            json!(["text"]),
            json!([[]]),
            json!([{"symbols": {"a": 1}}]),
            json!([{"symbols": [null, [], {}, "é", "a".repeat(10_000)]}]),
            json!([{"symbol": "A", "symbols": ["A"]}]),
            json!([{}, {}, {}]),
            json!([{"__proto__": {"user": "bob"}, "constructor": 1}]),
        ] {
            for name in [
                "subscribe:watchlist",
                "unsubscribe:watchlist",
                "subscribe:portfolio",
            ] {
                let answer = client.emit_with_ack(name, args.clone()).await;
                assert!(answer[0]["ok"].is_boolean(), "{name} {args}: {answer:?}");
            }
        }
        let many: Vec<String> = (0..5000).map(|n| format!("S{n}")).collect();
        let answer = client
            .ask("subscribe:watchlist", json!({"symbols": many}))
            .await;
        assert_eq!(answer["ok"], false, "{answer}");
    }

    #[tokio::test]
    async fn beyond_the_payload_limit_close_the_connection() {
        let node = Node::new().config("limits.payload", "10KB").start().await;
        let session = node.session("alice").await;
        let mut client = node.connected(&session).await;
        client
            .emit(
                "subscribe:watchlist",
                json!([{"symbols": ["A".repeat(20_000)]}]),
            )
            .await;
        assert!(matches!(client.end().await, End::Closed(_)));
        assert_serving(&node).await;
    }
}
