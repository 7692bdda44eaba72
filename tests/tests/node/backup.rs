//! Backups: of a node that runs and is busy, of one that does not; restored, the node has what it had,
//! and no client is told that it missed nothing.

use std::path::Path;

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{Node, RawHttp, RunningNode, eventually};

/// Runs `tidings` with its answer in JSON; panics unless that goes well.
fn done(node: &Node, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    let (status, out, errors) = node.command(&args, "");
    assert!(status.success(), "{args:?}: {out}{errors}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn running(node: &RunningNode, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    let (status, out, errors) = node.command(&args, "");
    assert!(status.success(), "{args:?}: {out}{errors}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn refused(node: &Node, args: &[&str]) -> String {
    let (status, out, errors) = node.command(args, "");
    assert_eq!(status.code(), Some(1), "{args:?}: {out}{errors}");
    errors
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test]
async fn a_busy_node_comes_back_from_its_backup() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("backup");
    let file = text(&file);
    let node = Node::new().start().await;
    let (status, _, errors) =
        node.command(&["user", "add", "bob", "--password-stdin"], "open sesame\n");
    assert!(status.success(), "{errors}");
    let root = ["admin", "add", "root", "--password-stdin"];
    let (status, _, errors) = node.command(&root, "correct horse battery staple\n");
    assert!(status.success(), "{errors}");
    let alice = node.session("alice").await;
    let key = running(&node, &["key", "create", "shop", "--scope", "emit"]);
    let mut client = node.connected(&alice).await;
    client.ask("subscribe:trades", Value::Null).await;
    let trade =
        |number: u32| json!({"room": "trades:alice", "event": "trade:executed", "data": number});
    node.emit(trade(1)).await;

    // Sessions and events come and go meanwhile.
    let busy = async {
        for number in 2..40 {
            node.emit(trade(number)).await;
            node.session(&format!("user-{number}")).await;
        }
    };
    let backup = async {
        let key = format!("Bearer {API_KEY}");
        let headers = [("Authorization", key.as_str())];
        RawHttp::once(node.private(), "GET", "/api/v1/backup", &headers, b"").await
    };
    let ((), over_http) = tokio::join!(busy, backup);
    assert_eq!(over_http.status, 200);
    std::fs::write(file, &over_http.body).expect("it can be written");
    done(&Node::new(), &["restore", "--check", file]);
    let said = running(&node, &["backup", file]);
    assert_eq!(
        (&said["running"], &said["rows"]["users"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(said["rows"]["sessions"], 39);

    let again = Node::new();
    let said = done(&again, &["restore", file]);
    assert_eq!(said["sessionsKept"], true);
    let other = again.start().await;
    // Who had a session has it, and who had a key has it.
    let path = format!("/api/v1/sessions/{}", alice.session_id);
    assert_eq!(other.api("GET", &path, Value::Null).await.0, 200);
    let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let headers = [("Authorization", bearer.as_str())];
    let body = trade(100).to_string();
    let answer = RawHttp::once(
        other.private(),
        "POST",
        "/api/v1/emit",
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 202);
    let login = json!({"username": "bob", "password": "open sesame"}).to_string();
    let json = [("Content-Type", "application/json")];
    let answer = RawHttp::once(
        other.public(),
        "POST",
        "/auth/login",
        &json,
        login.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 200);
    let login = json!({"username": "root", "password": "correct horse battery staple"}).to_string();
    let origin = other.private_url();
    let headers = [json[0], ("Origin", origin.as_str())];
    let address = other.private();
    let answer = RawHttp::once(address, "POST", "/admin/login", &headers, login.as_bytes()).await;
    assert_eq!(answer.status, 200);
    // The history is not the one that clients know.
    let (_, history) = other
        .api("GET", "/api/v1/rooms/trades%3Aalice/history", Value::Null)
        .await;
    let events = history["events"].as_array().expect("a list");
    assert_eq!(events.len(), 1, "{history}");
    assert_eq!(events[0]["args"], json!([100]));
}

#[tokio::test]
async fn a_client_of_a_restored_node_is_told_that_it_may_have_missed_something() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("backup");
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    let mut client = node.connected(&alice).await;
    client.ask("subscribe:trades", Value::Null).await;
    let trade =
        |number: u32| json!({"room": "trades:alice", "event": "trade:executed", "data": number});
    node.emit(trade(1)).await;
    client.expect("trade:executed").await;
    let recovery = client.cut();
    running(&node, &["backup", text(&file)]);
    // Kept by the node as it is, and unknown to its backup: a gap, if the backup went on from here.
    node.emit(trade(2)).await;
    assert!(node.term().await.success());

    std::fs::remove_dir_all(node.data_dir()).expect("its data can be lost");
    let (status, out, errors) = node.command(&["restore", text(&file)], "");
    assert!(status.success(), "{out}{errors}");
    assert!(out.contains("recovered: false"), "{out}");
    node.start_again().await;
    node.emit(trade(3)).await;
    let back = node.client().auth(alice.auth()).recover(&recovery);
    let back = back.connect().await.expect("it is let in");
    assert!(!back.recovered(), "trade 2 is missing");
}

#[tokio::test]
async fn what_is_there_is_never_written_over() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let (file, note) = (home.path().join("backup"), home.path().join("note"));
    let mut node = Node::new().start().await;
    let alice = node.session("alice").await;
    assert!(node.term().await.success());
    std::fs::write(&note, "mine").expect("it can be written");
    let (status, _, errors) = node.command(&["backup", text(&note)], "");
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("is no backup"), "{errors}");
    assert_eq!(std::fs::read_to_string(&note).expect("it is there"), "mine");

    // Of a node that does not run; twice, as a backup may be replaced by a newer one.
    for _ in 0..2 {
        let said = running(&node, &["backup", text(&file)]);
        assert_eq!(said["running"], false);
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&file).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let (status, _, errors) = node.command(&["restore", text(&file)], "");
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("is not empty"), "{errors}");

    let cut = std::fs::read(&file).expect("it is there");
    std::fs::write(&note, &cut[..cut.len() / 2]).expect("it can be written");
    let fresh = Node::new();
    let said = refused(&fresh, &["restore", text(&note)]);
    assert!(said.contains("not all was copied"), "{said}");
    done(&fresh, &["restore", text(&file), "--sessions", "drop"]);
    let fresh = fresh.start().await;
    let path = format!("/api/v1/sessions/{}", alice.session_id);
    assert_eq!(fresh.api("GET", &path, Value::Null).await.0, 404);
    node.start_again().await;
    eventually("the first one runs on", async || {
        node.api("GET", &path, Value::Null).await.0 == 200
    })
    .await;
}
