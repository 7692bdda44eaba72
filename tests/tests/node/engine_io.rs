//! Engine.IO 4 on the wire. Each row of the official suite and what the suite does not look at.
//!
//! `TIDINGS_REFERENCE=1 cargo test -p tidings-tests --test node engine_io::` runs the same tests against
//! the reference implementation; where Tidings differs on purpose, the test says how.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidings_tests::conformance::is_reference;
use tidings_tests::{
    Conformance, EnginePolling, EngineWs, Incoming, PATIENCE, Profile, RawHttp, eventually,
};

const PATH: &str = "/engine.io/";
const MAX_PAYLOAD: usize = 1_000_000;
const PING_INTERVAL: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(200);

/// Both clocks start within a round trip of each other.
const CLOCK_SKEW: Duration = Duration::from_millis(20);

/// With usual timers: a busy machine may take longer for anything than the suite's heartbeat lets it
/// live.
async fn server() -> Conformance {
    Conformance::start(Profile::Patient).await
}

/// With the timers of the official suites.
async fn impatient() -> Conformance {
    Conformance::start(Profile::Suite).await
}

mod handshake {
    use super::*;

    #[tokio::test]
    async fn over_polling_names_the_session_and_its_terms() {
        let server = impatient().await;
        let response =
            RawHttp::get(server.address(), &format!("{PATH}?EIO=4&transport=polling")).await;
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let (_, handshake) = EnginePolling::open(server.address(), PATH).await;
        let keys: Vec<_> = handshake.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            [
                "sid",
                "upgrades",
                "pingInterval",
                "pingTimeout",
                "maxPayload"
            ]
        );
        assert_eq!(handshake["upgrades"], serde_json::json!(["websocket"]));
        assert_eq!(handshake["pingInterval"], 300);
        assert_eq!(handshake["pingTimeout"], 200);
        assert_eq!(handshake["maxPayload"], MAX_PAYLOAD);
    }

    #[tokio::test]
    async fn over_websocket_offers_no_upgrade() {
        let server = server().await;
        let (_ws, handshake) = EngineWs::open(server.address(), PATH).await;
        assert_eq!(handshake["upgrades"], serde_json::json!([]));
        assert_eq!(handshake["maxPayload"], MAX_PAYLOAD);
    }

    #[tokio::test]
    async fn session_ids_are_distinct_and_unguessable() {
        let server = server().await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let (polling, _) = EnginePolling::open(server.address(), PATH).await;
            assert!(
                polling.sid().len() >= 20,
                "120 bits need 20 characters: {}",
                polling.sid()
            );
            let url_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(polling.sid().chars().all(url_safe), "{}", polling.sid());
            assert!(seen.insert(polling.sid().to_owned()), "an id came twice");
        }
    }

    /// Method, query, and the exact body of the 400.
    const REFUSED: [(&str, &str, &str); 12] = [
        (
            "GET",
            "transport=polling",
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        (
            "GET",
            "EIO=abc&transport=polling",
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        (
            "GET",
            "EIO=3&transport=polling",
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        (
            "GET",
            "EIO=4",
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=abc",
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        ("GET", "", r#"{"code":0,"message":"Transport unknown"}"#),
        (
            "POST",
            "EIO=4&transport=polling",
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "PUT",
            "EIO=4&transport=polling",
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "DELETE",
            "EIO=4&transport=polling",
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=websocket",
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=abc",
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "POST",
            "EIO=4&transport=polling&sid=abc",
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
    ];

    #[tokio::test]
    async fn that_is_wrong_is_refused_with_its_reason() {
        let server = server().await;
        for (method, query, body) in REFUSED {
            let target = format!("{PATH}?{query}");
            let response = RawHttp::once(server.address(), method, &target, &[], b"").await;
            assert_eq!(response.text(), body, "{method} {target}");
            assert_eq!(response.status, 400, "{method} {target}");
            let content_type = response.header("content-type");
            assert_eq!(content_type, Some("application/json"), "{method} {target}");
        }
    }

    const REFUSED_UPGRADES: [(&str, &str); 5] = [
        ("transport=websocket", "Unsupported protocol version"),
        (
            "EIO=abc&transport=websocket",
            "Unsupported protocol version",
        ),
        ("EIO=4", "Transport unknown"),
        ("EIO=4&transport=abc", "Transport unknown"),
        ("EIO=4&transport=websocket&sid=abc", "Session ID unknown"),
    ];

    #[tokio::test]
    async fn upgrade_that_is_wrong_is_refused_with_its_reason() {
        let server = server().await;
        for (query, message) in REFUSED_UPGRADES {
            let mut http = RawHttp::connect(server.address()).await;
            let headers = [
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ];
            let response = http
                .request("GET", &format!("{PATH}?{query}"), &headers, b"")
                .await;
            if is_reference() && message == "Unsupported protocol version" {
                // The reference takes the WebSocket and closes it at once.
                assert_eq!(response.status, 101, "{query}");
                continue;
            }
            assert_eq!(response.status_line, "HTTP/1.1 400 Bad Request", "{query}");
            assert_eq!(response.header("connection"), Some("close"), "{query}");
            assert_eq!(
                response.header("content-type"),
                Some("text/html"),
                "{query}"
            );
            assert_eq!(response.text(), message, "{query}");
            assert!(http.closed().await);
        }
    }

    #[tokio::test]
    async fn id_of_a_websocket_session_is_no_good_for_polling() {
        let server = server().await;
        let (mut ws, handshake) = EngineWs::open(server.address(), PATH).await;
        let sid = handshake["sid"].as_str().expect("a sid");
        let target = format!("{PATH}?EIO=4&transport=polling&sid={sid}");
        let response = RawHttp::get(server.address(), &target).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (400, r#"{"code":3,"message":"Bad request"}"#));
        ws.send("4still here").await;
        assert_eq!(ws.text_past_pings().await, "4still here");
    }
}

mod messages {
    use super::*;

    #[tokio::test]
    async fn are_carried_by_polling() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let posted = polling.post("4hello").await;
        assert_eq!((posted.status, posted.text()), (200, "ok"));
        assert_eq!(posted.header("content-type"), Some("text/html"));
        assert_eq!(posted.header("cache-control"), Some("no-store"));
        assert_eq!(polling.poll().await, ["4hello"]);
    }

    #[tokio::test]
    async fn of_one_payload_come_back_in_one_answer_in_order() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        polling.send(&["4test1", "4test2", "4test3"]).await;
        assert_eq!(polling.poll().await, ["4test1", "4test2", "4test3"]);
    }

    #[tokio::test]
    async fn that_are_binary_go_as_base64_in_a_payload() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let encoded = format!("b{}", BASE64.encode([0, 1, 2, 255]));
        polling.send(&["4hello", &encoded, "4"]).await;
        assert_eq!(polling.poll().await, ["4hello", encoded.as_str(), "4"]);
    }

    #[tokio::test]
    async fn keep_every_character() {
        let server = server().await;
        let text = "4é € 😀 \u{2028} \u{0} \" \\ \u{7f}";
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        polling.send(&[text]).await;
        assert_eq!(polling.poll().await, [text]);
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        ws.send(text).await;
        assert_eq!(ws.text_past_pings().await, text);
    }

    #[tokio::test]
    async fn that_came_first_are_given_to_a_poll_that_waits() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut waiting = polling.hanging_get().await;
        polling.send(&["4late"]).await;
        let response = waiting.response().await.expect("the poll is answered");
        assert_eq!(response.text(), "4late");
    }

    #[tokio::test]
    async fn are_at_most_sixteen_in_an_answer() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let sent: Vec<String> = (0..40).map(|n| format!("4m{n}")).collect();
        polling
            .send(&sent.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let answer = polling.poll().await;
            let limit = if is_reference() { 40 } else { 16 };
            assert!(
                answer.len() <= limit,
                "{} packets in one answer",
                answer.len()
            );
            got.extend(answer.into_iter().filter(|packet| packet != "2"));
        }
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn are_carried_by_websocket() {
        let server = server().await;
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        ws.send("4hello").await;
        assert_eq!(ws.text_past_pings().await, "4hello");
        ws.send_binary(vec![1, 2, 3, 4]).await;
        assert_eq!(ws.binary().await[..], [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn keep_their_order_in_a_burst() {
        let server = server().await;
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        for n in 0..500 {
            ws.send(format!("4{n}")).await;
        }
        for n in 0..500 {
            assert_eq!(ws.text_past_pings().await, format!("4{n}"));
        }
    }
}

mod bad_packets {
    use super::*;

    #[tokio::test]
    async fn end_a_polling_session() {
        let server = server().await;
        for packet in ["abc", "7", "4ok\u{1e}x", "\u{1e}", "2"] {
            let (polling, _) = EnginePolling::open(server.address(), PATH).await;
            let posted = polling.post(packet).await;
            // Whether it is judged before or after the answer is open; the session ends.
            assert!(matches!(posted.status, 200 | 400), "{packet:?}: {posted:?}");
            assert_eq!(polling.get().await.status, 400, "{packet:?}");
        }
    }

    #[tokio::test]
    async fn end_a_websocket_session() {
        let server = server().await;
        for packet in ["abc", "7", "", "2", "\u{1e}"] {
            let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
            ws.send(packet).await;
            ws.closed().await;
        }
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        ws.send("4others go on").await;
        assert_eq!(ws.text_past_pings().await, "4others go on");
    }

    #[tokio::test]
    async fn of_broken_base64_harm_nobody_else() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        polling.post("b%%%").await;
        let (other, _) = EnginePolling::open(server.address(), PATH).await;
        other.send(&["4fine"]).await;
        assert_eq!(other.poll().await, ["4fine"]);
    }
}

mod polls {
    use super::*;

    #[tokio::test]
    async fn that_overlap_end_the_session() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut first = polling.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let second = polling.get().await;
        assert!(matches!(second.status, 400 | 500), "{second:?}");
        let first = first.response().await.expect("the first poll is answered");
        assert_eq!((first.status, first.text()), (200, "1"));
        assert_eq!(polling.get().await.status, 400);
    }

    #[tokio::test]
    async fn that_are_cancelled_end_the_session() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let waiting = polling.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(waiting);
        tokio::time::sleep(Duration::from_millis(50)).await;
        // The session would have lived for another 400 ms.
        assert_eq!(polling.get().await.status, 400);
    }

    #[tokio::test]
    async fn are_answered_with_noop_when_the_client_closes() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut waiting = polling.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        polling.send(&["1"]).await;
        let response = waiting.response().await.expect("the poll is answered");
        assert_eq!((response.status, response.text()), (200, "6"));
        assert_eq!(polling.get().await.status, 400);
    }

    #[tokio::test]
    async fn go_over_one_connection_as_well() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut http = RawHttp::connect(server.address()).await;
        let target = polling.target();
        for n in 0..5 {
            let body = format!("4{n}");
            let posted = http.request("POST", &target, &[], body.as_bytes()).await;
            assert_eq!(posted.text(), "ok");
            let polled = http.request("GET", &target, &[], b"").await;
            assert_eq!(polled.text(), body);
        }
    }
}

