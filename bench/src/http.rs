//! A backend's HTTP connection: kept alive and pipelined, so that a slow answer delays no emit.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    str::FromStr,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use thiserror::Error;

use crate::{clock, histogram::Histogram};

/// An answer that takes longer counts as a failure of the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// An answer longer than this is not read.
const MAX_ANSWER: usize = 64 * 1024;

/// A POST was not answered as it should be.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The connection failed or was too slow.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The status was not 2xx.
    #[error("emit refused: {0}")]
    Refused(String),
    /// The answer is not HTTP/1.1 with a Content-Length.
    #[error("cannot read the answer: {0}")]
    Malformed(String),
}

/// The text is not a URL that can be posted to.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a URL of the form http://IP:PORT/PATH")]
pub struct UrlError(String);

/// `http://IP:PORT/PATH`; names are not resolved, a measurement has no use for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where to connect to.
    pub address: SocketAddr,
    /// What to ask for, with its leading slash.
    pub path: String,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || UrlError(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(error)?;
        let slash = rest.find('/').ok_or_else(error)?;
        let address = rest[..slash].parse().map_err(|_| error())?;
        Ok(Self {
            address,
            path: rest[slash..].to_owned(),
        })
    }
}

/// A kept-alive connection that posts to one URL.
pub struct Poster {
    /// The connection.
    stream: TcpStream,
    /// Request line and headers up to the value of Content-Length.
    head: String,
    /// The request being put together, so that it leaves in one write.
    request: Vec<u8>,
    /// When each request without an answer left, oldest first.
    unanswered: VecDeque<u64>,
    /// What was read of answers that are not whole.
    partial: Vec<u8>,
}

