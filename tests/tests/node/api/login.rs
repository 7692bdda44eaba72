//! Login and logout on the public listener.

use super::*;

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn post(node: &RunningNode, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
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
