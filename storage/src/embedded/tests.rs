//! Any order of calls leaves the rows that a plain map would hold, and an index that fits them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::expiry::{Envelope, Kind, parse_index_key};
use super::revocations::{self, Revocation};
use super::sessions::{self, SESSION_KEPT_MS, Session};
use super::trees::Trees;
use super::{counters, expiry};
use crate::store::pulse::Pulse;

#[derive(Debug, Clone)]
enum Step {
    PutSession(Session),
    DeleteSession(String),
    DeleteUser(String),
    MakeSession(Session),
    CopySession(Session),
    Revoke(Revocation),
    SaveCounter(Vec<u8>, Vec<u8>, u64),
    Sweep(u64),
}

/// What the rows should be. The third of a counter is its end.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<String, Session>,
    counters: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    /// By session and user: until when sessions are ended, and how long that is kept.
    revocations: BTreeMap<(Option<String>, String), (u64, u64)>,
}

/// Few names, so that steps meet; one user's name begins like another's.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("ab"), Just("a\0b"), Just("")].prop_map(str::to_owned)
}

/// Few times, so that rows end together; sessions end an hour later than the others.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..6_u64,
        (0..6_u64).prop_map(|after| SESSION_KEPT_MS + after),
        Just(u64::MAX)
    ]
}

fn session() -> impl Strategy<Value = Session> {
    (name(), name(), 0..6_u64, time()).prop_map(|(id, user, created_ms, expires_ms)| Session {
        id,
        user,
        created_ms,
        expires_ms,
    })
}