mod heartbeat {
    use super::*;

    #[tokio::test]
    async fn over_polling_waits_for_the_interval_each_time() {
        let server = impatient().await;
        let begun = Instant::now();
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        for n in 1..=3 {
            assert_eq!(polling.poll().await, ["2"]);
            assert!(
                begun.elapsed() + CLOCK_SKEW >= PING_INTERVAL * n,
                "ping {n} came early"
            );
            polling.send(&["3"]).await;
        }
    }

    #[tokio::test]
    async fn over_websocket_waits_for_the_interval_each_time() {
        let server = impatient().await;
        let begun = Instant::now();
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        for n in 1..=3 {
            assert_eq!(ws.text().await, "2");
            assert!(
                begun.elapsed() + CLOCK_SKEW >= PING_INTERVAL * n,
                "ping {n} came early"
            );
            ws.send("3").await;
        }
    }

    #[tokio::test]
    async fn unanswered_ends_a_polling_session() {
        let server = impatient().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        assert_eq!(polling.poll().await, ["2"]);
        tokio::time::sleep(PING_TIMEOUT + Duration::from_millis(60)).await;
        assert_eq!(polling.get().await.status, 400);
    }

    #[tokio::test]
    async fn unanswered_ends_a_websocket_session_after_both_times() {
        let server = impatient().await;
        let begun = Instant::now();
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        ws.closed().await;
        let took = begun.elapsed();
        assert!(
            took + CLOCK_SKEW >= PING_INTERVAL + PING_TIMEOUT,
            "closed after {took:?}"
        );
        assert!(took < PATIENCE / 2, "closed only after {took:?}");
    }

