//! The private API beyond emits, its edges, and login on the public listener.

mod admin_socket;
mod edges;
mod keys;
mod login;
mod looking;
mod order;
mod repeats;
mod rooms;
mod sessions;
mod streams;
mod typed;

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::raw_http::Response;
use tidings_tests::{Certificate, Node, RawHttp, RunningNode, SILENCE, SioClient};

async fn user(node: &RunningNode, name: &str) -> SioClient {
    let session = node.session(name).await;
    node.connected(&session).await
}

async fn with_key(node: &RunningNode, key: &str, method: &str, path: &str, body: &str) -> Response {
    let key = format!("Bearer {key}");
    let headers = [("Authorization", key.as_str())];
    RawHttp::once(node.private(), method, path, &headers, body.as_bytes()).await
}

/// A stream of emits that is open: one has reached this client.
async fn open_stream(node: &RunningNode, key: &str, client: &mut SioClient) -> RawHttp {
    let mut http = RawHttp::connect(node.private()).await;
    let head = format!(
        "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    http.send_bytes(head.as_bytes()).await.expect("it is open");
    let line = "{\"broadcast\":true,\"event\":\"e\"}\n";
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    http.send_bytes(chunk.as_bytes()).await.expect("it is open");
    client.expect("e").await;
    http
}

/// That the emit of [`open_stream`] was taken and the stream's last line says this.
#[track_caller]
fn assert_ended(answer: &Response, code: &str) {
    let text = answer.text();
    let lines = text.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("JSON");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0]["id"].is_string(), "{lines:?}");
    assert_eq!(lines[1]["error"]["code"], code, "{lines:?}");
}

/// A key made over the admin socket: its id and itself.
fn key(node: &RunningNode, scopes: &[&str]) -> (String, String) {
    let mut args = vec!["key", "create", "test", "--json"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    let (status, out, err) = node.command(&args, "");
    assert!(status.success(), "{out}{err}");
    let made: Value = serde_json::from_str(&out).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

#[tokio::test]
async fn beyond_loopback_it_speaks_tls() {
    let certificate = Certificate::new();
    let node = Node::new();
    let cert = node.file("chain.pem", &certificate.chain);
    let secret = node.file("key.pem", &certificate.key);
    let node = node
        .config("tls.cert", cert)
        .config("tls.key", secret)
        .config("listen.private", "0.0.0.0:0")
        .start()
        .await;
    let port = node.private().rsplit_once(':').expect("a port").1;
    let stream = certificate.connect(&format!("127.0.0.1:{port}")).await;
    let mut http = RawHttp::over(stream, "localhost");
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str())];
    let body = br#"{"broadcast":true,"event":"e"}"#;
    let answer = http.request("POST", "/api/v1/emit", &headers, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let mut plain = RawHttp::connect(&format!("127.0.0.1:{port}")).await;
    plain
        .send_bytes(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("it is sent");
    let answer = plain.response().await;
    assert!(answer.is_err(), "it was answered in the clear");
}
