//! The first request of a TCP connection, looked at before hyper is asked for.
//!
//! Most connections are WebSockets from their first request on. For those the shard needs no more
//! than this head, read into a buffer that all its connections share. All else goes to hyper,
//! together with the bytes that were read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::{
    Method, Request, Response,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::upgrade::is_upgrade;

/// Headers that are looked at; browsers send about fifteen. A request with more goes to hyper.
const MAX_HEADERS: usize = 64;

/// What a connection began with.
pub(crate) struct First {
    /// What was read.
    pub(crate) bytes: Bytes,
    /// The request, if it is a whole one for a WebSocket, and the length of its head.
    pub(crate) websocket: Option<(Box<Request<()>>, usize)>,
}

impl First {
    /// Looks at what the first read brought. A head has at most `limit` bytes.
    pub(crate) fn of(bytes: &[u8], limit: usize) -> Self {
        let head = websocket_request(&bytes[..bytes.len().min(limit)]);
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            websocket: head.map(|(request, length)| (Box::new(request), length)),
        }
    }
}

/// The request and the length of its head. What is not plainly right is left to hyper to refuse.
fn websocket_request(bytes: &[u8]) -> Option<(Request<()>, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else {
        return None;
    };
    if parsed.method != Some(Method::GET.as_str()) || parsed.version != Some(1) {
        return None;
    }
    let mut request = Request::builder().uri(parsed.path?).body(()).ok()?;
    let found = request.headers_mut();
    found.reserve(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        found.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    let has_body = found.contains_key(CONTENT_LENGTH) || found.contains_key(TRANSFER_ENCODING);
    (!has_body && is_upgrade(found)).then_some((request, length))
}

/// The head of an answer that has no body.
pub(crate) fn encode<B>(answer: &Response<B>) -> Bytes {
    let status = answer.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in answer.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// A stream of which the first bytes have been read already.
pub(crate) struct Ahead {
    pub(crate) bytes: Bytes,
    pub(crate) stream: TcpStream,
}

impl AsyncRead for Ahead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let len = self.bytes.len().min(into.remaining());
        into.put_slice(&self.bytes[..len]);
        self.bytes.advance(len);
        if self.bytes.is_empty() {
            // An empty rest would keep the whole.
            self.bytes = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
        Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\nX-A: 2\r\n\r\n";

    fn is_websocket(text: &str) -> bool {
        First::of(text.as_bytes(), 8192).websocket.is_some()
    }

    #[test]
    fn a_websockets_head_is_taken_whole() {
        let text = format!("{UPGRADE}\x01\x02");
        let first = First::of(text.as_bytes(), 8192);
        let (request, length) = first.websocket.unwrap();
        assert_eq!(request.uri().query(), Some("EIO=4&transport=websocket"));
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(&first.bytes[length..], [1, 2]);
    }

    #[test]
    fn all_else_is_left_to_hyper() {
        assert!(is_websocket(UPGRADE));
        for other in [
            &UPGRADE[..UPGRADE.len() - 1],
            &UPGRADE.replace("GET", "POST"),
            &UPGRADE.replace("HTTP/1.1", "HTTP/1.0"),
            &UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"),
            &UPGRADE.replace("X-A: 1", "Content-Length: 1"),
            &UPGRADE.replace("X-A: 1", "Transfer-Encoding: chunked"),
            &UPGRADE.replace("X-A: 1", "X A: 1"),
            &UPGRADE.replace("X-A: 1", &"X-A: 1\r\n".repeat(MAX_HEADERS)),
            &UPGRADE.replace("X-A: 1", &format!("X-A: {}", "x".repeat(8192))),
            "",
        ] {
            assert!(!is_websocket(other), "{other}");
        }
    }

    #[test]
    fn an_answers_head_is_written_as_http() {
        let answer = Response::builder()
            .status(101)
            .header("upgrade", "websocket")
            .body(());
        let text = encode(&answer.unwrap());
        assert_eq!(
            text,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 0usize..300) {
            let _ = First::of(&bytes, limit);
        }
    }
}
