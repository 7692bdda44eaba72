//! The private API beyond emits, its edges, and login on the public listener.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::raw_http::Response;
use tidings_tests::{Certificate, Node, RawHttp, RunningNode, SILENCE, SioClient};

async fn user(node: &RunningNode, name: &str) -> SioClient {
    let session = node.session(name).await;
    node.connected(&session).await
}

async fn with_key(node: &RunningNode, key: &str, method: &str, path: &str, body: &str) -> Response {
    let key = format!("Bearer {key}");
    let headers = [("Authorization", key.as_str())];
    RawHttp::once(node.private(), method, path, &headers, body.as_bytes()).await
}

/// A key made over the admin socket: its id and itself.
fn key(node: &RunningNode, scopes: &[&str]) -> (String, String) {
    let mut args = vec!["key", "create", "test", "--json"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    let (status, out, err) = node.command(&args, "");
    assert!(status.success(), "{out}{err}");
    let made: Value = serde_json::from_str(&out).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

mod keys {
    use super::*;

    #[tokio::test]
    async fn open_what_their_scopes_name() {
        let node = Node::new().start().await;
        let session = r#"{"userId":"alice"}"#;
        for (scope, allowed) in [
            ("emit", [1, 0, 0]),
            ("read", [0, 1, 0]),
            ("admin", [0, 0, 1]),
        ] {
            let (_, key) = key(&node, &[scope]);
            for ((method, path, body), allowed) in [
                ("POST", "/api/v1/emit", r#"{"broadcast":true,"event":"e"}"#),
                ("GET", "/api/v1/sockets", ""),
                ("POST", "/api/v1/sessions", session),
            ]
            .into_iter()
            .zip(allowed)
            {
                let answer = with_key(&node, &key, method, path, body).await;
                if allowed == 1 {
                    assert!(answer.status < 300, "{scope} {path}: {}", answer.text());
                } else {
                    assert_eq!(answer.status, 403, "{scope} {path}");
                    assert_eq!(answer.json()["error"]["code"], "forbidden");
                }
            }
        }
    }

    #[tokio::test]
    async fn open_nothing_once_revoked_not_even_an_open_stream() {
        let node = Node::new().start().await;
        let (id, key) = key(&node, &["emit"]);
        let mut alice = user(&node, "alice").await;
        let mut http = RawHttp::connect(node.private()).await;
        let head = format!(
            "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        http.send_bytes(head.as_bytes()).await.expect("it is open");
        let line = "{\"broadcast\":true,\"event\":\"e\"}\n";
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        http.send_bytes(chunk.as_bytes()).await.expect("it is open");
        alice.expect("e").await;
        let (status, _, err) = node.command(&["key", "revoke", &id], "");
        assert!(status.success(), "{err}");
        let answer = tokio::time::timeout(Duration::from_secs(10), http.response()).await;
        let answer = answer.expect("the stream ends").expect("in good order");
        let lines: Vec<Value> = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0]["id"].is_string(), "{lines:?}");
        assert_eq!(lines[1]["error"]["code"], "unauthorized");
        let answer = with_key(&node, &key, "GET", "/api/v1/emit", "").await;
        assert_eq!(answer.status, 405);
        let answer = with_key(&node, &key, "POST", "/api/v1/emit", line).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }

    #[tokio::test]
    async fn cannot_be_guessed_for_long() {
        let node = Node::new().start().await;
        let (_, key) = key(&node, &["emit"]);
        let (id, _) = key.rsplit_once('_').expect("an id and a secret");
        let wrong = format!("{id}_{}", "x".repeat(32));
        let mut last = None;
        for _ in 0..11 {
            last = Some(with_key(&node, &wrong, "POST", "/api/v1/emit", "{}").await);
        }
        let last = last.expect("eleven answers");
        assert_eq!(last.status, 429, "{}", last.text());
        assert_eq!(last.json()["error"]["code"], "rate_limited");
        let after: u64 = last
            .header("retry-after")
            .expect("when")
            .parse()
            .expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
    }
}

mod sessions {
    use super::*;

    #[tokio::test]
    async fn are_made_shown_and_ended() {
        let node = Node::new().start().await;
        let body = json!({"userId": "alice", "ttl": 60, "sessionID": "a b/c"});
        let (status, made) = node.api("POST", "/api/v1/sessions", body).await;
        assert_eq!((status, &made["userId"]), (201, &json!("alice")), "{made}");
        let path = "/api/v1/sessions/a%20b%2Fc";
        let (status, shown) = node.api("GET", path, Value::Null).await;
        assert_eq!((status, &shown), (200, &made));
        let answer = node.api_response("DELETE", path, &Value::Null).await;
        assert_eq!((answer.status, answer.text()), (204, ""));
        for method in ["GET", "DELETE"] {
            let (status, answer) = node.api(method, path, Value::Null).await;
            assert_eq!(
                (status, &answer["error"]["code"]),
                (404, &json!("not_found"))
            );
        }
    }

    #[tokio::test]
    async fn of_another_user_are_not_taken_over() {
        let node = Node::new().start().await;
        let body = |user: &str| json!({"userId": user, "sessionID": "one"});
        assert_eq!(
            node.api("POST", "/api/v1/sessions", body("alice")).await.0,
            201
        );
        let (status, answer) = node.api("POST", "/api/v1/sessions", body("bob")).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (409, &json!("conflict"))
        );
        assert_eq!(
            node.api("POST", "/api/v1/sessions", body("alice")).await.0,
            201
        );
    }

    #[tokio::test]
    async fn end_all_together() {
        let node = Node::new().start().await;
        let mut one = user(&node, "alice").await;
        let mut two = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        let path = "/api/v1/users/alice/sessions";
        let answer = node.api_response("DELETE", path, &Value::Null).await;
        assert_eq!(answer.status, 204);
        one.end().await;
        two.end().await;
        bob.silent_for(SILENCE).await;
        let answer = node.api_response("DELETE", path, &Value::Null).await;
        assert_eq!(answer.status, 204);
    }

    #[tokio::test]
    async fn are_refused_with_the_field_named() {
        let node = Node::new().start().await;
        for (body, message) in [
            (json!({}), "`userId` is missing; it must be a string"),
            (
                json!({"userId": 7}),
                "`userId` is a number; it must be a string",
            ),
            (
                json!({"userId": "a", "ttl": "8h"}),
                "`ttl` is a string; it must be a whole number of seconds",
            ),
            (
                json!({"userId": "a", "ttl": 0}),
                "the ttl of a session must be between 1 second and 10 years (315360000 seconds)",
            ),
            (
                json!({"userId": "a", "sessionID": "é"}),
                "sessionID must be 1 to 256 printable ASCII characters",
            ),
            (
                json!({"userId": "a", "user": "b"}),
                "there is no field `user`; known are `userId`, `ttl`, `sessionID`",
            ),
        ] {
            let (status, answer) = node.api("POST", "/api/v1/sessions", body.clone()).await;
            assert_eq!(status, 400, "{body}");
            assert_eq!(answer["error"]["code"], "invalid_params", "{body}");
            assert_eq!(answer["error"]["message"], message, "{body}");
        }
    }
}

mod typed {
    use super::*;

    #[tokio::test]
    async fn emits_reach_the_rooms_of_the_profile() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut bob = user(&node, "bob").await;
        for channel in ["portfolio", "trades"] {
            let answer = alice
                .emit_with_ack(&format!("subscribe:{channel}"), json!([]))
                .await;
            assert_eq!(answer[0]["ok"], true, "{answer:?}");
        }
        let wanted = json!({"symbols": ["EUR/USD"]});
        assert_eq!(bob.ask("subscribe:watchlist", wanted).await["ok"], true);
        for (path, body, event, argument, offset) in [
            (
                "users/alice/portfolio",
                json!([1]),
                "portfolio:updated",
                json!([1]),
                true,
            ),
            (
                "users/alice/trades/executed",
                json!({"a": 1}),
                "trade:executed",
                json!({"a": 1}),
                true,
            ),
            (
                "users/alice/trades/failed",
                json!(null),
                "trade:failed",
                json!(null),
                true,
            ),
            (
                "users/alice/quotes/eur%2Fusd",
                json!({"symbol": "x", "bid": 2}),
                "watchlist:quote",
                json!({"symbol": "EUR/USD", "bid": 2}),
                false,
            ),
        ] {
            let path = format!("/api/v1/{path}");
            let answer = with_key(&node, API_KEY, "POST", &path, &body.to_string()).await;
            assert_eq!(answer.status, 202, "{path}: {}", answer.text());
            assert_eq!(answer.json()["offset"].is_string(), offset, "{path}");
            assert_eq!(alice.expect(event).await.args[0], argument, "{path}");
        }
        let quote = with_key(
            &node,
            API_KEY,
            "POST",
            "/api/v1/quotes/eur%2fusd",
            r#"{"bid":3}"#,
        );
        assert_eq!(quote.await.status, 202);
        let seen = bob.expect("watchlist:quote").await;
        assert_eq!(seen.args[0], json!({"symbol": "EUR/USD", "bid": 3}));
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn emits_are_refused_where_they_cannot_go() {
        let node = Node::new()
            .tables("[channels.news]\nrooms = [\"news\"]")
            .start()
            .await;
        for (path, body, status) in [
            ("users/alice/portfolio", "{}", 404),
            ("quotes/A", "{}", 404),
            ("users/a%0Ab/portfolio", "{}", 400),
        ] {
            let path = format!("/api/v1/{path}");
            let answer = with_key(&node, API_KEY, "POST", &path, body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        let node = Node::new().start().await;
        for (path, body) in [
            ("quotes/A", "[]"),
            ("quotes/A", ""),
            ("quotes/A%20B", "{}"),
            ("users/alice/quotes/A", "{"),
            ("users/alice/portfolio", "nothing"),
        ] {
            let path = format!("/api/v1/{path}");
            let answer = with_key(&node, API_KEY, "POST", &path, body).await;
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        }
    }
}

mod looking {
    use super::*;

    #[tokio::test]
    async fn goes_page_by_page() {
        let node = Node::new().start().await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(user(&node, "alice").await);
        }
        for base in [
            "/api/v1/sockets",
            "/api/v1/users/alice",
            "/api/v1/rooms/user:alice",
        ] {
            let (mut seen, mut path) = (Vec::new(), format!("{base}?limit=2"));
            for expected in [2, 2, 1] {
                let (status, page) = node.api("GET", &path, Value::Null).await;
                assert_eq!((status, &page["count"]), (200, &json!(5)), "{page}");
                let sockets = page["sockets"].as_array().expect("a list");
                assert_eq!(sockets.len(), expected, "{page}");
                seen.extend(sockets.iter().map(|socket| socket["id"].clone()));
                match page["next"].as_str() {
                    Some(next) => path = format!("{base}?limit=2&after={next}"),
                    None => path.clear(),
                }
            }
            assert_eq!(path, "");
            let mut ids: Vec<Value> = clients.iter().map(|client| json!(client.sid())).collect();
            ids.sort_by_key(Value::to_string);
            assert_eq!(seen, ids, "{base}");
        }
    }

    #[tokio::test]
    async fn shows_no_secrets() {
        let node = Node::new().start().await;
        let alice = user(&node, "alice").await;
        let (_, socket) = node
            .api(
                "GET",
                &format!("/api/v1/sockets/{}", alice.sid()),
                Value::Null,
            )
            .await;
        let mut fields: Vec<_> = socket.as_object().expect("an object").keys().collect();
        fields.sort();
        let expected = [
            "id",
            "ip",
            "namespace",
            "node",
            "recovered",
            "rooms",
            "since",
            "transport",
            "userId",
        ];
        assert_eq!(fields, expected);
    }

    #[tokio::test]
    async fn is_refused_for_unknown_parameters() {
        let node = Node::new().start().await;
        for path in [
            "sockets?limit=0",
            "rooms?limit=x",
            "users/a?page=2",
            "sockets/a?x=1",
        ] {
            let (status, answer) = node
                .api("GET", &format!("/api/v1/{path}"), Value::Null)
                .await;
            assert_eq!(status, 400, "{path}");
            assert_eq!(answer["error"]["code"], "invalid_params", "{path}");
        }
        let (status, _) = node.api("GET", "/api/v1/sockets/nobody", Value::Null).await;
        assert_eq!(status, 404);
    }
}

mod rooms {
    use super::*;

    #[tokio::test]
    async fn are_joined_and_left_by_users_sockets_and_rooms() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let bob = user(&node, "bob").await;
        let act = async |verb: &str, body: Value| {
            let path = format!("/api/v1/rooms/news/{verb}");
            let (status, answer) = node.api("POST", &path, body).await;
            assert_eq!(status, 202, "{answer}");
            answer["sockets"].as_u64().expect("a number")
        };
        assert_eq!(act("join", json!({"users": ["alice", "nobody"]})).await, 1);
        assert_eq!(act("join", json!({"sockets": [bob.sid()]})).await, 1);
        let (_, room) = node.api("GET", "/api/v1/rooms/news", Value::Null).await;
        assert_eq!(room["count"], 2, "{room}");
        assert_eq!(act("leave", json!({"rooms": ["news"]})).await, 2);
        let (_, room) = node.api("GET", "/api/v1/rooms/news", Value::Null).await;
        assert_eq!(room["count"], 0, "{room}");
        node.emit(json!({"room": "news", "event": "e"})).await;
        alice.silent_for(SILENCE).await;
    }
}

mod repeats {
    use super::*;

    #[tokio::test]
    async fn that_come_together_are_one_emit() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let emit = json!({"user": "alice", "event": "e", "id": "same"});
        let (a, b, c) = tokio::join!(
            node.emit(emit.clone()),
            node.emit(emit.clone()),
            node.emit(emit.clone())
        );
        assert!(a == b && b == c, "{a} {b} {c}");
        let twice = json!([emit, {"user": "alice", "event": "other", "id": "same"}]);
        let (_, answer) = node.api("POST", "/api/v1/emit/batch", twice).await;
        assert_eq!(answer["results"], json!([a, a]));
        alice.expect("e").await;
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn of_an_emit_with_acknowledgements_wait_for_the_first() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let ask = json!({
            "user": "alice", "event": "ask", "id": "q", "ack": {"timeoutMs": 20_000}
        });
        let answering = async {
            let event = alice.expect("ask").await;
            // Time for the repeat to come.
            tokio::time::sleep(Duration::from_millis(200)).await;
            alice
                .ack(event.id.expect("an answer is wanted"), json!([7]))
                .await;
        };
        let (first, second, ()) = tokio::join!(
            node.api("POST", "/api/v1/emit", ask.clone()),
            node.api("POST", "/api/v1/emit", ask.clone()),
            answering
        );
        assert_eq!(first, (200, json!({"responses": [7], "missing": []})));
        assert_eq!(first, second);
        alice.silent_for(SILENCE).await;
    }

    #[tokio::test]
    async fn of_what_failed_are_tried_again() {
        let node = Node::new().start().await;
        let emit = |event: &str| json!({"user": "a", "event": event, "id": "x"});
        let (status, _) = node.api("POST", "/api/v1/emit", emit("disconnect")).await;
        assert_eq!(status, 400);
        assert_eq!(node.emit(emit("e")).await["id"], "x");
    }
}