    #[tokio::test]
    async fn answered_keeps_the_session() {
        let server = impatient().await;
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            assert_eq!(ws.text().await, "2");
            ws.send("3").await;
        }
        ws.send("4alive").await;
        assert_eq!(ws.text_past_pings().await, "4alive");
    }
}

mod close {
    use super::*;

    #[tokio::test]
    async fn by_the_client_ends_the_websocket() {
        let server = server().await;
        let (mut ws, handshake) = EngineWs::open(server.address(), PATH).await;
        ws.send("1").await;
        ws.closed().await;
        let query = format!(
            "EIO=4&transport=polling&sid={}",
            handshake["sid"].as_str().unwrap()
        );
        let gone = RawHttp::get(server.address(), &format!("{PATH}?{query}")).await;
        assert_eq!(gone.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
    }

    #[tokio::test]
    async fn of_the_stream_ends_the_session() {
        let server = server().await;
        let (ws, handshake) = EngineWs::open(server.address(), PATH).await;
        let target = format!(
            "{PATH}?EIO=4&transport=polling&sid={}",
            handshake["sid"].as_str().expect("a sid")
        );
        ws.cut();
        eventually("the session is forgotten", async || {
            RawHttp::get(server.address(), &target)
                .await
                .text()
                .contains("Session ID unknown")
        })
        .await;
    }
}

mod payload {
    use super::*;

