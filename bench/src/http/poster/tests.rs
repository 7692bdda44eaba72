//! Answers however they arrive, and what is not one.

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
    let mut poster = Poster::connect(url, &["X-Test: 1".into()], Framing::Requests).unwrap();
    let sent = (0..count).try_for_each(|_| poster.send("{}", 1, clock::now(), &mut took));
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
fn a_refusal_among_many_is_told() {
    let url = answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                           b\r\n{\"error\":1}\r\n0\r\n\r\n"]);
    let error = posted(&url, 1).1.unwrap_err();
    assert!(matches!(error, HttpError::Refused(_)), "{error}");
}

/// A server that sends one of `answers`, as a chunk, after each line that it reads.
fn streaming(answers: &'static [&'static str]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut said = String::new();
        for (number, answer) in answers.iter().enumerate() {
            while said.matches("{}\n").count() <= number {
                let mut piece = [0; 1024];
                let count = stream.read(&mut piece).unwrap();
                said.push_str(std::str::from_utf8(&piece[..count]).unwrap());
            }
            assert!(said.contains("Transfer-Encoding: chunked\r\n\r\n6\r\n{}\n{}\n\r\n"));
            write!(stream, "{:x}\r\n{answer}\r\n", answer.len()).unwrap();
        }
    });
    Url {
        address,
        path: "/stream".into(),
    }
}

/// Sends two times two lines; how many were answered before the error, if there was one.
fn streamed(url: &Url) -> (u64, Result<(), HttpError>) {
    let mut took = Histogram::default();
    let mut poster = Poster::connect(url, &[], Framing::Stream).unwrap();
    let sent = (0..2).try_for_each(|_| poster.send("{}\n{}\n", 2, clock::now(), &mut took));
    let outcome = sent.and_then(|()| poster.settle(&mut took));
    (took.total(), outcome)
}

#[test]
fn lines_of_a_stream_are_answered_one_by_one() {
    let (answered, outcome) = streamed(&streaming(&["{1}\n{2", "}\n", "{3}\n{4}\n", "-"]));
    outcome.unwrap();
    assert_eq!(answered, 4);
}

#[test]
fn a_refused_line_is_told() {
    let (answered, outcome) = streamed(&streaming(&["{1}\n", "{\"err", "or\":{}}\n"]));
    let error = outcome.unwrap_err().to_string();
    assert_eq!(error, r#"emit refused: {"error":{}}"#);
    assert_eq!(answered, 1);
}

#[test]
fn a_server_that_leaves_is_an_error() {
    assert!(matches!(
        posted(&answering(&[]), 1).1,
        Err(HttpError::Io { .. })
    ));
}
