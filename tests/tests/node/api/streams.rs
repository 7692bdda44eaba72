//! Emits line by line.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn answer_each_line_before_the_next_is_sent() {
    let node = Node::new().start().await;
    let mut stream = TcpStream::connect(node.private())
        .await
        .expect("it listens");
    let head = format!(
        "POST /api/v1/emit/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it is open");
    let mut seen = String::new();
    for room in ["live", "trades:alice", "live"] {
        let line = format!("{}\n", json!({"room": room, "event": "e", "id": room}));
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        stream
            .write_all(chunk.as_bytes())
            .await
            .expect("it is open");
        let answer = format!("\"id\":\"{room}\"");
        seen.clear();
        while !seen.contains(&answer) {
            let mut bytes = vec![0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes));
            let len = read.await.expect("an answer in time").expect("it is open");
            assert_ne!(len, 0, "the stream ended");
            seen.push_str(std::str::from_utf8(&bytes[..len]).expect("text"));
        }
    }
}
