//! The first request of a connection is decided before an HTTP server sees it; however it arrives,
//! and whatever it asks for, a client cannot tell.

use std::time::Duration;

use serde_json::json;
use tidings_tests::{EnginePolling, Node, PATIENCE, RunningNode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: node\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGlkaW5ncy1sb2FkLWtleQ==\r\n";

async fn open() -> (RunningNode, TcpStream) {
    let node = Node::new().config("auth.mode", "none").start().await;
    let stream = connect(&node).await;
    (node, stream)
}

async fn connect(node: &RunningNode) -> TcpStream {
    let stream = TcpStream::connect(node.public()).await.expect("it listens");
    stream
        .set_nodelay(true)
        .expect("a socket takes its options");
    stream
}

/// Reads until all of these have come, in this order.
async fn expect(stream: &mut TcpStream, parts: &[&str]) -> String {
    let mut text = String::new();
    let all = |text: &str| {
        let mut rest = text;
        parts.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    };
    while !all(&text) {
        let mut chunk = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut chunk)).await;
        let count = read.unwrap_or_else(|_| panic!("{parts:?} were due, came {text:?}"));
        let count = count.unwrap_or_default();
        assert!(count > 0, "{parts:?} were due, it ended with {text:?}");
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    text
}

/// A short text frame of a client, masked with nothing.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test]
async fn may_come_in_pieces() {
    let (_node, mut stream) = open().await;
    for piece in [&UPGRADE[..20], &UPGRADE[20..70], &UPGRADE[70..], "\r\n"] {
        stream.write_all(piece.as_bytes()).await.expect("it reads");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    expect(&mut stream, &["HTTP/1.1 101 ", "\r\n\r\n", "0{\"sid\":"]).await;
    stream.write_all(&frame("40")).await.expect("it reads");
    expect(&mut stream, &["40{\"sid\":"]).await;
}

#[tokio::test]
async fn may_have_frames_right_behind_it() {
    let (_node, mut stream) = open().await;
    let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
    bytes.extend(frame("3"));
    bytes.extend(frame("40"));
    // The last frame comes in two parts, the first of them with the request.
    let cut = bytes.len() - 3;
    stream.write_all(&bytes[..cut]).await.expect("it reads");
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(&bytes[cut..]).await.expect("it reads");
    let wanted = ["HTTP/1.1 101 ", "\r\n\r\n", "0{\"sid\":", "40{\"sid\":"];
    expect(&mut stream, &wanted).await;
}

#[tokio::test]
async fn is_refused_as_any_other_and_the_connection_goes_on() {
    let (_node, mut stream) = open().await;
    let foreign = format!("{UPGRADE}Origin: https://elsewhere.example\r\n\r\n");
    stream
        .write_all(foreign.as_bytes())
        .await
        .expect("it reads");
    let answer = expect(&mut stream, &["HTTP/1.1 403 ", "\r\n\r\n"]).await;
    assert!(
        answer.to_lowercase().contains("content-length:"),
        "{answer}"
    );

    let (node, mut stream) = open().await;
    let elsewhere = UPGRADE.replace("/socket.io/", "/health");
    stream
        .write_all(format!("{elsewhere}\r\n").as_bytes())
        .await
        .expect("it reads");
    expect(&mut stream, &["HTTP/1.1 200 ", "\r\n\r\n", "}"]).await;
    // The same connection may still become a WebSocket, by way of the HTTP server.
    stream
        .write_all(format!("{UPGRADE}\r\n").as_bytes())
        .await
        .expect("it reads");
    expect(&mut stream, &["HTTP/1.1 101 ", "\r\n\r\n", "0{\"sid\":"]).await;
    drop(node);
}

/// A stream goes to the shard that has the fewest, and so not to that of the session it is for.
#[tokio::test]
async fn may_be_for_a_session_on_another_shard() {
    let node = Node::new()
        .config("auth.mode", "none")
        .config("node.shards", 2)
        .start()
        .await;
    let (first, mut one) = moved_to_websocket(&node).await;
    let (second, mut other) = moved_to_websocket(&node).await;
    // An id begins with its place: node and shard.
    assert_ne!(first.sid()[..8], second.sid()[..8], "both ways were tried");
    node.emit(json!({"broadcast": true, "event": "e"})).await;
    for stream in [&mut one, &mut other] {
        expect(stream, &["42[\"e\""]).await;
    }
}

/// A session that began by polling, and the WebSocket that it has now.
async fn moved_to_websocket(node: &RunningNode) -> (EnginePolling, TcpStream) {
    let (session, _) = EnginePolling::open(node.public(), "/socket.io/").await;
    let mut stream = connect(node).await;
    let named = format!("transport=websocket&sid={}", session.sid());
    let request = UPGRADE.replace("transport=websocket", &named);
    let mut bytes = format!("{request}\r\n").into_bytes();
    bytes.extend(frame("2probe"));
    stream.write_all(&bytes).await.expect("it reads");
    expect(&mut stream, &["HTTP/1.1 101 ", "\r\n\r\n", "3probe"]).await;
    assert_eq!(session.poll().await, ["6"], "the client can let polling go");
    let packets = [frame("5"), frame("40")].concat();
    stream.write_all(&packets).await.expect("it reads");
    expect(&mut stream, &["40{\"sid\":"]).await;
    (session, stream)
}

/// What was asked before a close is answered before it or not at all: a browser takes a frame after
/// the close for an error.
#[tokio::test]
async fn may_be_followed_by_an_event_and_a_close_at_once() {
    let (_node, mut stream) = open().await;
    stream
        .write_all(format!("{UPGRADE}\r\n").as_bytes())
        .await
        .expect("it reads");
    stream.write_all(&frame("40")).await.expect("it reads");
    expect(&mut stream, &["40{\"sid\":"]).await;
    let event = frame("421[\"subscribe:none\",{}]");
    closes_cleanly(&mut stream, event).await;
}

/// What waits for the next poll while a client changes over must not come behind the close, either.
#[tokio::test]
async fn may_end_a_session_in_the_moment_of_its_upgrade() {
    let (node, mut stream) = open().await;
    let (session, _) = EnginePolling::open(node.public(), "/socket.io/").await;
    session.send(&["40"]).await;
    assert!(session.poll().await[0].starts_with("40"));
    let named = format!("transport=websocket&sid={}", session.sid());
    let request = UPGRADE.replace("transport=websocket", &named);
    let mut bytes = format!("{request}\r\n").into_bytes();
    bytes.extend(frame("2probe"));
    stream.write_all(&bytes).await.expect("it reads");
    expect(&mut stream, &["HTTP/1.1 101 ", "\r\n\r\n", "3probe"]).await;
    node.emit(json!({"broadcast": true, "event": "e"})).await;
    closes_cleanly(&mut stream, frame("5")).await;
}

/// Sends packets with a close right behind them: the server's is the last that comes.
async fn closes_cleanly(stream: &mut TcpStream, mut packets: Vec<u8>) {
    // A close frame without a reason, masked with nothing.
    packets.extend([0x88, 0x80, 0, 0, 0, 0]);
    stream.write_all(&packets).await.expect("it reads");
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    read.expect("the stream ends").expect("it can be read");
    let close = rest.iter().position(|byte| *byte == 0x88);
    let close = close.unwrap_or_else(|| panic!("no close frame in {rest:?}"));
    let after = &rest[close + 2 + usize::from(rest[close + 1])..];
    assert!(after.is_empty(), "after the close came {after:?}");
}
