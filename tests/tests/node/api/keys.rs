//! What a key opens, and what becomes of one that is revoked.

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
    let mut http = open_stream(&node, &key, &mut alice).await;
    let (status, _, err) = node.command(&["key", "revoke", &id], "");
    assert!(status.success(), "{err}");
    let answer = tokio::time::timeout(Duration::from_secs(10), http.response()).await;
    let answer = answer.expect("the stream ends").expect("in good order");
    assert_ended(&answer, "unauthorized");
    let answer = with_key(&node, &key, "GET", "/api/v1/emit", "").await;
    assert_eq!(answer.status, 405);
    let emit = r#"{"broadcast":true,"event":"e"}"#;
    let answer = with_key(&node, &key, "POST", "/api/v1/emit", emit).await;
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
