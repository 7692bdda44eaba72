//! Who may connect: sessions in the CONNECT payload and in the signed cookie.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::raw_http::Response;
use tidings_tests::sio::End;
use tidings_tests::{Node, RawHttp, RunningNode, eventually};

const PASSWORD: &str = "correct horse battery";

fn code(error: &Value) -> &str {
    error["data"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no data.code in {error}"))
}

async fn log_in(node: &RunningNode, user: &str, password: &str) -> Response {
    let body = json!({"username": user, "password": password}).to_string();
    let headers = [("Content-Type", "application/json")];
    RawHttp::once(
        node.public(),
        "POST",
        "/auth/login",
        &headers,
        body.as_bytes(),
    )
    .await
}

/// `connect.sid=…` of a fresh login.
async fn cookie(node: &RunningNode, user: &str) -> String {
    let response = log_in(node, user, PASSWORD).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let header = response
        .header("set-cookie")
        .expect("a login sets a cookie");
    header
        .split(';')
        .next()
        .expect("a cookie has a value")
        .to_owned()
}

fn add_user(node: &RunningNode, user: &str) {
    let (status, out, err) = node.command(&["user", "add", user, "--password-stdin"], PASSWORD);
    assert!(status.success(), "{out}{err}");
}

#[tokio::test]
async fn a_valid_session_connects_and_is_reached_as_its_user() {
    let node = Node::new().start().await;
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    node.emit(json!({"user": "alice", "event": "hello", "data": {"n": 1}}))
        .await;
    assert_eq!(client.expect("hello").await.args[0], json!({"n": 1}));
}

#[tokio::test]
async fn no_credentials_are_refused_for_good() {
    let node = Node::new().start().await;
    for auth in [json!(null), json!({}), json!({"userId": "alice"})] {
        let error = node.client().auth(auth.clone()).connect_error().await;
        assert_eq!(code(&error), "missing_credentials", "{auth}");
        assert!(error["message"].is_string());
    }
}

#[tokio::test]
async fn a_session_that_nobody_made_is_refused_for_good() {
    let node = Node::new().start().await;
    for id in ["nobodys", "", "../../etc/passwd", "é\u{0}"] {
        let auth = json!({"sessionID": id, "userId": "alice"});
        let error = node.client().auth(auth).connect_error().await;
        let expected = ["invalid_session", "missing_credentials"];
        assert!(expected.contains(&code(&error)), "{id:?}: {error}");
    }
    for auth in [
        json!({"sessionID": 1, "userId": "a"}),
        json!({"sessionID": {}, "userId": []}),
    ] {
        let error = node.client().auth(auth).connect_error().await;
        let expected = ["invalid_session", "missing_credentials"];
        assert!(expected.contains(&code(&error)), "{error}");
    }
}

#[tokio::test]
async fn a_session_of_another_user_is_refused_for_good() {
    let node = Node::new().start().await;
    let alice = node.session("alice").await;
    let auth = json!({"sessionID": alice.session_id, "userId": "mallory"});
    assert_eq!(
        code(&node.client().auth(auth).connect_error().await),
        "user_mismatch"
    );
}

#[tokio::test]
async fn a_session_that_ends_closes_its_sockets_and_is_refused_as_expired() {
    let node = Node::new().start().await;
    let alice = node
        .session_with(json!({"userId": "alice", "ttl": 2}))
        .await;
    let mut client = node.connected(&alice).await;
    assert_eq!(client.end().await, End::Disconnected);
    let error = node.client().auth(alice.auth()).connect_error().await;
    assert_eq!(code(&error), "expired_session");
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_a_kill() {
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    node.restart().await;
    node.connected(&alice).await;
    let bob = node.session("bob").await;
    node.kill9();
    node.start_again().await;
    node.connected(&alice).await;
    node.connected(&bob).await;
}

#[tokio::test]
async fn anybody_connects_where_nobody_is_asked() {
    let node = Node::new().config("auth.mode", "none").start().await;
    let mut client = node.client().connect().await.expect("no session is needed");
    node.emit(json!({"broadcast": true, "event": "hello", "args": [1]}))
        .await;
    assert_eq!(client.expect("hello").await.args[0], 1);
}

mod api {
    use super::*;

    #[tokio::test]
    async fn makes_shows_and_deletes_sessions() {
        let node = Node::new().start().await;
        let (status, made) = node
            .api(
                "POST",
                "/api/v1/sessions",
                json!({"userId": "alice", "ttl": 60}),
            )
            .await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["userId"], "alice");
        assert!(
            made["expires"].as_str().expect("a time").ends_with('Z'),
            "{made}"
        );
        let id = made["sessionID"].as_str().expect("an id");
        assert!(id.len() >= 20, "120 bits need 20 characters: {id}");
        let path = format!("/api/v1/sessions/{id}");
        let (status, shown) = node.api("GET", &path, Value::Null).await;
        assert_eq!(
            (status, &shown["userId"]),
            (200, &json!("alice")),
            "{shown}"
        );
        assert_eq!(
            node.api("DELETE", &path, Value::Null).await,
            (204, Value::Null)
        );
        let (status, gone) = node.api("GET", &path, Value::Null).await;
        assert_eq!(status, 404);
        assert!(gone["error"]["code"].is_string(), "{gone}");
        assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 404);
    }

    #[tokio::test]
    async fn takes_an_id_that_the_backend_chose() {
        let node = Node::new().start().await;
        let body = json!({"userId": "alice", "sessionID": "backend's own: 1/2?3"});
        let creds = node.session_with(body).await;
        assert_eq!(creds.session_id, "backend's own: 1/2?3");
        node.connected(&creds).await;
    }

    #[tokio::test]
    async fn refuses_what_is_no_session() {
        let node = Node::new().start().await;
        for body in [
            json!({}),
            json!([]),
            json!("alice"),
            json!({"userId": ""}),
            json!({"userId": 7}),
            json!({"userId": "alice", "ttl": 0}),
            json!({"userId": "alice", "ttl": -5}),
            json!({"userId": "alice", "ttl": "soon"}),
            json!({"userId": "alice", "sessionID": ""}),
            json!({"userId": "alice", "sessionID": "a".repeat(257)}),
            json!({"userId": "alice", "sessionID": "tab\tin it"}),
            json!({"userId": "alice", "unknown": 1}),
        ] {
            let (status, answer) = node.api("POST", "/api/v1/sessions", body.clone()).await;
            assert!(matches!(status, 400 | 422), "{body}: {status} {answer}");
            assert!(answer["error"]["code"].is_string(), "{body}: {answer}");
            assert!(answer["error"]["message"].is_string(), "{body}: {answer}");
        }
    }
}

