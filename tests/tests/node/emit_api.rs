//! How backends emit: targets, acknowledgements, idempotency, batches, streams, refusals.

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{Node, RawHttp, RunningNode, SILENCE, SioClient};

async fn user(node: &RunningNode, name: &str) -> SioClient {
    let session = node.session(name).await;
    node.connected(&session).await
}

async fn join(node: &RunningNode, socket: &SioClient, room: &str) {
    let path = format!("/api/v1/rooms/{room}/join");
    let (status, answer) = node
        .api("POST", &path, json!({"sockets": [socket.sid()]}))
        .await;
    assert!(matches!(status, 200 | 202 | 204), "{status} {answer}");
}

mod targets {
    use super::*;

    #[tokio::test]
    async fn are_rooms_users_or_everybody() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        join(&node, &alice, "news").await;
        join(&node, &bob, "sport").await;
        for (target, to_alice, to_bob) in [
            (json!({"room": "news"}), true, false),
            (json!({"rooms": ["news", "sport"]}), true, true),
            (json!({"user": "bob"}), false, true),
            (json!({"users": ["alice", "bob"]}), true, true),
            (json!({"broadcast": true}), true, true),
            (json!({"room": "empty"}), false, false),
        ] {
            let mut emit = target.clone();
            emit["event"] = json!("e");
            emit["data"] = target.clone();
            let answer = node.emit(emit).await;
            assert!(answer["id"].is_string(), "{answer}");
            if to_alice {
                assert_eq!(alice.expect("e").await.args[0], target);
            }
            if to_bob {
                assert_eq!(bob.expect("e").await.args[0], target);
            }
        }
        alice.silent_for(SILENCE).await;
        bob.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn get_an_event_once_however_many_of_their_rooms_are_named() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        join(&node, &alice, "one").await;
        join(&node, &alice, "two").await;
        let rooms = json!(["one", "two", "user:alice"]);
        node.emit(json!({"rooms": rooms, "event": "e", "args": [1]}))
            .await;
        alice.expect("e").await;
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn leave_out_exceptions() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        for except in [json!(["user:bob"]), json!([bob.sid()])] {
            let emit = json!({"broadcast": true, "except": except, "event": "e", "args": [1]});
            node.emit(emit).await;
            alice.expect("e").await;
        }
        bob.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn may_be_in_another_namespace() {
        let node = Node::new()
            .tables("[[namespaces]]\nname = \"/\"\n[[namespaces]]\nname = \"/admin\"")
            .start()
            .await;
        let session = node.session("alice").await;
        let mut main = node.connected(&session).await;
        let mut admin = node
            .client()
            .namespace("/admin")
            .auth(session.auth())
            .connect()
            .await
            .expect("the namespace is configured");
        node.emit(json!({"user": "alice", "namespace": "/admin", "event": "e", "args": [1]}))
            .await;
        admin.expect("e").await;
        main.silent_for(SILENCE).await;
    }
}

mod arguments {
    use super::*;

