//! Bad settings stop a node before it listens, naming key, value and what is allowed.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{Node, RawHttp};

/// Runs a node with those settings; it must refuse them, saying each of `said`.
async fn refuses(settings: &[(&str, Value)], said: &[&str]) {
    let mut node = Node::new();
    for (key, value) in settings {
        node = node.config(key, value.clone());
    }
    let data = node.data_dir();
    let (status, log) = node.run_to_end().await;
    assert_eq!(status.code(), Some(64), "{settings:?}: {log}");
    for part in said {
        assert!(
            log.contains(part),
            "{settings:?}: {part:?} is not in: {log}"
        );
    }
    assert!(!data.join("listening.json").exists(), "{settings:?}");
}

#[tokio::test]
async fn unknown_keys_are_named() {
    refuses(&[("limits.paylaod", json!("1MB"))], &["limits.paylaod"]).await;
    refuses(&[("nonsense", json!(1))], &["nonsense"]).await;
}

#[tokio::test]
async fn bad_values_are_named_with_what_is_allowed() {
    for (key, value) in [
        ("listen.public", json!("somewhere")),
        ("listen.path", json!("socket.io")),
        ("auth.mode", json!("maybe")),
        ("auth.connect_timeout", json!("soon")),
        ("limits.payload", json!("-1")),
        ("limits.events_per_minute_per_user", json!(-1)),
        ("engine.ping_interval", json!("0s")),
        ("engine.transports", json!(["telepathy"])),
        ("http.origins", json!(["not a URL"])),
        ("http.trusted_proxies", json!(["10.0.0.0/99"])),
        ("recovery.window", json!(5)),
        ("log.format", json!("xml")),
    ] {
        let shown = value.to_string();
        refuses(
            &[(key, value)],
            &[key, shown.trim_matches(['[', ']', '"']), "must"],
        )
        .await;
    }
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let settings = [("auth.mode", json!("maybe")), ("log.format", json!("xml"))];
    refuses(&settings, &["auth.mode", "log.format"]).await;
}

#[tokio::test]
async fn an_open_private_listener_needs_tls_or_a_promise() {
    refuses(
        &[("listen.private", json!("0.0.0.0:0"))],
        &["listen.private", "insecure_private"],
    )
    .await;
    let node = Node::new()
        .config("listen.private", "0.0.0.0:0")
        .config("listen.insecure_private", true)
        .start()
        .await;
    let port = node.private().rsplit_once(':').expect("a port").1;
    assert_eq!(
        RawHttp::get(&format!("127.0.0.1:{port}"), "/health")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn secrets_are_masked_where_settings_are_shown() {
    let node = Node::new().config("auth.secrets", json!(["a secret nobody may read"]));
    let (status, out, err) = node.command(&["check"], "");
    assert!(status.success(), "{err}");
    for secret in ["nobody may read", tidings_tests::node::API_KEY] {
        assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
    }
    assert!(out.contains("***"), "{out}");
}

#[tokio::test]
async fn the_environment_comes_before_the_file() {
    let node = Node::new()
        .config("auth.mode", "session")
        .env("TIDINGS_AUTH__MODE", "none")
        .start()
        .await;
    node.client().connect().await.expect("nobody is asked");
}

#[tokio::test]
async fn the_annotated_defaults_are_a_configuration() {
    let (status, out, err) = Node::new().command(&["config"], "");
    assert!(status.success(), "{err}");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, &out).expect("it can be written");
    let path = path.to_str().expect("a path in UTF-8");
    let (status, _, err) = Node::new().command(&["check", "--config", path], "");
    assert!(status.success(), "{err}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (status, log) = Node::new()
        .config("listen.public", address.as_str())
        .run_to_end()
        .await;
    assert!(!status.success());
    assert!(log.contains(&address), "{log}");
}

mod store {
    use super::*;

    #[tokio::test]
    async fn that_another_node_holds_is_not_touched() {
        let first = Node::new().start().await;
        let data = first.data_dir();
        let data = data.to_str().expect("a path in UTF-8");
        let begun = std::time::Instant::now();
        let (status, log) = Node::new().config("node.data_dir", data).run_to_end().await;
        assert!(!status.success(), "{log}");
        assert!(log.contains(data) || log.contains("lock"), "{log}");
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it took {:?}",
            begun.elapsed()
        );
        let alice = first.session("alice").await;
        first.connected(&alice).await;
    }

    /// What a power cut leaves; sled can make it again from its log.
    fn cut_snapshot(sled: &Path) {
        let snapshot = std::fs::read_dir(sled)
            .expect("the store is there")
            .map(|entry| entry.expect("it can be listed").path())
            .find(|path| path.to_string_lossy().contains("/snap."))
            .expect("a clean stop leaves a snapshot");
        let half = std::fs::metadata(&snapshot).expect("it is there").len() / 2;
        let file = std::fs::File::options()
            .write(true)
            .open(&snapshot)
            .expect("it can be opened");
        file.set_len(half).expect("it can be cut");
    }

    #[tokio::test]
    async fn that_is_damaged_is_copied_aside_and_told_of() {
        let mut node = Node::new().start().await;
        let alice = node.session("alice").await;
        // sled writes its first snapshot on the second run.
        node.restart().await;
        assert!(node.term().await.success());
        cut_snapshot(&node.data_dir().join("store/sled"));
        node.start_again().await;
        let line = node
            .log()
            .lines()
            .find(|line| line.contains("rebuilt=Some"))
            .map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("nothing is told of it:\n{}", node.log()));
        let path = line
            .split('"')
            .nth(1)
            .expect("the copy's path stands in the log");
        assert!(Path::new(path).is_dir(), "{line}");
        node.connected(&alice).await;
        let (_, health) = node.api("GET", "/api/health/detailed", Value::Null).await;
        assert!(
            ["ok", "degraded"].contains(&health["status"].as_str().expect("text")),
            "{health}"
        );
    }
}