mod order {
    use super::*;

    /// Lines to one room and lines to two have one order in the room they share.
    #[tokio::test]
    async fn holds_in_a_stream_whatever_else_a_line_names() {
        let node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        assert_eq!(alice.ask("subscribe:trades", json!({})).await["ok"], true);
        let mut body = String::new();
        for n in 0..300 {
            let rooms = match n % 3 {
                0 => json!(["trades:other", "trades:alice"]),
                1 => json!(["trades:alice"]),
                _ => json!(["news", "trades:alice"]),
            };
            body.push_str(&json!({"rooms": rooms, "event": "e", "data": n}).to_string());
            body.push('\n');
        }
        let answer = with_key(&node, API_KEY, "POST", "/api/v1/emit/stream", &body).await;
        assert_eq!(answer.text().lines().count(), 300);
        for n in 0..300 {
            assert_eq!(alice.expect("e").await.args[0], n);
        }
    }
}

mod streams {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn answer_each_line_before_the_next_is_sent() {
        let node = Node::new().start().await;
        let mut stream = TcpStream::connect(node.private())
            .await
            .expect("it listens");
        let head = format!(
            "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is open");
        let mut seen = String::new();
        for room in ["live", "trades:alice", "live"] {
            let line = format!("{}\n", json!({"room": room, "event": "e", "id": room}));
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            stream
                .write_all(chunk.as_bytes())
                .await
                .expect("it is open");
            let answer = format!("\"id\":\"{room}\"");
            seen.clear();
            while !seen.contains(&answer) {
                let mut bytes = vec![0; 4096];
                let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes));
                let len = read.await.expect("an answer in time").expect("it is open");
                assert_ne!(len, 0, "the stream ended");
                seen.push_str(std::str::from_utf8(&bytes[..len]).expect("text"));
            }
        }
    }
}