mod cookies {
    use super::*;

    async fn node_with_alice(secrets: Value) -> RunningNode {
        let node = Node::new().config("auth.secrets", secrets).start().await;
        add_user(&node, "alice");
        node
    }

    #[tokio::test]
    async fn of_a_login_connect_alone() {
        let node = node_with_alice(json!(["a secret that is long enough"])).await;
        let cookie = cookie(&node, "alice").await;
        let mut client = node
            .client()
            .header("Cookie", &cookie)
            .connect()
            .await
            .expect("the cookie is enough");
        node.emit(json!({"user": "alice", "event": "hello", "args": [1]}))
            .await;
        assert_eq!(client.expect("hello").await.args[0], 1);
    }

    #[tokio::test]
    async fn that_were_changed_are_refused() {
        let node = node_with_alice(json!(["a secret that is long enough"])).await;
        let cookie = cookie(&node, "alice").await;
        let mut changed = cookie.clone();
        let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
        // The signature's last character holds padding bits; the one before does not.
        changed.pop();
        changed.push(last);
        changed.push(last);
        for bad in [
            changed.as_str(),
            "connect.sid=s%3Aabc.def",
            "connect.sid=",
            "connect.sid=%",
        ] {
            let error = node.client().header("Cookie", bad).connect_error().await;
            let expected = ["invalid_session", "missing_credentials"];
            assert!(expected.contains(&code(&error)), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn of_an_older_secret_are_taken_until_it_is_removed() {
        let (old, new) = ("the secret of last year", "the secret of this year");
        let mut node = node_with_alice(json!([old])).await;
        let cookie = cookie(&node, "alice").await;
        node.reconfigure("auth.secrets", json!([new, old]));
        node.restart().await;
        node.client()
            .header("Cookie", &cookie)
            .connect()
            .await
            .expect("both secrets verify");
        node.reconfigure("auth.secrets", json!([new]));
        node.restart().await;
        let error = node
            .client()
            .header("Cookie", &cookie)
            .connect_error()
            .await;
        assert_eq!(code(&error), "invalid_session");
    }

    #[tokio::test]
    async fn are_safe_from_scripts_and_other_sites() {
        let node = node_with_alice(json!(["a secret that is long enough"])).await;
        let response = log_in(&node, "alice", PASSWORD).await;
        let header = response
            .header("set-cookie")
            .expect("a login sets a cookie");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(header.contains(attribute), "no {attribute} in {header}");
        }
        let body = response.json();
        assert_eq!(body["userId"], "alice");
        assert!(
            body["sessionID"].is_string() && body["expires"].is_string(),
            "{body}"
        );
    }

    #[tokio::test]
    async fn are_not_given_for_a_wrong_password() {
        let node = node_with_alice(json!(["a secret that is long enough"])).await;
        let wrong = log_in(&node, "alice", "guess").await;
        let unknown = log_in(&node, "nobody", "guess").await;
        assert_eq!((wrong.status, unknown.status), (401, 401));
        // Nobody learns which names exist.
        assert_eq!(wrong.text(), unknown.text());
        assert_eq!(wrong.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let node = Node::new()
        .config("log.level", "trace")
        .config("auth.secrets", json!(["a-secret-for-cookies-1"]));
    let node = node.start().await;
    add_user(&node, "alice");
    let creds = node.session("alice").await;
    let mut client = node.connected(&creds).await;
    let cookie = cookie(&node, "alice").await;
    node.client()
        .header("Cookie", &cookie)
        .connect()
        .await
        .expect("the cookie is enough");
    node.emit(json!({"user": "alice", "event": "e", "args": ["a-payload-nobody-reads"]}))
        .await;
    client.expect("e").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = node.log();
    let cookie = cookie.trim_start_matches("connect.sid=");
    for secret in [
        creds.session_id.as_str(),
        cookie,
        PASSWORD,
        tidings_tests::node::API_KEY,
        "a-secret-for-cookies-1",
        "a-payload-nobody-reads",
    ] {
        assert!(
            !log.contains(secret),
            "{secret:?} stands in the log:\n{log}"
        );
    }
}

#[tokio::test]
async fn a_logout_over_http_ends_the_session() {
    let node = Node::new();
    let node = node.start().await;
    add_user(&node, "alice");
    let cookie = cookie(&node, "alice").await;
    let mut client = node
        .client()
        .header("Cookie", &cookie)
        .connect()
        .await
        .expect("the cookie is enough");
    let headers = [("Cookie", cookie.as_str())];
    let response = RawHttp::once(node.public(), "POST", "/auth/logout", &headers, b"").await;
    assert!(matches!(response.status, 200 | 204), "{}", response.status);
    assert_eq!(client.end().await, End::Disconnected);
    eventually("the cookie is worth nothing", async || {
        node.client()
            .header("Cookie", &cookie)
            .connect()
            .await
            .is_err()
    })
    .await;
}
