//! Certificates from a CA by ACME: issued, kept, renewed; and a CA that fails does no harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tidings_tests::pebble::directory;
use tidings_tests::port;
use tidings_tests::{Certificate, Node, Pebble, RawHttp, RunningNode, Trust, eventually};

const DAY: u64 = 86_400;

/// A node that gets its certificate from this CA.
fn asking(node: Node, directory: &str, authority: &str) -> Node {
    node.config("acme.domains", json!(["localhost"]))
        .config("acme.contact", json!(["ops@tidings.example"]))
        .config("acme.directory", directory)
        .config("acme.terms_agreed", true)
        .config("acme.ca", authority)
}

/// The same with its public listener where the CA will look for it.
fn at(port: u16, pebble: &Pebble) -> Node {
    asking(Node::new(), &pebble.directory(), &pebble.authority())
        .config("listen.public", format!("127.0.0.1:{port}"))
}

/// The certificate that a client sees, if it trusts it.
async fn leaf(trust: &Trust, node: &RunningNode) -> Option<Vec<u8>> {
    trust
        .connect(node.public())
        .await
        .ok()
        .map(|(_, leaf)| leaf)
}

async fn has_metric(node: &RunningNode, line: &str) -> bool {
    let metrics = node.api_response("GET", "/metrics", &Value::Null).await;
    metrics.text().lines().any(|it| it == line)
}

/// What detailed health says of the certificate.
async fn certificate(node: &RunningNode) -> Value {
    let (_, mut health) = node.api("GET", "/api/health/detailed", Value::Null).await;
    health["certificate"].take()
}

