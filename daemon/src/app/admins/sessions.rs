//! Open sessions of the admin page. Pure but for the tokens' randomness.
//!
//! Only the SHA-256 of a token is kept: it has 256 random bits, so nobody goes back from it, and a
//! look-up by it tells nothing by its time.

use std::collections::HashMap;
use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::app::random;

/// How long a session lasts at most.
pub const ABSOLUTE_MS: u64 = 8 * 60 * 60_000;

/// How long a session lasts with nobody at the page. What the page asks by itself does not count.
pub const IDLE_MS: u64 = 30 * 60_000;

/// Sessions of one admin at once; a further one ends the oldest.
const MOST: usize = 8;

/// Characters of a token: 256 bits.
const TOKEN_LEN: usize = 43;

type Fingerprint = [u8; 32];

/// The sessions that have not ended.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<Fingerprint, Session>);

#[derive(Debug)]
struct Session {
    name: Arc<str>,
    proof: Arc<str>,
    opened_ms: u64,
    /// When the admin was last seen to be there.
    seen_ms: u64,
}

/// A session that was just opened.
pub struct Opened {
    /// Opens it: for the cookie only.
    pub token: String,
    /// The rest.
    pub signed: Signed,
}

/// Who has a session.
#[derive(Clone)]
pub struct Signed {
    /// The admin's name.
    pub name: Arc<str>,
    /// What the page sends with each request, beside the cookie that the browser sends by itself.
    proof: Arc<str>,
    /// When it ends if nobody is there, unix milliseconds.
    pub idle_end_ms: u64,
    /// When it ends in any case.
    pub end_ms: u64,
}

impl Signed {
    /// What the page proves itself with.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// Whether this is the session's proof.
    pub fn is_proved_by(&self, given: &str) -> bool {
        self.proof.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl Sessions {
    pub(super) fn open(&mut self, name: &str, now_ms: u64) -> Opened {
        self.0.retain(|_, session| session.is_open(now_ms));
        let of_name = |session: &Session| *session.name == *name;
        if self.0.values().filter(|it| of_name(it)).count() >= MOST {
            let own = self.0.iter().filter(|(_, it)| of_name(it));
            let oldest = own.min_by_key(|(_, it)| it.opened_ms).map(|(key, _)| *key);
            oldest.and_then(|key| self.0.remove(&key));
        }
        let (token, proof) = (secret(), secret());
        let session = Session {
            name: name.into(),
            proof: proof.into(),
            opened_ms: now_ms,
            seen_ms: now_ms,
        };
        let signed = session.signed();
        self.0.insert(fingerprint(&token), session);
        Opened { token, signed }
    }

    pub(super) fn find(&mut self, token: &str, now_ms: u64) -> Option<Signed> {
        if token.len() != TOKEN_LEN {
            return None;
        }
        let key = fingerprint(token);
        let session = self.0.get(&key)?;
        if session.is_open(now_ms) {
            return Some(session.signed());
        }
        self.0.remove(&key);
        None
    }

    pub(super) fn renew(&mut self, token: &str, now_ms: u64) -> Option<Signed> {
        self.find(token, now_ms)?;
        let session = self.0.get_mut(&fingerprint(token))?;
        session.seen_ms = session.seen_ms.max(now_ms);
        Some(session.signed())
    }

    pub(super) fn end(&mut self, token: &str) -> Option<Arc<str>> {
        let ended = self.0.remove(&fingerprint(token))?;
        Some(ended.name)
    }

    pub(super) fn end_all(&mut self, name: &str) -> usize {
        let before = self.0.len();
        self.0.retain(|_, session| *session.name != *name);
        before - self.0.len()
    }
}

impl Session {
    fn signed(&self) -> Signed {
        Signed {
            name: self.name.clone(),
            proof: self.proof.clone(),
            idle_end_ms: self.idle_end_ms(),
            end_ms: self.opened_ms + ABSOLUTE_MS,
        }
    }

    fn idle_end_ms(&self) -> u64 {
        (self.seen_ms + IDLE_MS).min(self.opened_ms + ABSOLUTE_MS)
    }

    fn is_open(&self, now_ms: u64) -> bool {
        now_ms < self.idle_end_ms()
    }
}

fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>())
}

fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_nobody_is_there_and_in_any_case() {
        let mut sessions = Sessions::default();
        let idle = sessions.open("root", 0);
        assert_eq!(idle.token.len(), TOKEN_LEN);
        // Being looked at is not being there.
        assert!(sessions.find(&idle.token, IDLE_MS - 1).is_some());
        assert!(sessions.find(&idle.token, IDLE_MS).is_none());
        assert!(sessions.renew(&idle.token, IDLE_MS - 1).is_none(), "gone");

        let busy = sessions.open("root", 0);
        let mut now = 0;
        while now < ABSOLUTE_MS - IDLE_MS {
            now += IDLE_MS - 1;
            let signed = sessions.renew(&busy.token, now).unwrap();
            assert!(signed.idle_end_ms <= signed.end_ms);
        }
        assert!(sessions.find(&busy.token, ABSOLUTE_MS - 1).is_some());
        assert!(sessions.renew(&busy.token, ABSOLUTE_MS).is_none());
    }

    #[test]
    fn tokens_and_proofs_are_of_one_session_each() {
        let mut sessions = Sessions::default();
        let (one, other) = (sessions.open("root", 0), sessions.open("root", 0));
        assert_ne!(one.token, other.token);
        assert!(one.signed.is_proved_by(one.signed.proof()));
        assert!(!one.signed.is_proved_by(other.signed.proof()));
        assert!(!one.signed.is_proved_by("") && !one.signed.is_proved_by(&one.token));
        assert_eq!(sessions.end(&one.token).as_deref(), Some("root"));
        assert!(sessions.find(&one.token, 0).is_none());
        assert!(sessions.find(&other.token, 0).is_some());
        for token in ["", "x", &"A".repeat(TOKEN_LEN)] {
            assert!(sessions.find(token, 0).is_none());
        }
    }

    #[test]
    fn an_admin_has_few_and_loses_all_at_once() {
        let mut sessions = Sessions::default();
        let eve = sessions.open("eve", 0);
        let tokens: Vec<_> = (0..MOST as u64 + 1)
            .map(|now| sessions.open("root", now).token)
            .collect();
        assert!(sessions.find(&tokens[0], 9).is_none(), "the oldest went");
        assert!(sessions.find(&tokens[1], 9).is_some());
        assert_eq!(sessions.end_all("root"), MOST);
        assert!(sessions.find(&tokens[MOST], 9).is_none());
        assert!(sessions.find(&eve.token, 9).is_some());
    }
}
