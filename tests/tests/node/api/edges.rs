//! HTTP itself: forms, sizes, connections that are kept.

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
    let mut http = open_stream(&node, API_KEY, &mut alice).await;
    let (answer, status) = tokio::join!(http.response(), node.term());
    let answer = answer.expect("the stream ends in good order");
    assert_ended(&answer, "draining");
    assert!(status.success(), "{status} {}", node.log());
}