mod edges {
    use super::*;

    #[tokio::test]
    async fn of_http_are_answered_in_form() {
        let node = Node::new().start().await;
        for (method, path, status, code) in [
            ("GET", "/", 404, "not_found"),
            ("POST", "/api/v2/emit", 404, "not_found"),
            ("GET", "/api/v1/emit", 405, "method_not_allowed"),
            ("PATCH", "/api/v1/sessions/a", 405, "method_not_allowed"),
            ("GET", "/api/v1/rooms/%FF", 400, "invalid_params"),
            ("GET", "/admin/users", 404, "not_found"),
        ] {
            let answer = with_key(&node, API_KEY, method, path, "").await;
            assert_eq!(answer.status, status, "{method} {path}");
            let error = &answer.json()["error"];
            assert_eq!(error["code"], code, "{method} {path}");
            assert!(error["message"].is_string());
            assert_eq!(
                answer.header("allow").is_some(),
                status == 405,
                "{method} {path}"
            );
        }
    }

    #[tokio::test]
    async fn of_size_are_told_to_callers_that_are_still_writing() {
        let node = Node::new().config("limits.api_body", "10KB").start().await;
        let body = "x".repeat(2_000_000);
        for (key, status) in [(API_KEY, 413), ("wrong", 401)] {
            let answer = with_key(&node, key, "POST", "/api/v1/emit", &body).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let lines = format!("{body}\n{{\"broadcast\":true,\"event\":\"e\"}}");
        let answer = with_key(&node, API_KEY, "POST", "/api/v1/emit/stream", &lines).await;
        let lines: Vec<&str> = answer.text().lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("\"too_large\"") && lines[1].contains("\"id\""),
            "{lines:?}"
        );
    }