fn revocation() -> impl Strategy<Value = Revocation> {
    (proptest::option::of(name()), name(), 0..6_u64, time()).prop_map(
        |(session, user, revoked_ms, expires_ms)| Revocation {
            session,
            user,
            revoked_ms,
            expires_ms,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        session().prop_map(Step::PutSession),
        name().prop_map(Step::DeleteSession),
        name().prop_map(Step::DeleteUser),
        session().prop_map(Step::MakeSession),
        session().prop_map(Step::CopySession),
        revocation().prop_map(Step::Revoke),
        (name(), any::<[u8; 2]>(), time()).prop_map(|(key, value, end)| Step::SaveCounter(
            key.into_bytes(),
            value.to_vec(),
            end
        )),
        time().prop_map(Step::Sweep),
    ]
}

impl Model {
    /// Does a step here and there, and compares the answers.
    fn take(&mut self, trees: &Trees, step: Step) {
        match step {
            Step::PutSession(session) => {
                sessions::put(trees, &session).unwrap();
                self.sessions.insert(session.id.clone(), session);
            }
            Step::DeleteSession(id) => {
                let was = sessions::delete(trees, &id).unwrap();
                assert_eq!(was, self.sessions.remove(&id));
            }
            Step::DeleteUser(user) => {
                let gone = sessions::delete_of_user(trees, &user).unwrap();
                assert_eq!(gone, self.of_user(&user));
                self.sessions.retain(|_, session| session.user != user);
            }
            Step::MakeSession(session) => self.make(trees, session),
            Step::CopySession(session) => {
                let here = self.sessions.get(&session.id);
                let is_here = here == Some(&session);
                let is_later = here.is_none_or(|here| here.created_ms < session.created_ms);
                let is_ended = self.ended_until(&session) >= Some(session.created_ms);
                let counts = !is_ended && (is_here || is_later);
                assert_eq!(sessions::copy(trees, &session).unwrap(), counts);
                if counts {
                    self.sessions.insert(session.id.clone(), session);
                }
            }
            Step::Revoke(revocation) => self.revoke(trees, revocation),
            Step::SaveCounter(key, value, end) => {
                counters::save(trees, &[(key.clone(), value.clone(), end)]).unwrap();
                self.counters.insert(key, (value, end));
            }
            Step::Sweep(now) => self.sweep(trees, now),
        }
    }

    fn make(&mut self, trees: &Trees, session: Session) {
        let made = sessions::make(trees, session.clone()).unwrap();
        let before = self.sessions.get(&session.id);
        assert!(before.is_none_or(|before| before.created_ms < made.created_ms));
        assert!(made.created_ms >= session.created_ms);
        assert!(self.ended_until(&session) < Some(made.created_ms));
        assert_eq!(made.expires_ms, session.expires_ms);
        self.sessions.insert(made.id.clone(), made);
    }

    fn revoke(&mut self, trees: &Trees, revocation: Revocation) {
        let is_meant = |session: &Session| {
            session.created_ms <= revocation.revoked_ms
                && match &revocation.session {
                    Some(id) => session.id == *id,
                    None => session.user == revocation.user,
                }
        };
        let all = self.sessions.values().cloned();
        let ended: Vec<Session> = all.filter(is_meant).collect();
        self.sessions.retain(|_, session| !is_meant(session));
        assert_eq!(revocations::put(trees, &revocation, 7).unwrap(), ended);
        let last_ms = ended.iter().map(|session| session.expires_ms).max();
        let key = match &revocation.session {
            Some(id) => (Some(id.clone()), String::new()),
            None => (None, revocation.user),
        };
        let kept = self.revocations.entry(key).or_default();
        kept.0 = kept.0.max(revocation.revoked_ms);
        kept.1 = kept.1.max(revocation.expires_ms).max(last_ms.unwrap_or(0));
    }

    fn ended_until(&self, session: &Session) -> Option<u64> {
        let of_session = (Some(session.id.clone()), String::new());
        let keys = [of_session, (None, session.user.clone())];
        let until = keys.iter().filter_map(|key| self.revocations.get(key));
        until.map(|(until_ms, _)| *until_ms).max()
    }

    fn sweep(&mut self, trees: &Trees, now: u64) {
        let before = (self.sessions.len(), self.counters.len());
        self.sessions
            .retain(|_, session| session.expires_ms.saturating_add(SESSION_KEPT_MS) > now);
        self.counters.retain(|_, (_, end)| *end > now);
        let revocations = self.revocations.len();
        self.revocations.retain(|_, (_, end)| *end > now);
        let swept = expiry::sweep(trees, now, usize::MAX).unwrap();
        assert_eq!(swept.sessions, before.0 - self.sessions.len());
        assert_eq!(swept.counters, before.1 - self.counters.len());
        assert_eq!(swept.revocations, revocations - self.revocations.len());
        assert_eq!((swept.damaged, swept.more), (0, false));
    }

    fn of_user(&self, user: &str) -> Vec<Session> {
        let all = self.sessions.values().cloned();
        all.filter(|session| session.user == user).collect()
    }

    fn check(&self, trees: &Trees) {
        let all: Vec<_> = self.sessions.values().cloned().collect();
        assert_eq!(sessions::page(trees, None, usize::MAX).unwrap(), all);
        for user in ["a", "ab", "a\0b", "", "b"] {
            assert_eq!(sessions::of_user(trees, user).unwrap(), self.of_user(user));
        }
        assert_eq!(trees.sessions_by_user.len(), all.len());
        let kept = revocations::page(trees, None, 7, usize::MAX).unwrap();
        assert_eq!(kept.found.len(), self.revocations.len());
        for found in kept.found {
            let key = match found.session {
                Some(id) => (Some(id), String::new()),
                None => (None, found.user),
            };
            let ends = (found.revoked_ms, found.expires_ms);
            assert_eq!(self.revocations.get(&key), Some(&ends));
        }
        let counters = self.counters.iter();
        let counters: Vec<_> = counters
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect();
        assert_eq!(counters::all(trees).unwrap(), counters);
        self.check_index(trees);
    }

    /// One index row for each row, at the time that the row says, which is not after its end.
    fn check_index(&self, trees: &Trees) {
        let mut rows = 0;
        let kinds = [Kind::Session, Kind::Counter, Kind::Revocation, Kind::Shared];
        for kind in kinds {
            for row in trees.of(kind).iter() {
                let (_, value) = row.unwrap();
                let envelope = Envelope::decode("t", &value).unwrap();
                assert!(envelope.indexed_ms <= envelope.due_ms);
                rows += 1;
            }
        }
        for row in trees.expiry.iter() {
            let (index, _) = row.unwrap();
            let (at_ms, kind, key) = parse_index_key(&index).unwrap();
            let row = trees
                .of(kind)
                .get(key)
                .unwrap()
                .expect("a row for each index row");
            assert_eq!(Envelope::decode("t", &row).unwrap().indexed_ms, at_ms);
            rows -= 1;
        }
        assert_eq!(rows, 0);
    }
}

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn rows_and_index_fit_whatever_the_order(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let trees = Trees::open(db, Arc::new(Pulse::new(0))).unwrap();
        let mut model = Model::default();
        for step in steps {
            model.take(&trees, step);
            model.check(&trees);
        }
    }
}
