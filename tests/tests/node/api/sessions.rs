//! Sessions, made and ended by a backend.

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
