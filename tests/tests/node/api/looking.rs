//! Rooms, sockets and users, page by page.

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
