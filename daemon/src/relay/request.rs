//! PURE: a client's request and its answer as they travel between the node that the client reached
//! and the one that holds its connection.

use bytes::{BufMut, Bytes, BytesMut};

use super::question::encode;
use crate::http::engine::Rejection;

/// First bytes of requests. Questions are JSON, which begins with neither.
const POLL: u8 = 1;
const POST: u8 = 2;

/// First bytes of answers.
const DONE: u8 = 0;
const REJECTED: u8 = 1;

/// A request of a client for its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The connection's id.
    pub(super) sid: String,
    /// The packets of a post; nothing is a poll.
    pub(super) body: Option<Bytes>,
}

impl Request {
    /// As it travels. The parts have their lengths before them: a stream that breaks must not pass
    /// for a shorter request.
    pub(super) fn encode(&self) -> Bytes {
        let body = self.body.as_deref();
        let len = 1 + 4 + self.sid.len() + body.map_or(0, |body| 4 + body.len());
        let mut bytes = BytesMut::with_capacity(len);
        bytes.put_u8(if body.is_some() { POST } else { POLL });
        for part in [Some(self.sid.as_bytes()), body].into_iter().flatten() {
            bytes.put_u32(part.len() as u32);
            bytes.put_slice(part);
        }
        bytes.freeze()
    }

    /// Whether it is one, whole or not.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(&(POLL | POST)))
    }

    /// A whole request.
    pub(super) fn decode(bytes: &Bytes) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (sid, rest) = part(rest)?;
        let (body, rest) = match *kind {
            POLL => (None, rest),
            POST => part(rest).map(|(body, rest)| (Some(bytes.slice_ref(body)), rest))?,
            _ => return None,
        };
        let sid = std::str::from_utf8(sid).ok()?.to_owned();
        rest.is_empty().then_some(Self { sid, body })
    }
}

/// The answer to a request: what a poll brings, nothing for a post.
pub(super) fn encode_answer(answer: Result<Bytes, Rejection>) -> Bytes {
    let (kind, rest) = match answer {
        Ok(body) => (DONE, body),
        Err(rejection) => (REJECTED, encode(&rejection)),
    };
    [&[kind], &rest[..]].concat().into()
}

/// Reads what [`encode_answer`] gives.
pub(super) fn decode_answer(bytes: &Bytes) -> Option<Result<Bytes, Rejection>> {
    match *bytes.first()? {
        DONE => Some(Ok(bytes.slice(1..))),
        REJECTED => serde_json::from_slice(&bytes[1..]).ok().map(Err),
        _ => None,
    }
}

/// A part behind its length, and what follows.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn answers_come_back() {
        for answer in [
            Ok(Bytes::new()),
            Ok(Bytes::from_static(b"4hello")),
            Err(Rejection::UnknownSid),
            Err(Rejection::RateLimited(Duration::from_millis(1500))),
        ] {
            let encoded = encode_answer(answer.clone());
            assert_eq!(decode_answer(&encoded), Some(answer));
        }
        assert_eq!(decode_answer(&Bytes::new()), None);
    }

    proptest! {
        #[test]
        fn requests_come_back_whole_or_not_at_all(
            sid in ".{0,40}",
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
            cut in 0_usize..200,
        ) {
            let request = Request { sid, body: body.map(Bytes::from) };
            let encoded = request.encode();
            assert!(Request::is_one(&encoded));
            prop_assert_eq!(Request::decode(&encoded), Some(request));
            if cut < encoded.len() {
                prop_assert_eq!(Request::decode(&encoded.slice(..cut)), None);
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let bytes = Bytes::from(bytes);
            let _ = (Request::decode(&bytes), decode_answer(&bytes));
        }
    }
}
