//! Long polling on one kept-alive connection. Pure.
//!
//! A client answers nothing but what a poll brought, so what it posts goes out between two polls,
//! and a second connection would only stand idle.

use std::fmt::Write as _;

use super::{ClientError, plan::Plan, session::Session, text, watch::Tally};
use crate::http::whole_answer;

/// Stands between the packets of a body.
const SEPARATOR: u8 = 0x1e;

/// What the next answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Handshake,
    Poll,
    Post,
}

/// One client's requests.
#[derive(Debug)]
pub(super) struct Polling {
    asked: Asked,
    /// Path and query of its session, once it is known.
    url: String,
}

impl Polling {
    /// A client that has yet to ask for a session.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            asked: Asked::Handshake,
            url: format!("{}?EIO=4&transport=polling", plan.path),
        }
    }

    /// Appends the request for a session.
    pub(super) fn start(&self, plan: &Plan, out: &mut Vec<u8>) {
        self.poll(plan, out);
    }

    /// Does for polling what [`super::Client::receive`] says.
    pub(super) fn receive(
        &mut self,
        session: &mut Session,
        input: &[u8],
        now: u64,
        plan: &Plan,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        let mut used = 0;
        while let Some(answer) =
            whole_answer(&input[used..]).map_err(|error| ClientError::Poll(error.to_string()))?
        {
            let whole = &input[used..used + answer.length];
            if answer.status != 200 {
                return Err(ClientError::Poll(text(whole)));
            }
            used += answer.length;
            match self.asked {
                Asked::Post => self.next_poll(plan, out),
                Asked::Handshake | Asked::Poll => {
                    let body = &whole[answer.body];
                    let replies = self.packets(session, body, now, plan, tally)?;
                    match replies.is_empty() {
                        true => self.next_poll(plan, out),
                        false => self.post(&replies, plan, out),
                    }
                }
            }
        }
        Ok(used)
    }

    /// Takes the packets of a poll; what is to be posted for them.
    fn packets(
        &mut self,
        session: &mut Session,
        body: &[u8],
        now: u64,
        plan: &Plan,
        tally: &mut Tally,
    ) -> Result<String, ClientError> {
        let mut replies = String::new();
        for packet in body.split(|byte| *byte == SEPARATOR) {
            match packet {
                [b'b', attachment @ ..] => {
                    tally.bytes += attachment.len() as u64;
                    continue;
                }
                [b'0', handshake @ ..] if self.asked == Asked::Handshake => {
                    let sid = sid(handshake).ok_or_else(|| ClientError::Poll(text(packet)))?;
                    // Writing to a String cannot fail.
                    let _ = write!(self.url, "&sid={sid}");
                }
                _ => {}
            }
            if let Some(reply) = session.packet(packet, now, plan, tally)? {
                if !replies.is_empty() {
                    replies.push(char::from(SEPARATOR));
                }
                replies.push_str(&reply);
            }
        }
        Ok(replies)
    }

    fn next_poll(&mut self, plan: &Plan, out: &mut Vec<u8>) {
        self.asked = Asked::Poll;
        self.poll(plan, out);
    }

    fn poll(&self, plan: &Plan, out: &mut Vec<u8>) {
        let Self { url, .. } = self;
        let request = format!("GET {url} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.host);
        out.extend_from_slice(request.as_bytes());
    }

    fn post(&mut self, body: &str, plan: &Plan, out: &mut Vec<u8>) {
        self.asked = Asked::Post;
        let Self { url, .. } = self;
        let request = format!(
            "POST {url} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {}\r\n\r\n{body}",
            plan.host,
            body.len()
        );
        out.extend_from_slice(request.as_bytes());
    }
}

/// The session's name in the handshake's JSON.
fn sid(handshake: &[u8]) -> Option<String> {
    let handshake: serde_json::Value = serde_json::from_slice(handshake).ok()?;
    Some(handshake.get("sid")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Expect, Transport};
    use super::*;

    fn plan() -> Plan {
        Plan {
            host: "test".into(),
            path: "/live/".into(),
            auth: None,
            subscribe: Some(r#"["subscribe:bench"]"#.parse().unwrap()),
            expect: Expect::Stamps,
            transport: Transport::Polling,
        }
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// What a client asks, request by request, when told `answers` in pieces of `piece` bytes.
    fn asked(answers: &[String], piece: usize) -> (Client, Tally, Result<String, ClientError>) {
        let (mut client, mut tally) = (Client::new(0, 0, &plan()), Tally::default());
        let (mut out, mut pending) = (Vec::new(), Vec::new());
        client.start(&plan(), &mut out);
        for bytes in answers.concat().as_bytes().chunks(piece) {
            pending.extend_from_slice(bytes);
            match client.receive(&pending, 9, &plan(), &mut tally, &mut out) {
                Ok(used) => drop(pending.drain(..used)),
                Err(error) => return (client, tally, Err(error)),
            }
        }
        (client, tally, Ok(String::from_utf8(out).unwrap()))
    }

    #[test]
    fn connects_subscribes_and_counts_in_pieces_of_any_size() {
        let answers = [
            ok(r#"0{"sid":"x1","upgrades":[]}"#),
            ok("ok"),
            ok(r#"40{"sid":"y"}"#),
            ok("ok"),
            ok("430[{\"ok\":true}]\u{1e}2\u{1e}42[\"q\",{\"ts\":4}]"),
            ok("ok"),
            ok("42[\"q\",{\"ts\":5}]\u{1e}42[\"q\",{\"ts\":6}]"),
        ];
        for piece in 1..200 {
            let (client, tally, out) = asked(&answers, piece);
            let out = out.unwrap();
            let bodies: Vec<&str> = out
                .split("Content-Length: ")
                .skip(1)
                .map(|rest| rest.split("\r\n\r\n").nth(1).unwrap())
                .map(|rest| rest.split("GET ").next().unwrap())
                .collect();
            assert_eq!(bodies, ["40", r#"420["subscribe:bench"]"#, "3"]);
            assert_eq!(
                out.matches("GET /live/?EIO=4&transport=polling ").count(),
                1
            );
            let poll = "GET /live/?EIO=4&transport=polling&sid=x1 HTTP/1.1\r\n";
            assert_eq!(out.matches(poll).count(), 4);
            assert_eq!((tally.ready, client.events()), (1, 3));
            assert!(tally.faults.are_none());
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let failed = |answers: &[String]| asked(answers, 999).2.unwrap_err();
        let refused = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno";
        let error = failed(&[refused.to_owned()]).to_string();
        assert!(error.starts_with("poll refused: HTTP/1.1 429 "), "{error}");
        assert!(matches!(failed(&[ok("0{}")]), ClientError::Poll(_)));
        let open = [ok(r#"0{"sid":"x"}"#), ok("ok"), ok("44{}")];
        assert_eq!(failed(&open), ClientError::Connect("{}".into()));
    }
}
