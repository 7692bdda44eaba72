//! SIGHUP and `tidings reload`: what can change while a node runs does, all or nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{Certificate, Manager, Node, RawHttp, RunningNode, eventually};

const ORIGIN: &str = "https://app.example";

/// The status of a handshake from a page of [`ORIGIN`].
async fn from_page(node: &RunningNode) -> u16 {
    let path = "/socket.io/?EIO=4&transport=polling";
    let headers = [("Origin", ORIGIN)];
    RawHttp::once(node.public(), "GET", path, &headers, b"")
        .await
        .status
}

#[tokio::test]
async fn takes_over_origins_limits_and_channels_under_connected_clients() {
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    assert_eq!(from_page(&node).await, 403);
    let refused = client.ask("subscribe:news", json!({})).await;
    assert_eq!(refused["error"]["code"], "unknown_event", "{refused}");

    node.reconfigure("http.origins", json!([ORIGIN]));
    node.reconfigure("limits.subscriptions_per_user", 1);
    let tables = "[channels.news]\nrooms = ['news']\nclass = 'conflated'\n
                  [channels.trades]\nrooms = ['trades:{user}']\nclass = 'recoverable'
                  [channels.portfolio]\nrooms = ['portfolio:{user}']\nclass = 'recoverable'\n
                  [channels.watchlist]\nrooms = ['quote:{symbol}']\nclass = 'conflated'
                  params.symbol = { chars = 'A-Z0-9.^=/:-', max = 32, case = 'upper' }\n";
    node.add_tables(tables);
    let (status, said) = node.reload();
    assert!(status.success(), "{said}");
    let keys = "http.origins, limits.subscriptions_per_user, channels.news";
    assert_eq!(said, format!("taken over: {keys}\n"));

    assert_eq!(from_page(&node).await, 200);
    let joined = client.ask("subscribe:news", json!({})).await;
    assert_eq!(joined["ok"], true, "{joined}");
    let over = client.ask("subscribe:trades", json!({})).await;
    assert_eq!(over["error"]["code"], "subscription_limit", "{over}");
    node.emit(json!({"rooms": ["news"], "event": "headline", "args": [1]}))
        .await;
    client.expect("headline").await;
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let mut node = Node::new().start().await;
    node.reconfigure("http.origins", json!([ORIGIN]));
    node.reconfigure("limits.connections", "many");
    let (status, said) = node.reload();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("limits.connections = \"many\""), "{said}");
    node.hang_up();
    eventually("the log says so", async || {
        let log = node.log();
        log.contains("nothing has changed") && log.contains("limits.connections = \"many\"")
    })
    .await;
    assert_eq!(from_page(&node).await, 403);
    node.reconfigure("limits.connections", 50);
    assert!(node.reload().0.success());
    assert_eq!(from_page(&node).await, 200);
}

#[tokio::test]
async fn names_what_needs_a_restart() {
    let mut node = Node::new().start().await;
    node.reconfigure("log.level", "debug");
    node.reconfigure("http.origins", json!([ORIGIN]));
    node.hang_up();
    eventually("the origin is taken over", async || {
        from_page(&node).await == 200
    })
    .await;
    eventually("the log says what is not", async || {
        node.log().contains("restart=[\"log.level\"]")
    })
    .await;
    let (_, said) = node.reload();
    assert!(said.contains("in need of a restart: log.level"), "{said}");
}

#[tokio::test]
async fn no_room_with_members_comes_to_promise_something_else() {
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    let _client = node.connected(&alice).await;
    let path = "/api/v1/rooms/orders:1/join";
    let (_, said) = node.api("POST", path, json!({"users": ["alice"]})).await;
    assert_eq!(said["sockets"], 1, "{said}");
    node.add_tables("[channels.orders]\nrooms = ['orders:{order}']\nclass = 'recoverable'\n");
    node.add_tables("[channels.watchlist]\nrooms = ['quote:{symbol}']\nclass = 'conflated'\n");
    let (status, said) = node.reload();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(
        said.contains("channels.orders") && said.contains("orders:1"),
        "{said}"
    );
}

