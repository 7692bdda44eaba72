//! HTTP/1.1 as bytes: what is sent and what comes back is exactly what is on the wire.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

/// Any byte stream, so that TLS is tested by the same code.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection; requests go one after another.
pub struct RawHttp {
    /// The transport under it.
    stream: Box<dyn Stream>,
    /// Value of the `Host` header.
    host: String,
    /// Bytes read beyond the last response.
    rest: Vec<u8>,
}

/// A response as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// `HTTP/1.1 200 OK`
    pub status_line: String,
    /// The number in it.
    pub status: u16,
    /// Names lower-cased, values trimmed, in order.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked coding taken off.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as text; panics if it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }

    /// The body as JSON; panics, showing it, if it is none. An empty body is `null`.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!(
                "not JSON ({e}): {} {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }
}

impl RawHttp {
    /// Connects to `address` (`127.0.0.1:8080`).
    pub async fn connect(address: &str) -> RawHttp {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| panic!("connecting to {address} took too long"))
            .unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        RawHttp::over(Box::new(stream), address)
    }

    /// Speaks over a stream that was made elsewhere.
    pub fn over(stream: Box<dyn Stream>, host: &str) -> RawHttp {
        RawHttp {
            stream,
            host: host.to_owned(),
            rest: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    pub async fn once(
        address: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        RawHttp::connect(address)
            .await
            .request(method, target, headers, body)
            .await
    }

    /// GET on a connection of its own.
    pub async fn get(address: &str, target: &str) -> Response {
        RawHttp::once(address, "GET", target, &[], b"").await
    }

    /// Sends a request and reads its response; panics where [`RawHttp::try_request`] fails.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_request(method, target, headers, body)
            .await
            .unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// Sends a request and reads its response. An error is a connection that closed or broke.
    pub async fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send_request(method, target, headers, body).await?;
        self.response().await
    }

    /// Sends a request without waiting for its response.
    pub async fn send_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send_bytes(&bytes).await
    }

    /// Sends anything at all.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads one response under the usual deadline.
    pub async fn response(&mut self) -> io::Result<Response> {
        timeout(PATIENCE, self.read_response())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no response in time"))?
    }

    /// True once the peer closed; panics if bytes come or the usual deadline passes instead.
    pub async fn closed(&mut self) -> bool {
        self.closed_within(PATIENCE).await
    }

    /// As [`RawHttp::closed`], for peers that are right to wait.
    pub async fn closed_within(&mut self, deadline: Duration) -> bool {
        let mut byte = [0];
        match timeout(deadline, self.stream.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("bytes came where a close was due"),
            Err(_) => panic!("the connection stayed open for {deadline:?}"),
        }
    }

    /// The stream and what was read beyond the last response, for a protocol that takes over.
    pub fn into_parts(self) -> (Box<dyn Stream>, Vec<u8>) {
        (self.stream, self.rest)
    }

    async fn read_response(&mut self) -> io::Result<Response> {
        let head = self.read_until(b"\r\n\r\n").await?;
        let mut response = parse_head(&head)?;
        let bodiless = response.status < 200 || matches!(response.status, 204 | 304);
        response.body = if bodiless {
            Vec::new()
        } else if response.header("transfer-encoding") == Some("chunked") {
            self.read_chunks().await?
        } else if let Some(length) = response.header("content-length") {
            let length = length
                .parse()
                .map_err(|_| invalid("content-length is no number"))?;
            self.read_exactly(length).await?
        } else {
            self.read_to_end().await?
        };
        Ok(response)
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_until(b"\r\n").await?;
            let digits = std::str::from_utf8(&line)
                .map_err(|_| invalid("chunk size"))?
                .trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| invalid("chunk size"))?;
            body.extend(self.read_exactly(size).await?);
            self.read_exactly(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.rest.windows(end.len()).position(|w| w == end) {
                return Ok(self.rest.drain(..at + end.len()).collect());
            }
            self.read_more().await?;
        }
    }

    async fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.rest.len() < length {
            self.read_more().await?;
        }
        Ok(self.rest.drain(..length).collect())
    }

    async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut body = std::mem::take(&mut self.rest);
        self.stream.read_to_end(&mut body).await?;
        Ok(body)
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.rest).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn parse_head(head: &[u8]) -> io::Result<Response> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("a head that is not text"))?;
    let mut lines = text.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default().to_owned();
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| invalid("a status line without a status"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Response {
        status_line,
        status,
        headers,
        body: Vec::new(),
    })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