    #[tokio::test]
    async fn of_a_connection_that_is_kept_answer_each_request() {
        let node = Node::new().start().await;
        let mut http = RawHttp::connect(node.private()).await;
        let key = format!("Bearer {API_KEY}");
        let headers = [("Authorization", key.as_str())];
        for _ in 0..3 {
            let body = br#"{"broadcast":true,"event":"e"}"#;
            let answer = http.request("POST", "/api/v1/emit", &headers, body).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
            let answer = http.request("POST", "/api/v1/emit", &headers, b"{").await;
            assert_eq!(answer.status, 400);
        }
    }

    #[tokio::test]
    async fn of_a_node_that_leaves_are_said_in_an_open_stream() {
        let mut node = Node::new().start().await;
        let mut alice = user(&node, "alice").await;
        let mut http = RawHttp::connect(node.private()).await;
        let head = format!(
            "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        http.send_bytes(head.as_bytes()).await.expect("it is open");
        let line = "{\"broadcast\":true,\"event\":\"e\"}\n";
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        http.send_bytes(chunk.as_bytes()).await.expect("it is open");
        alice.expect("e").await;
        let (answer, status) = tokio::join!(http.response(), node.term());
        let answer = answer.expect("the stream ends in good order");
        let lines: Vec<Value> = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0]["id"].is_string(), "{lines:?}");
        assert_eq!(lines[1]["error"]["code"], "draining", "{lines:?}");
        assert!(status.success(), "{status} {}", node.log());
    }
}

