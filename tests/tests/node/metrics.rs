//! Metrics: the manual lists those that there are, alerts and dashboard name no others, and they count
//! what they say. Logs hold no secrets.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tidings_tests::cluster::{member, new_key};
use tidings_tests::node::API_KEY;
use tidings_tests::{Node, RawHttp, RunningNode, eventually};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

async fn metrics(node: &RunningNode) -> String {
    let response = node.api_response("GET", "/metrics", &Value::Null).await;
    response.text().to_owned()
}

const STREAM: &str = "[[mongodb.streams]]\nname = \"s\"\ncollection = \"c\"\n\
                      event = \"e\"\nroom = \"r:{userId}\"\n";

/// `name kind` of all families, of one of a cluster that shares a MongoDB and has its certificate from
/// a CA, which need not be there: it has all that there are.
async fn there() -> BTreeSet<String> {
    let node = member("a", &new_key())
        .config("acme.domains", json!(["localhost"]))
        .config("acme.directory", "https://127.0.0.1:1/dir")
        .config("acme.terms_agreed", true)
        .config("auth.mode", "session")
        .config("mongodb.uri", "mongodb://127.0.0.1:1/app")
        .tables(STREAM);
    let text = metrics(&node.start().await).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_manual_lists_those_that_there_are() {
    let manual = read("docs/operations.md");
    let rows = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidings_"));
    let listed = rows.map(|row| {
        let mut cells = row.split(" | ");
        let mut cell = || cells.next().unwrap_or_default().trim_matches('`');
        format!("tidings_{} {}", cell(), cell())
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), there().await);
}

#[tokio::test]
async fn alerts_and_dashboard_name_no_others() {
    let there: BTreeSet<String> = there().await;
    let there: BTreeSet<&str> = there.iter().filter_map(|it| it.split(' ').next()).collect();
    let rules = "packaging/prometheus/tidings.rules.yml";
    let dashboard = "packaging/grafana/tidings.json";
    let parsed: Value = serde_json::from_str(&read(dashboard)).expect("it is JSON");
    assert!(parsed["panels"].as_array().expect("it has panels").len() > 10);
    for file in [rules, dashboard] {
        let text = read(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words = words.filter(|it| it.starts_with("tidings_"));
        let named: BTreeSet<&str> = words.map(|it| it.trim_end_matches("_bucket")).collect();
        assert!(named.len() > 8, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    promtool(["check", "rules"], rules);
}

#[test]
fn each_alert_is_given_for_its_trouble_and_none_without() {
    let cases = "tests/tests/node/alerts.yml";
    promtool(["test", "rules"], cases);
    let (rules, cases) = (read("packaging/prometheus/tidings.rules.yml"), read(cases));
    let alerts = rules
        .lines()
        .filter_map(|it| it.trim().strip_prefix("- alert: "));
    let untried: Vec<_> = alerts
        .filter(|it| !cases.contains(&format!("\"{it}\"")))
        .collect();
    assert!(untried.is_empty(), "no case has {untried:?}");
}

#[track_caller]
fn promtool(args: [&str; 2], file: &str) {
    // Where `tests/run` unpacks it, else where it is installed.
    let unpacked = root().join(".tools/promtool/usr/bin/promtool");
    let promtool = Some(unpacked).filter(|path| path.exists());
    let checked = Command::new(promtool.unwrap_or_else(|| "promtool".into()))
        .args(args)
        .arg(root().join(file))
        .output()
        .expect("promtool is there: run `tests/run --setup` first");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[tokio::test]
async fn they_count_how_clients_come_and_go() {
    let node = Node::new().start().await;
    let alice = node.session("alice").await;
    let client = node.connected(&alice).await;
    let wrong = json!({"sessionID": "nobodys", "userId": "alice"});
    node.client().auth(wrong).connect_error().await;
    drop(client.cut());
    eventually("all of it is counted", async || {
        let text = metrics(&node).await;
        let has = |line: &str| text.lines().any(|it| it == line);
        has("tidings_connects_total{outcome=\"accepted\"} 1")
            && has("tidings_connects_total{outcome=\"refused\"} 1")
            && has("tidings_connects_total{outcome=\"put_off\"} 0")
            && text.lines().any(|line| {
                let count = line.strip_prefix("tidings_closes_total{reason=\"transport_close\"} ");
                count.is_some_and(|count| count != "0")
            })
    })
    .await;
}

#[tokio::test]
async fn they_count_how_long_events_take() {
    let node = Node::new().start().await;
    let mut alice = node.connected(&node.session("alice").await).await;
    for room in ["trades", "portfolio"] {
        alice.ask(&format!("subscribe:{room}"), Value::Null).await;
    }
    let nobody = json!({"room": "nobody's", "event": "e", "data": 1});
    assert_eq!(node.api("POST", "/api/v1/emit", nobody).await.0, 202);
    let live = json!({"broadcast": true, "event": "e", "data": 1});
    assert_eq!(node.api("POST", "/api/v1/emit", live).await.0, 202);
    let kept = json!({"orderId": "o-1"});
    let path = "/api/v1/users/alice/trades/executed";
    assert_eq!(node.api("POST", path, kept).await.0, 202);
    eventually(
        "both that had a listener are counted, and the one kept",
        async || {
            let text = metrics(&node).await;
            let has = |line: &str| text.lines().any(|it| it == line);
            has("tidings_emit_write_seconds_count 2")
                && has("tidings_emit_write_seconds_bucket{le=\"10\"} 2")
                && has("tidings_emit_write_seconds_bucket{le=\"+Inf\"} 2")
                && has("tidings_emit_keep_seconds_count 1")
                && !has("tidings_emit_keep_seconds_sum 0")
        },
    )
    .await;
}

#[tokio::test]
async fn a_busy_nodes_log_has_no_secrets() {
    const PASSWORD: &str = "correct horse battery staple";
    const PAYLOAD: &str = "sell everything at noon";
    let secret = "the secret of all cookies";
    let node = Node::new()
        .config("auth.secrets", json!([secret]))
        .config("log.level", "trace")
        .start()
        .await;
    let said = format!("{PASSWORD}\n");
    let (status, ..) = node.command(&["user", "add", "bob", "--password-stdin"], &said);
    assert!(status.success());
    let (_, key, _) = node.command(&["key", "create", "shop", "--scope", "emit", "--json"], "");
    let key: Value = serde_json::from_str(&key).expect("it is JSON");
    let key = key["key"].as_str().expect("a key").to_owned();
    let login = json!({"username": "bob", "password": PASSWORD}).to_string();
    let content = [("Content-Type", "application/json")];
    let answer = RawHttp::once(
        node.public(),
        "POST",
        "/auth/login",
        &content,
        login.as_bytes(),
    )
    .await;
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let bob = answer.json()["sessionID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let wrong = json!({"username": "bob", "password": "hunter2 hunter2"}).to_string();
    RawHttp::once(
        node.public(),
        "POST",
        "/auth/login",
        &content,
        wrong.as_bytes(),
    )
    .await;

    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    client.ask("subscribe:trades", Value::Null).await;
    client.ask("nobody:knows", json!(PAYLOAD)).await;
    let by_cookie = node.client().header("Cookie", &cookie);
    let by_cookie = by_cookie.connect().await.expect("the cookie is good");
    let bearer = format!("Bearer {key}");
    let emit = json!({"room": "trades:alice", "event": "trade:executed", "data": PAYLOAD});
    let headers = [("Authorization", bearer.as_str())];
    let body = emit.to_string();
    let answer = RawHttp::once(
        node.private(),
        "POST",
        "/api/v1/emit",
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 202);
    client.expect("trade:executed").await;
    let pid = client.pid().expect("it may come back").to_owned();
    let recovery = client.cut();
    let back = node.client().auth(alice.auth()).recover(&recovery);
    drop(back.connect().await.expect("it may come back"));
    by_cookie.disconnect().await;
    let path = format!("/api/v1/sessions/{}", alice.session_id);
    assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 204);

    let log = node.log();
    assert!(log.contains(" ready "), "it says nothing: {log}");
    let signed = cookie.split_once('=').expect("name and value").1;
    for (what, secret) in [
        ("a password", PASSWORD),
        ("a wrong password", "hunter2 hunter2"),
        ("a payload", PAYLOAD),
        ("a session's id", &alice.session_id),
        ("a session's id of a login", &bob),
        ("a cookie", signed),
        ("a cookie's secret", secret),
        ("an API key", &key),
        ("the configured API key", API_KEY),
        ("a connection's pid", &pid),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what} is in the log");
    }
}