    #[tokio::test]
    async fn over_the_limit_is_refused_over_polling() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let body = format!("4{}", "a".repeat(MAX_PAYLOAD));
        assert_eq!(polling.post(body).await.status, 413);
    }

    #[tokio::test]
    async fn at_the_limit_is_carried_over_polling() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let body = format!("4{}", "a".repeat(MAX_PAYLOAD - 1));
        polling.send(&[&body]).await;
        assert!(polling.poll().await.contains(&body));
    }

    #[tokio::test]
    async fn at_the_limit_is_carried_over_websocket() {
        let server = server().await;
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        let text = format!("4{}", "a".repeat(MAX_PAYLOAD - 1));
        ws.send(text.as_str()).await;
        assert!(
            ws.text_past_pings().await == text,
            "the message came back changed"
        );
    }

    #[tokio::test]
    async fn over_the_limit_closes_a_websocket_as_too_big() {
        let server = server().await;
        let (mut ws, _) = EngineWs::open(server.address(), PATH).await;
        ws.send_binary(vec![0; MAX_PAYLOAD + 1]).await;
        // The close may be overtaken by the reset that unread bytes cause.
        if let Some((code, _)) = ws.closed().await {
            assert_eq!(code, 1009);
        }
    }
}

mod upgrade {
    use super::*;

    async fn probed(server: &Conformance, polling: &EnginePolling) -> EngineWs {
        let mut ws = EngineWs::connect(server.address(), PATH, &polling.upgrade_query()).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        ws
    }

    async fn upgraded(server: &Conformance) -> (EnginePolling, EngineWs) {
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut ws = probed(server, &polling).await;
        assert_eq!(polling.poll().await, ["6"]);
        ws.send("5").await;
        (polling, ws)
    }

    #[tokio::test]
    async fn moves_the_session_to_the_websocket() {
        let server = server().await;
        let (_, mut ws) = upgraded(&server).await;
        ws.send("4hello").await;
        assert_eq!(ws.text_past_pings().await, "4hello");
    }

    #[tokio::test]
    async fn releases_a_poll_that_waits() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut waiting = polling.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut ws = probed(&server, &polling).await;
        let released = waiting.response().await.expect("the poll is answered");
        assert_eq!(released.text(), "6");
        ws.send("5").await;
        ws.send("4hello").await;
        assert_eq!(ws.text_past_pings().await, "4hello");
    }

    #[tokio::test]
    async fn loses_and_reorders_nothing_that_was_posted_before() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut ws = probed(&server, &polling).await;
        polling.send(&["4one", "4two"]).await;
        let polled = polling.poll().await;
        ws.send("5").await;
        ws.send("4three").await;
        let mut got: Vec<String> = polled.into_iter().filter(|p| p.starts_with('4')).collect();
        while got.len() < 3 {
            got.push(ws.text_past_pings().await);
        }
        assert_eq!(got, ["4one", "4two", "4three"]);
    }

    #[tokio::test]
    async fn makes_polling_requests_bad() {
        let server = server().await;
        let (polling, mut ws) = upgraded(&server).await;
        ws.send("4after").await;
        assert_eq!(ws.text_past_pings().await, "4after");
        assert_eq!(polling.get().await.status, 400);
        ws.send("4hello").await;
        assert_eq!(ws.text_past_pings().await, "4hello");
    }

    #[tokio::test]
    async fn happens_once() {
        let server = server().await;
        let (polling, mut ws) = upgraded(&server).await;
        ws.send("4after").await;
        assert_eq!(ws.text_past_pings().await, "4after");
        let query = polling.upgrade_query();
        if let Ok(mut second) = EngineWs::try_connect(server.address(), PATH, &query, &[]).await {
            assert!(matches!(second.recv().await, Incoming::Closed(_)));
        }
        ws.send("4hello").await;
        assert_eq!(ws.text_past_pings().await, "4hello");
    }

    #[tokio::test]
    async fn that_breaks_off_leaves_polling_as_it_was() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let ws = probed(&server, &polling).await;
        ws.cut();
        polling.send(&["4still polling"]).await;
        let mut got = Vec::new();
        while !got.contains(&"4still polling".to_owned()) {
            got.extend(polling.poll().await);
        }
    }

    #[tokio::test]
    async fn that_starts_with_anything_but_a_probe_is_closed() {
        let server = server().await;
        let (polling, _) = EnginePolling::open(server.address(), PATH).await;
        let mut ws = EngineWs::connect(server.address(), PATH, &polling.upgrade_query()).await;
        ws.send("4hello").await;
        ws.closed().await;
        polling.send(&["4polling"]).await;
        assert!(polling.poll().await.contains(&"4polling".to_owned()));
    }
}