impl Poster {
    /// Connects. `headers` are whole lines such as `Authorization: Bearer x`.
    pub fn connect(url: &Url, headers: &[String]) -> Result<Self, HttpError> {
        let stream = TcpStream::connect_timeout(&url.address, ANSWER_TIMEOUT)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                Ok(stream)
            })
            .map_err(|source| HttpError::Io {
                doing: "connecting to emit",
                source,
            })?;
        let own: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             {own}Content-Length: ",
            url.path, url.address
        );
        let (unanswered, partial) = (VecDeque::new(), Vec::new());
        Ok(Self {
            stream,
            head,
            request: Vec::new(),
            unanswered,
            partial,
        })
    }

    /// Posts a body without waiting for its answer.
    pub fn post(&mut self, body: &str) -> Result<(), HttpError> {
        self.request.clear();
        self.unanswered.push_back(clock::now());
        write!(self.request, "{}{}\r\n\r\n{body}", self.head, body.len())
            .and_then(|()| self.stream.write_all(&self.request))
            .map_err(|source| HttpError::Io {
                doing: "sending an emit",
                source,
            })
    }

    /// Waits for `time` at most for something to read, and records how long each answer took that
    /// is now whole. Every answer must be 2xx. Tells whether anything came.
    pub fn receive(&mut self, time: Duration, took: &mut Histogram) -> Result<bool, HttpError> {
        if !self.is_readable(time)? {
            return Ok(false);
        }
        self.read()?;
        while let Some(length) = whole_answer(&self.partial)? {
            self.partial.drain(..length);
            let Some(sent) = self.unanswered.pop_front() else {
                return Err(HttpError::Malformed("an answer to nothing".to_owned()));
            };
            took.record(clock::now().saturating_sub(sent));
        }
        Ok(true)
    }

    /// Waits until every request is answered.
    pub fn settle(&mut self, took: &mut Histogram) -> Result<(), HttpError> {
        while !self.unanswered.is_empty() {
            if !self.receive(ANSWER_TIMEOUT, took)? {
                let source = io::ErrorKind::TimedOut.into();
                return Err(HttpError::Io {
                    doing: "waiting for an emit's answer",
                    source,
                });
            }
        }
        Ok(())
    }

    /// The socket's own time limits are too coarse for pacing; poll's is exact.
    fn is_readable(&self, time: Duration) -> Result<bool, HttpError> {
        let time = Timespec::try_from(time).ok();
        loop {
            match poll(
                &mut [PollFd::new(&self.stream, PollFlags::IN)],
                time.as_ref(),
            ) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let source = errno.into();
                    return Err(HttpError::Io {
                        doing: "waiting for an emit's answer",
                        source,
                    });
                }
            }
        }
    }

    fn read(&mut self) -> Result<(), HttpError> {
        let mut chunk = [0; 4096];
        let count = self
            .stream
            .read(&mut chunk)
            .and_then(|count| match count {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(count),
            })
            .map_err(|source| HttpError::Io {
                doing: "reading an emit's answer",
                source,
            })?;
        self.partial.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

/// Length of the answer that `input` starts with, or none until all of it is there.
fn whole_answer(input: &[u8]) -> Result<Option<usize>, HttpError> {
    let malformed = || HttpError::Malformed(first_part(input));
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return match input.len() {
            ..MAX_ANSWER => Ok(None),
            _ => Err(malformed()),
        };
    };
    let head = std::str::from_utf8(&input[..end]).map_err(|_| malformed())?;
    let status: u16 = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(malformed)?;
    let body = match (content_length(head), status) {
        (Some(length), _) if length <= MAX_ANSWER => length,
        (None, 204) => 0,
        _ => return Err(malformed()),
    };
    let length = end + 4 + body;
    match (input.len() >= length, status) {
        (false, _) => Ok(None),
        (true, 200..300) => Ok(Some(length)),
        (true, _) => Err(HttpError::Refused(first_part(&input[..length]))),
    }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

fn first_part(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(400)]).replace("\r\n", " ")
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A server that answers the requests of one connection, however they arrive, and leaves.
    fn answering(answers: &'static [&'static str]) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            for (number, answer) in answers.iter().enumerate() {
                while asked.matches("Content-Length: 2\r\n\r\n{}").count() <= number {
                    let mut request = [0; 1024];
                    let count = stream.read(&mut request).unwrap();
                    asked.push_str(std::str::from_utf8(&request[..count]).unwrap());
                }
                let (start, end) = answer.split_at(answer.len() / 2);
                stream.write_all(start.as_bytes()).unwrap();
                stream.write_all(end.as_bytes()).unwrap();
            }
        });
        Url {
            address,
            path: "/emit".into(),
        }
    }

    /// Posts `count` bodies at once; how many answers came before the error, if there was one.
    fn posted(url: &Url, count: u64) -> (u64, Result<(), HttpError>) {
        let mut took = Histogram::default();
        let mut poster = Poster::connect(url, &["X-Test: 1".into()]).unwrap();
        let sent = (0..count).try_for_each(|_| poster.post("{}"));
        let outcome = sent.and_then(|()| poster.settle(&mut took));
        (took.total(), outcome)
    }

    const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\n{12}";
    const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    #[test]
    fn answers_are_told_apart_however_they_arrive() {
        let (answered, outcome) = posted(&answering(&[ACCEPTED, NO_CONTENT, ACCEPTED]), 3);
        outcome.unwrap();
        assert_eq!(answered, 3);
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let (answered, outcome) = posted(&answering(&[ACCEPTED, UNAUTHORIZED]), 2);
        let error = outcome.unwrap_err().to_string();
        assert_eq!(
            error,
            "emit refused: HTTP/1.1 401 Unauthorized Content-Length: 2  no"
        );
        assert_eq!(answered, 1);
    }

    #[test]
    fn an_answer_without_length_is_refused() {
        let url = answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]);
        assert!(matches!(posted(&url, 1).1, Err(HttpError::Malformed(_))));
    }

    #[test]
    fn a_server_that_leaves_is_an_error() {
        assert!(matches!(
            posted(&answering(&[]), 1).1,
            Err(HttpError::Io { .. })
        ));
    }

    #[test]
    fn urls_need_an_address_and_a_path() {
        let url: Url = "http://127.0.0.1:80/a?b".parse().unwrap();
        assert_eq!((url.address.port(), url.path.as_str()), (80, "/a?b"));
        for bad in [
            "https://127.0.0.1:80/",
            "http://127.0.0.1:80",
            "http://localhost/",
            "",
        ] {
            assert_eq!(bad.parse::<Url>(), Err(UrlError(bad.into())));
        }
    }
}