#[tokio::test]
async fn is_issued_and_kept_over_a_restart() {
    let port = port::free();
    let pebble = Pebble::start(port, 90 * DAY).await;
    let mut node = at(port, &pebble).start().await;
    let trust = pebble.trust().await;
    eventually("clients trust it", async || {
        leaf(&trust, &node).await.is_some()
    })
    .await;
    let (stream, first) = trust.connect(node.public()).await.expect("it is trusted");
    let mut http = RawHttp::over(stream, "localhost");
    let health = http.request("GET", "/health", &[], b"").await;
    assert_eq!(health.json(), json!({"status": "ok"}));
    eventually("it is counted", async || {
        has_metric(&node, "tidings_acme_attempts_total{outcome=\"issued\"} 1").await
    })
    .await;
    let said = certificate(&node).await;
    assert_eq!(said["acme"]["status"], "ok", "{said}");
    assert_eq!(said["acme"]["domains"], json!(["localhost"]), "{said}");
    let renewal = said["acme"]["next"].as_str().expect("there is a next time");
    let expires = said["expires"].as_str().expect("it ends");
    assert!(renewal < expires, "{said}");

    let folder = node.data_dir().join("acme");
    let mode = |path: &std::path::Path| {
        let about = fs::metadata(path).expect("it is there");
        about.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for name in ["account.json", "certificate.pem", "tries.json"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    node.restart().await;
    // At once: it was not asked for again.
    assert_eq!(leaf(&trust, &node).await, Some(first));
    assert!(has_metric(&node, "tidings_acme_attempts_total{outcome=\"issued\"} 0").await);
    assert_eq!(node.log().matches("asking the CA").count(), 1);
    assert_eq!(pebble.log().matches("There are now 1 accounts").count(), 1);
}

#[tokio::test]
async fn is_renewed_under_connected_clients() {
    let port = port::free();
    let pebble = Pebble::start(port, 9).await;
    let node = at(port, &pebble).start().await;
    let trust = pebble.trust().await;
    eventually("clients trust it", async || {
        leaf(&trust, &node).await.is_some()
    })
    .await;
    let (stream, first) = trust.connect(node.public()).await.expect("it is trusted");
    let mut held = RawHttp::over(stream, "localhost");
    eventually("another one is shown", async || {
        leaf(&trust, &node).await.is_some_and(|leaf| leaf != first)
    })
    .await;
    assert_eq!(held.request("GET", "/health", &[], b"").await.status, 200);
    // By the same account.
    assert!(!pebble.log().contains("There are now 2 accounts"));
}

#[tokio::test]
async fn a_ca_that_fails_leaves_the_old_certificate_and_is_told() {
    let old = Certificate::of_days(80, 10);
    let gone = directory(1);
    let node = Node::new();
    let authority = node.file("authority.pem", &old.authority);
    let folder = node.data_dir().join("acme");
    fs::create_dir_all(&folder).expect("the data folder can be made");
    let kept = format!("Issued by {gone}\n{}{}", old.chain, old.key);
    fs::write(folder.join("certificate.pem"), kept).expect("it can be written");
    let node = asking(node, &gone, &authority).start().await;
    old.connect(node.public()).await;
    eventually("the failure is counted", async || {
        has_metric(&node, "tidings_acme_attempts_total{outcome=\"failed\"} 1").await
    })
    .await;
    assert!(node.log().contains("no certificate from the CA"));
    let said = certificate(&node).await;
    assert_eq!(said["acme"]["status"], "failing", "{said}");
    let message = said["acme"]["message"].as_str().expect("it says why");
    assert!(message.contains("the CA at localhost"), "{said}");
    old.connect(node.public()).await;
    let (_, health) = node.api("GET", "/health", Value::Null).await;
    assert_eq!(health["status"], "ok");
}

#[tokio::test]
async fn without_one_clients_are_refused_until_the_ca_is_there() {
    let (port, ca) = (port::free(), port::free());
    let node = Node::new();
    // It is not known yet by whom the CA will be known.
    let authority = node.file("authority.pem", &Certificate::new().authority);
    let node = asking(node, &directory(ca), &authority)
        .config("listen.public", format!("127.0.0.1:{port}"))
        .start()
        .await;
    eventually("the attempt has failed", async || {
        has_metric(&node, "tidings_acme_failures 1").await
    })
    .await;
    let pebble = Pebble::start_on(ca, port, 90 * DAY).await;
    let trust = pebble.trust().await;
    assert_eq!(leaf(&trust, &node).await, None);
    let (_, health) = node.api("GET", "/health", Value::Null).await;
    assert_eq!(health["status"], "degraded");

    let known = fs::read_to_string(pebble.authority()).expect("it can be read");
    node.replace_file("authority.pem", &known);
    // An operator need not wait for the next attempt.
    let (status, said) = node.reload();
    assert!(status.success(), "{said}");
    eventually("clients trust it", async || {
        leaf(&trust, &node).await.is_some()
    })
    .await;
    let (_, health) = node.api("GET", "/health", Value::Null).await;
    assert_eq!(health["status"], "ok");
}

#[tokio::test]
async fn a_domain_that_leads_elsewhere_is_told_and_restarts_do_not_hammer_the_ca() {
    let (port, elsewhere) = (port::free(), port::free());
    let pebble = Pebble::start(elsewhere, 90 * DAY).await;
    let mut node = at(port, &pebble).start().await;
    let failed = async |node: &RunningNode, count: u32| {
        let line = format!("tidings_acme_failures {count}");
        eventually("the attempt has failed", async || {
            has_metric(node, &line).await
        })
        .await;
    };
    failed(&node, 1).await;
    let said = certificate(&node).await;
    let message = said["acme"]["message"].as_str().expect("it says why");
    assert!(message.contains("localhost leads here"), "{said}");
    node.restart().await;
    failed(&node, 1).await;
    assert_eq!(node.log().matches("asking the CA").count(), 1);
}

/// A restart would ask again at once, and the next one too.
#[tokio::test]
async fn a_ca_is_not_asked_by_a_node_that_cannot_count_its_attempts() {
    let node = Node::new();
    let authority = node.file("authority.pem", &Certificate::new().authority);
    let folder = node.data_dir();
    fs::create_dir_all(&folder).expect("the data folder can be made");
    fs::write(folder.join("acme"), "no folder").expect("it can be written");
    let node = asking(node, &directory(1), &authority).start().await;
    eventually("it says so", async || {
        node.log().contains("attempts cannot be counted")
    })
    .await;
    assert!(!node.log().contains("asking the CA"), "{}", node.log());
    let said = certificate(&node).await;
    assert_eq!(said["acme"]["status"], "failing", "{said}");
}

#[tokio::test]
async fn nothing_is_started_with_a_file_that_names_no_authority() {
    const NONE: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let node = Node::new();
    let file = |name: &str, text: &str| node.file(name, text);
    let empty = file("empty.pem", "no certificate");
    let none = file("none.pem", NONE);
    let pipe = format!("{}.pipe", empty.trim_end_matches(".pem"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &*pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a pipe can be made");
    for (file, why) in [
        (empty, "no certificate in it"),
        (none, "a certificate in it is none"),
        // Nobody writes into it: whoever reads it waits for ever.
        (pipe, "must be a PEM file"),
    ] {
        let node = asking(Node::new(), &directory(1), &file);
        for args in ["check", "serve"] {
            let (status, _, error) = node.command(&[args], "");
            assert_eq!(status.code(), Some(64), "{args}: {error}");
            assert!(error.contains("acme.ca") && error.contains(why), "{error}");
        }
    }
}
