//! Which pages may connect: the same host and those listed; others not at all.

use serde_json::json;
use tidings_tests::{Node, RawHttp, RunningNode};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

async fn open(node: &RunningNode, origin: &str) -> tidings_tests::raw_http::Response {
    RawHttp::once(node.public(), "GET", POLL, &[("Origin", origin)], b"").await
}

#[tokio::test]
async fn pages_of_other_hosts_are_refused_on_every_request() {
    let node = Node::new().start().await;
    for origin in [
        "https://evil.example",
        "http://127.0.0.1:1",
        "null",
        "not a URL",
    ] {
        let refused = open(&node, origin).await;
        assert_eq!(refused.status, 403, "{origin}");
        assert_eq!(refused.json()["code"], 4, "{origin}: {}", refused.text());
        assert_eq!(
            refused.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let ws = node.client().header("Origin", origin).engine().await;
        assert!(
            matches!(ws, Err(refused) if refused.status == 403),
            "{origin}"
        );
    }
    let opened = RawHttp::get(node.public(), POLL).await;
    let sid: serde_json::Value = serde_json::from_str(&opened.text()[1..]).expect("an open packet");
    let sid = sid["sid"].as_str().expect("a sid");
    let target = format!("{POLL}&sid={sid}");
    for method in ["GET", "POST"] {
        let headers = [("Origin", "https://evil.example")];
        let refused = RawHttp::once(node.public(), method, &target, &headers, b"40").await;
        assert_eq!(refused.status, 403, "{method} with a sid");
    }
}

#[tokio::test]
async fn pages_of_the_same_host_may_connect() {
    let node = Node::new().start().await;
    assert_eq!(open(&node, &node.public_url()).await.status, 200);
    node.client()
        .header("Origin", &node.public_url())
        .engine()
        .await
        .expect("the same host");
}

#[tokio::test]
async fn listed_pages_may_connect_with_credentials() {
    let origin = "https://app.example";
    let node = Node::new()
        .config("http.origins", json!([origin]))
        .start()
        .await;
    let opened = open(&node, origin).await;
    assert_eq!(opened.status, 200);
    assert_eq!(opened.header("access-control-allow-origin"), Some(origin));
    assert_eq!(
        opened.header("access-control-allow-credentials"),
        Some("true")
    );
    assert!(
        opened
            .header("vary")
            .is_some_and(|vary| vary.contains("Origin")),
        "{opened:?}"
    );
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let preflight = RawHttp::once(node.public(), "OPTIONS", POLL, &headers, b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some(origin)
    );
    assert_eq!(
        open(&node, "https://app.example.evil.example").await.status,
        403
    );
    assert_eq!(open(&node, "http://app.example").await.status, 403);
}