    #[tokio::test]
    async fn are_one_datum_or_a_list() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        for (given, args) in [
            (
                json!({"data": {"z": 1, "a": [true, null]}}),
                vec![json!({"z": 1, "a": [true, null]})],
            ),
            (json!({"data": [1, 2]}), vec![json!([1, 2])]),
            (
                json!({"args": [1, "two", {"three": 3}]}),
                vec![json!(1), json!("two"), json!({"three": 3})],
            ),
            (json!({"args": []}), vec![]),
        ] {
            let mut emit = given.clone();
            emit["user"] = json!("alice");
            emit["event"] = json!("e");
            node.emit(emit).await;
            let event = alice.expect("e").await;
            assert_eq!(event.args[..args.len()], args[..], "{given}");
        }
    }

    #[tokio::test]
    async fn keep_their_order_from_one_caller() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        for n in 0..200 {
            node.emit(json!({"user": "alice", "event": "e", "args": [n]}))
                .await;
        }
        for n in 0..200 {
            assert_eq!(alice.expect("e").await.args[0], n);
        }
    }

    #[tokio::test]
    async fn keep_numbers_and_keys_as_they_were_written() {
        let node = Node::new().start().await;
        let session = node.session("alice").await;
        let mut ws = node.client().engine().await.expect("it opens");
        ws.send(format!("40{}", session.auth())).await;
        ws.text().await;
        let data = r#"{"price":12345678901234567890.10,"b":1e400,"a":"\u00e9"}"#;
        let body = format!(r#"{{"user":"alice","event":"e","data":{data}}}"#);
        let key = format!("Bearer {API_KEY}");
        let headers = [
            ("Authorization", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = RawHttp::once(
            node.private(),
            "POST",
            "/api/v1/emit",
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let packet = ws.text_past_pings().await;
        assert!(packet.starts_with(&format!(r#"42["e",{data}"#)), "{packet}");
    }
}

mod acknowledgements {
    use super::*;

    #[tokio::test]
    async fn are_collected_with_the_names_of_those_who_gave_none() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let bob = user(&node, "bob").await;
        let emit = json!({
            "users": ["alice", "bob"], "event": "ask", "args": ["q"], "ack": {"timeoutMs": 600}
        });
        let answering = async {
            let event = alice.expect("ask").await;
            alice
                .ack(event.id.expect("an answer is wanted"), json!([{"yes": 1}]))
                .await;
        };
        let ((status, answer), ()) =
            tokio::join!(node.api("POST", "/api/v1/emit", emit), answering);
        assert_eq!(status, 200, "{answer}");
        let responses = answer["responses"].as_array().expect("a list");
        assert_eq!(responses.len(), 1, "{answer}");
        assert!(
            answer["responses"].to_string().contains(r#"{"yes":1}"#),
            "{answer}"
        );
        let missing = answer["missing"].as_array().expect("a list");
        assert_eq!(missing.len(), 1, "{answer}");
        assert!(
            answer["missing"].to_string().contains(bob.sid()),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn are_not_waited_for_where_nobody_is() {
        let node = Node::new().start().await;
        let emit = json!({"room": "empty", "event": "e", "args": [], "ack": {"timeoutMs": 60000}});
        let (status, answer) = node.api("POST", "/api/v1/emit", emit).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            (&answer["responses"], &answer["missing"]),
            (&json!([]), &json!([]))
        );
    }
}

#[tokio::test]
async fn a_repeated_id_is_emitted_once_and_answered_alike() {
    let node = Node::new().start().await;
    let mut alice = user(&node, "alice").await;
    let emit = json!({"user": "alice", "event": "e", "args": [1], "id": "order-17"});
    let first = node.emit(emit.clone()).await;
    let second = node.emit(emit).await;
    assert_eq!(first["id"], "order-17");
    assert_eq!(first, second);
    alice.expect("e").await;
    alice.silent_for(SILENCE).await;
}

mod many {
    use super::*;

    #[tokio::test]
    async fn go_in_a_batch_each_with_its_result() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let batch = json!([
            {"user": "alice", "event": "one", "data": 1},
            {"event": "nobody"},
            {"user": "alice", "event": "two", "data": 2},
        ]);
        let (status, answer) = node.api("POST", "/api/v1/emit/batch", batch).await;
        assert!(matches!(status, 200 | 202), "{status} {answer}");
        let results = answer["results"].as_array().expect("a list");
        assert_eq!(results.len(), 3, "{answer}");
        assert!(
            results[0]["id"].is_string() && results[2]["id"].is_string(),
            "{answer}"
        );
        assert!(results[1]["error"]["code"].is_string(), "{answer}");
        alice.expect("one").await;
        alice.expect("two").await;
    }

    #[tokio::test]
    async fn go_in_a_stream_line_by_line() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut body = String::new();
        for n in 0..100 {
            body.push_str(&json!({"user": "alice", "event": "e", "data": n}).to_string());
            body.push('\n');
        }
        body.push_str("this is no JSON\n");
        body.push_str(&json!({"user": "alice", "event": "last", "data": 0}).to_string());
        let key = format!("Bearer {API_KEY}");
        let headers = [
            ("Authorization", key.as_str()),
            ("Content-Type", "application/x-ndjson"),
        ];
        let target = "/api/v1/emit/stream";
        let answer = RawHttp::once(node.private(), "POST", target, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lines: Vec<Value> = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        assert_eq!(lines.len(), 102);
        assert!(
            lines[..100].iter().all(|line| line["id"].is_string()),
            "{lines:?}"
        );
        assert!(lines[100]["error"]["code"].is_string(), "{}", lines[100]);
        for n in 0..100 {
            assert_eq!(alice.expect("e").await.args[0], n);
        }
        alice.expect("last").await;
    }

    #[tokio::test]
    async fn are_answered_while_the_stream_goes_on() {
        let node = Node::new().start().await;
        let mut http = RawHttp::connect(node.private()).await;
        let head = format!(
            "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        http.send_bytes(head.as_bytes())
            .await
            .expect("the head is taken");
        let mut alice = user(&node, "alice").await;
        for n in 0..3 {
            let line = format!("{}\n", json!({"user": "alice", "event": "e", "data": n}));
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            http.send_bytes(chunk.as_bytes())
                .await
                .expect("the stream is open");
            assert_eq!(alice.expect("e").await.args[0], n);
        }
        http.send_bytes(b"0\r\n\r\n")
            .await
            .expect("the stream is open");
        let answer = http.response().await.expect("an answer");
        assert_eq!(answer.text().lines().count(), 3, "{}", answer.text());
    }
}

mod refusals {
    use super::*;

    #[tokio::test]
    async fn tell_what_was_wrong() {
        let node = Node::new().start().await;
        for emit in [
            json!({}),
            json!([]),
            json!({"event": "e"}),
            json!({"user": "a"}),
            json!({"user": "a", "event": ""}),
            json!({"user": "a", "event": 7}),
            json!({"user": 7, "event": "e"}),
            json!({"user": "a", "room": "b", "broadcast": "yes", "event": "e"}),
            json!({"broadcast": false, "event": "e"}),
            json!({"rooms": [], "event": "e"}),
            json!({"user": "a", "event": "e", "data": 1, "args": [1]}),
            json!({"user": "a", "event": "e", "args": {"not": "a list"}}),
            json!({"user": "a", "event": "connect", "data": 1}),
            json!({"user": "a", "event": "disconnect", "data": 1}),
            json!({"user": "a", "event": "e", "unknown": 1}),
            json!({"user": "a", "event": "e", "namespace": "/nowhere"}),
            json!({"user": "a", "event": "e", "ack": {"timeoutMs": -1}}),
            json!({"user": "a", "event": "e", "id": ""}),
        ] {
            let (status, answer) = node.api("POST", "/api/v1/emit", emit.clone()).await;
            assert!(
                matches!(status, 400 | 404 | 422),
                "{emit}: {status} {answer}"
            );
            assert!(answer["error"]["code"].is_string(), "{emit}: {answer}");
            assert!(answer["error"]["message"].is_string(), "{emit}: {answer}");
        }
    }

    #[tokio::test]
    async fn meet_those_without_a_key() {
        let node = Node::new().start().await;
        let body = br#"{"broadcast":true,"event":"e"}"#;
        for key in ["", "Bearer", "Bearer wrong", "Basic dGVzdDp0ZXN0", API_KEY] {
            let headers = [("Authorization", key), ("Content-Type", "application/json")];
            let answer =
                RawHttp::once(node.private(), "POST", "/api/v1/emit", &headers, body).await;
            assert_eq!(answer.status, 401, "{key:?}");
            assert!(answer.json()["error"]["code"].is_string());
        }
    }

    #[tokio::test]
    async fn meet_bodies_beyond_the_limit() {
        let node = Node::new().config("limits.api_body", "10KB").start().await;
        let emit = json!({"user": "alice", "event": "e", "data": "a".repeat(20_000)});
        let (status, answer) = node.api("POST", "/api/v1/emit", emit).await;
        assert_eq!(status, 413, "{answer}");
        node.emit(json!({"user": "alice", "event": "e", "data": 1}))
            .await;
    }

    #[tokio::test]
    async fn are_not_needed_on_the_public_listener() {
        let node = Node::new().start().await;
        let key = format!("Bearer {API_KEY}");
        let headers = [("Authorization", key.as_str())];
        for path in [
            "/api/v1/emit",
            "/api/v1/sessions",
            "/metrics",
            "/api/health/detailed",
        ] {
            let answer = RawHttp::once(node.public(), "POST", path, &headers, b"{}").await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
}

mod looking {
    use super::*;

    #[tokio::test]
    async fn shows_rooms_sockets_and_users() {
        let node = Node::new().start().await;
        let alice = user(&node, "alice").await;
        join(&node, &alice, "news").await;
        let (status, rooms) = node.api("GET", "/api/v1/rooms", Value::Null).await;
        assert_eq!(status, 200, "{rooms}");
        assert!(rooms.to_string().contains("\"news\""), "{rooms}");
        let (status, room) = node.api("GET", "/api/v1/rooms/news", Value::Null).await;
        assert_eq!(status, 200, "{room}");
        assert!(room.to_string().contains(alice.sid()), "{room}");
        let (status, sockets) = node.api("GET", "/api/v1/sockets", Value::Null).await;
        assert_eq!(status, 200, "{sockets}");
        assert!(sockets.to_string().contains(alice.sid()), "{sockets}");
        let path = format!("/api/v1/sockets/{}", alice.sid());
        let (status, socket) = node.api("GET", &path, Value::Null).await;
        assert_eq!(status, 200, "{socket}");
        assert!(socket.to_string().contains("alice"), "{socket}");
        let (status, shown) = node.api("GET", "/api/v1/users/alice", Value::Null).await;
        assert_eq!(status, 200, "{shown}");
        assert!(shown.to_string().contains(alice.sid()), "{shown}");
        assert_eq!(
            node.api("GET", "/api/v1/sockets/nobody", Value::Null)
                .await
                .0,
            404
        );
    }

    #[tokio::test]
    async fn acts_on_sockets_and_users() {
        use tidings_tests::sio::End;
        let node = Node::new().start().await;
        let mut one = user(&node, "alice").await;
        let mut two = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        let path = format!("/api/v1/sockets/{}/disconnect", one.sid());
        let (status, answer) = node.api("POST", &path, json!({})).await;
        assert!(matches!(status, 200 | 202 | 204), "{status} {answer}");
        assert_eq!(one.end().await, End::Disconnected);
        let (status, answer) = node
            .api("POST", "/api/v1/users/alice/disconnect", json!({}))
            .await;
        assert!(matches!(status, 200 | 202 | 204), "{status} {answer}");
        assert_eq!(two.end().await, End::Disconnected);
        join(&node, &bob, "news").await;
        let leave = json!({"users": ["bob"]});
        let (status, answer) = node.api("POST", "/api/v1/rooms/news/leave", leave).await;
        assert!(matches!(status, 200 | 202 | 204), "{status} {answer}");
        node.emit(json!({"room": "news", "event": "e", "args": [1]}))
            .await;
        bob.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn finds_the_description_of_itself() {
        let node = Node::new().start().await;
        let (status, document) = node.api("GET", "/api/openapi.json", Value::Null).await;
        assert_eq!(status, 200);
        let paths = document["paths"].as_object().expect("paths");
        for path in [
            "/health",
            "/api/health/detailed",
            "/metrics",
            "/api/v1/emit",
            "/api/v1/emit/batch",
            "/api/v1/emit/stream",
            "/api/v1/sessions",
            "/api/v1/rooms",
            "/api/v1/sockets",
        ] {
            assert!(paths.contains_key(path), "{path} is not described");
        }
    }

    #[tokio::test]
    async fn shows_health_and_metrics() {
        let node = Node::new().start().await;
        for address in [node.public(), node.private()] {
            let health = RawHttp::get(address, "/health").await;
            assert_eq!(
                (health.status, health.json()),
                (200, json!({"status": "ok"}))
            );
        }
        let _alice = user(&node, "alice").await;
        let metrics = RawHttp::get(node.private(), "/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(
            metrics.text().contains("# TYPE tidings_"),
            "{}",
            metrics.text()
        );
        let (status, detailed) = node.api("GET", "/api/health/detailed", Value::Null).await;
        assert_eq!(
            (status, &detailed["status"]),
            (200, &json!("ok")),
            "{detailed}"
        );
    }
}