#[tokio::test]
async fn an_old_secret_of_cookies_is_good_until_it_is_taken_away() {
    let old = "an old secret of ours";
    let mut node = Node::new()
        .config("auth.secrets", json!([old]))
        .start()
        .await;
    let (status, _, said) =
        node.command(&["user", "add", "ann", "--password-stdin"], "pass word 1\n");
    assert!(status.success(), "{said}");
    let body = json!({"username": "ann", "password": "pass word 1"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let login = RawHttp::once(
        node.public(),
        "POST",
        "/auth/login",
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(login.status, 200, "{}", login.text());
    let cookie = login.header("set-cookie").expect("a cookie is set");
    let cookie = cookie
        .split(';')
        .next()
        .expect("a name and a value")
        .to_owned();
    let connects = async |node: &RunningNode| {
        let client = node.client().header("Cookie", &cookie).auth(json!({}));
        client.connect().await.is_ok()
    };
    assert!(connects(&node).await);
    node.reconfigure("auth.secrets", json!(["a new secret of ours", old]));
    assert!(node.reload().0.success());
    assert!(connects(&node).await);
    node.reconfigure("auth.secrets", json!(["a new secret of ours"]));
    assert!(node.reload().0.success());
    assert!(!connects(&node).await);
}

#[tokio::test]
async fn shows_a_renewed_certificate_and_keeps_the_old_one_if_the_new_is_broken() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let node = Node::new();
    let cert = node.file("chain.pem", &old.chain);
    let key = node.file("key.pem", &old.key);
    let node = node.config("tls.cert", cert).config("tls.key", key);
    let node = node.start().await;
    let mut held = RawHttp::over(old.connect(node.public()).await, "localhost");
    assert_eq!(held.request("GET", "/health", &[], b"").await.status, 200);

    // A chain without its key: half of a renewal.
    node.replace_file("chain.pem", &new.chain);
    let (status, said) = node.reload();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("tls.cert and tls.key"), "{said}");
    old.connect(node.public()).await;

    node.replace_file("key.pem", &new.key);
    assert!(node.reload().0.success());
    new.connect(node.public()).await;
    assert_eq!(held.request("GET", "/health", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_renewed_certificate_is_noticed_without_a_word() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let node = Node::new();
    let cert = node.file("chain.pem", &old.chain);
    let key = node.file("key.pem", &old.key);
    let node = node.config("tls.cert", cert).config("tls.key", key);
    let node = node.start().await;
    old.connect(node.public()).await;
    let shown = async || -> String {
        let metrics = node.api_response("GET", "/metrics", &Value::Null).await;
        let mut lines = metrics.text().lines().map(str::to_owned);
        let found = lines.find(|line| line.starts_with("tidings_tls_certificates_total"));
        found.expect("the figure is there")
    };
    assert_eq!(shown().await, "tidings_tls_certificates_total 1");
    node.replace_file("chain.pem", &new.chain);
    node.replace_file("key.pem", &new.key);
    eventually("the new one is shown", async || {
        shown().await == "tidings_tls_certificates_total 2"
    })
    .await;
    new.connect(node.public()).await;
    assert!(!node.log().contains("cannot be used"));
}

#[tokio::test]
async fn a_broken_renewal_leaves_the_old_certificate_and_is_told() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let node = Node::new();
    let cert = node.file("chain.pem", &old.chain);
    let key = node.file("key.pem", &old.key);
    let node = node.config("tls.cert", cert).config("tls.key", key);
    let mut node = node.start().await;
    node.replace_file("chain.pem", &new.chain);
    // Longer than files may be half written, and than the files are not looked at.
    tokio::time::sleep(Duration::from_secs(12)).await;
    eventually("the log says so", async || {
        node.log()
            .contains("the renewed certificate cannot be used")
    })
    .await;
    let has = async |node: &RunningNode, line: &str| {
        let metrics = node.api_response("GET", "/metrics", &Value::Null).await;
        metrics.text().lines().any(|it| it == line)
    };
    assert!(has(&node, "tidings_tls_certificates_failed_total 1").await);
    assert!(has(&node, "tidings_tls_files_unusable 1").await);
    old.connect(node.public()).await;
    node.replace_file("chain.pem", &old.chain);
    eventually("it is mended", async || {
        has(&node, "tidings_tls_files_unusable 0").await
    })
    .await;
    assert!(node.term().await.success());
}

#[tokio::test]
async fn of_a_certificate_that_is_not_valid_yet_is_told() {
    let (old, early) = (Certificate::new(), Certificate::between(1, 80));
    let node = Node::new();
    let cert = node.file("chain.pem", &old.chain);
    let key = node.file("key.pem", &old.key);
    let node = node.config("tls.cert", cert).config("tls.key", key);
    let node = node.start().await;
    node.replace_file("chain.pem", &early.chain);
    node.replace_file("key.pem", &early.key);
    let (status, said) = node.reload();
    assert!(status.success(), "{said}");
    assert!(node.log().contains("no certificate that is valid now"));
}

#[tokio::test]
async fn tells_systemd_when_it_began_and_that_it_is_over() {
    let manager = Manager::new();
    let node = manager
        .of(Node::new(), Duration::from_secs(600))
        .start()
        .await;
    manager.expect("READY=1").await;
    node.hang_up();
    let began = manager.expect("RELOADING=1").await;
    assert!(began.contains("MONOTONIC_USEC="), "{began}");
    manager.expect("READY=1").await;
    assert_eq!(node.api("GET", "/health", Value::Null).await.0, 200);
}