mod login {
    use super::*;

    const JSON: (&str, &str) = ("Content-Type", "application/json");

    async fn post(
        node: &RunningNode,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Response {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        RawHttp::once(node.public(), "POST", path, headers, body.as_bytes()).await
    }

    async fn with_alice(node: Node) -> RunningNode {
        let node = node.start().await;
        let args = ["user", "add", "alice", "--password-stdin"];
        let (status, _, err) = node.command(&args, "correct horse\n");
        assert!(status.success(), "{err}");
        node
    }

    fn alice(password: &str) -> Value {
        json!({"username": "alice", "password": password})
    }

    #[tokio::test]
    async fn gives_a_session_and_its_cookie_and_logout_ends_both() {
        let node = with_alice(Node::new()).await;
        let answer = post(&node, "/auth/login", &[JSON], &alice("correct horse")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let session = answer.json();
        assert_eq!(session["userId"], "alice");
        let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
        for part in ["connect.sid=s%3A", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let cookie = cookie.split(';').next().expect("a pair");
        let mut by_auth = node
            .client()
            .auth(session.clone())
            .connect()
            .await
            .expect("it is valid");
        let mut by_cookie = node
            .client()
            .header("Cookie", cookie)
            .connect()
            .await
            .expect("it is valid");
        let answer = post(&node, "/auth/logout", &[("Cookie", cookie)], &Value::Null).await;
        assert_eq!(answer.status, 204);
        assert!(
            answer
                .header("set-cookie")
                .expect("a cookie")
                .contains("Max-Age=0")
        );
        by_auth.end().await;
        by_cookie.end().await;
        let refused = node.client().auth(session).connect_error().await;
        assert_eq!(refused["data"]["code"], "invalid_session", "{refused}");
    }

    #[tokio::test]
    async fn of_somebody_else_is_not_ended() {
        let node = Node::new().start().await;
        let session = node.session("alice").await;
        let mut alice = node.connected(&session).await;
        let id = session.session_id.as_str();
        for (body, ends) in [
            (json!({"sessionID": id, "userId": "bob"}), false),
            (json!({"sessionID": "unknown", "userId": "alice"}), false),
            (json!({"sessionID": id, "userId": "alice"}), true),
        ] {
            let answer = post(&node, "/auth/logout", &[JSON], &body).await;
            assert_eq!(answer.status, 204, "{body}");
            if ends {
                alice.end().await;
            } else {
                alice.silent_for(SILENCE).await;
            }
        }
    }

    #[tokio::test]
    async fn is_refused_alike_for_a_wrong_name_and_a_wrong_password() {
        let node = with_alice(Node::new()).await;
        let wrong = json!({"username": "nobody", "password": "correct horse"});
        let mut answers = Vec::new();
        for body in [alice("wrong"), wrong] {
            let answer = post(&node, "/auth/login", &[JSON], &body).await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.json()["error"]["code"], "invalid_credentials");
            answers.push(answer.text().to_owned());
        }
        assert_eq!(answers[0], answers[1]);
    }

    #[tokio::test]
    async fn is_refused_to_forms_and_to_other_methods() {
        let node = with_alice(Node::new()).await;
        let form = [("Content-Type", "text/plain")];
        let answer = post(&node, "/auth/login", &form, &alice("correct horse")).await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.header("set-cookie"), None);
        for body in [json!({}), json!({"username": 1, "password": 2}), json!([])] {
            let answer = post(&node, "/auth/login", &[JSON], &body).await;
            assert_eq!(answer.status, 400, "{body}");
        }
        for path in ["/auth/login", "/auth/logout"] {
            let answer = RawHttp::get(node.public(), path).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        }
    }

    #[tokio::test]
    async fn attempts_are_limited() {
        let node = with_alice(Node::new().config("limits.logins_per_minute_per_user", 2)).await;
        for status in [401, 401, 429] {
            let answer = post(&node, "/auth/login", &[JSON], &alice("wrong")).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            if status == 429 {
                assert_eq!(answer.json()["error"]["code"], "rate_limited");
                assert!(answer.header("retry-after").is_some());
            }
        }
        let answer = post(&node, "/auth/login", &[JSON], &alice("correct horse")).await;
        assert_eq!(answer.status, 429);
    }
}

mod admin_socket {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn is_for_its_owner_only_and_goes_with_the_store() {
        let node = Node::new().start().await;
        let sockets: Vec<_> = std::fs::read_dir(node.data_dir())
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be read"))
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "sock")
            })
            .collect();
        assert_eq!(sockets.len(), 1);
        let mode = sockets[0]
            .metadata()
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn ends_the_sockets_of_a_removed_user() {
        let node = Node::new().start().await;
        let add = ["user", "add", "alice", "--password-stdin"];
        assert!(node.command(&add, "correct horse\n").0.success());
        let mut alice = user(&node, "alice").await;
        let (status, out, err) = node.command(&["user", "remove", "alice"], "");
        assert!(status.success(), "{err}");
        assert!(out.contains("1 session ended"), "{out}");
        alice.end().await;
    }
}

#[tokio::test]
async fn beyond_loopback_it_speaks_tls() {
    let certificate = Certificate::new();
    let node = Node::new();
    let cert = node.file("chain.pem", &certificate.chain);
    let secret = node.file("key.pem", &certificate.key);
    let node = node
        .config("tls.cert", cert)
        .config("tls.key", secret)
        .config("listen.private", "0.0.0.0:0")
        .start()
        .await;
    let port = node.private().rsplit_once(':').expect("a port").1;
    let stream = certificate.connect(&format!("127.0.0.1:{port}")).await;
    let mut http = RawHttp::over(stream, "localhost");
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str())];
    let body = br#"{"broadcast":true,"event":"e"}"#;
    let answer = http.request("POST", "/api/v1/emit", &headers, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let mut plain = RawHttp::connect(&format!("127.0.0.1:{port}")).await;
    plain
        .send_bytes(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("it is sent");
    let answer = plain.response().await;
    assert!(answer.is_err(), "it was answered in the clear");
}
