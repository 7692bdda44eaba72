//! Sessions that end, on all nodes. Who ends some tells every peer at once. A peer that did not
//! answer, or that was gone, is told what it missed as soon as it can be reached: until then it has
//! a *debt* here, since a certain time.
//!
//! **Invariant:** every peer either has answered to each revocation that this node has heard of, or
//! there is a debt that covers it, or nothing is known of the peer; then its coming up makes a debt
//! that covers all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings_storage::{Revocation, Session};

use super::{
    Relay,
    query::Found,
    question::{Question, ask_every, ask_some},
    sessions::lock,
};
use crate::{
    app::accounts::Ended,
    node::{Node, now_ms},
};

/// How long before it was taken for gone a peer may have heard its last.
const UNNOTICED_MS: u64 = 60_000;

/// How long a peer may take to end some sessions.
const ANSWER: Duration = Duration::from_secs(3);

/// Pause before a peer is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Revocations that are looked at for one question.
const PAGE: usize = 1000;

/// Peers with debts at most; a forgotten one is told everything when it comes up.
const DEBTORS: usize = 1024;

/// What peers must be told, by name.
#[derive(Default)]
pub(super) struct Debts(Mutex<HashMap<Arc<str>, Debt>>);

/// A peer must be told of all revocations heard of at some time or later, unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    since_ms: u64,
    /// What was added while the peer is being told.
    added_ms: Option<u64>,
    is_being_paid: bool,
}

impl Debts {
    /// Adds to a peer's debt; says whether somebody has to begin to tell it.
    fn add(&self, peer: &Arc<str>, since_ms: u64, pay: bool) -> bool {
        let mut debts = lock(&self.0);
        if debts.len() >= DEBTORS && !debts.contains_key(peer) {
            debts.retain(|_, debt| debt.is_being_paid);
        }
        let fresh = Debt {
            since_ms,
            ..Debt::default()
        };
        let debt = debts.entry(peer.clone()).or_insert(fresh);
        if debt.is_being_paid {
            let added_ms = debt.added_ms.unwrap_or(since_ms);
            debt.added_ms = Some(added_ms.min(since_ms));
            return false;
        }
        debt.since_ms = debt.since_ms.min(since_ms);
        debt.is_being_paid = pay;
        pay
    }

    /// A peer came up: since when it has to be told.
    fn came_up(&self, peer: &Arc<str>) -> bool {
        let since_ms = lock(&self.0).get(peer).map_or(0, |debt| debt.since_ms);
        self.add(peer, since_ms, true)
    }

    fn since_ms(&self, peer: &str) -> Option<u64> {
        Some(lock(&self.0).get(peer)?.since_ms)
    }

    /// A peer was told all; says since when again, if something was added.
    fn paid(&self, peer: &str) -> Option<u64> {
        let mut debts = lock(&self.0);
        let debt = debts.get_mut(peer)?;
        match debt.added_ms.take() {
            Some(added_ms) => {
                debt.since_ms = added_ms;
                Some(added_ms)
            }
            None => {
                debts.remove(peer);
                None
            }
        }
    }

    /// A peer is gone before it was told all.
    fn put_off(&self, peer: &str) {
        if let Some(debt) = lock(&self.0).get_mut(peer) {
            debt.is_being_paid = false;
            let added_ms = debt.added_ms.take().unwrap_or(debt.since_ms);
            debt.since_ms = debt.since_ms.min(added_ms);
        }
    }
}

impl Relay {
    /// Ends the sockets of sessions that have ended, here and on the peers, which forget their
    /// copies; returns how many sockets there were.
    pub async fn end_sessions(self: &Arc<Self>, node: &Node, ended: Ended) -> Found<usize> {
        let Ended {
            sessions,
            revocation,
        } = ended;
        let here = close(node, sessions);
        let there = self.tell(revocation);
        let (here, (there, silent)) = tokio::join!(here, there);
        Found {
            value: here + there,
            silent,
        }
    }

    async fn tell(self: &Arc<Self>, revocation: Revocation) -> (usize, Vec<Arc<str>>) {
        let Some(cluster) = self.cluster() else {
            return (0, Vec::new());
        };
        let since_ms = now_ms().saturating_sub(UNNOTICED_MS);
        let question = Question::Revoked(vec![revocation]);
        let (counts, silent) = ask_every::<usize>(cluster, &question).await;
        for peer in &silent {
            self.owe(peer, since_ms);
        }
        (counts.into_iter().sum(), silent)
    }

    /// A peer ended sessions: forgets the copies and closes the sockets. Says how many there were;
    /// nothing if it could not be done.
    pub(super) async fn take_revocations(
        &self,
        node: &Node,
        revocations: Vec<Revocation>,
    ) -> Option<usize> {
        let store = self.store()?;
        let mut count = 0;
        for revocation in revocations {
            match store.revoke(revocation, now_ms()).await {
                Ok(ended) => count += close(node, ended).await,
                Err(error) => {
                    tracing::warn!(%error, "sessions that a peer ended could not be ended");
                    return None;
                }
            }
        }
        Some(count)
    }

    /// A peer is there: it is told what it may have missed.
    pub(super) fn debtor_up(self: &Arc<Self>, peer: &Arc<str>) {
        if self.store().is_some() && self.sessions.debts.came_up(peer) {
            self.begin_to_pay(peer);
        }
    }

    /// A peer is gone: what ends from now on, or ended shortly before, it must be told.
    pub(super) fn debtor_down(&self, peer: &Arc<str>) {
        let since_ms = now_ms().saturating_sub(UNNOTICED_MS);
        self.sessions.debts.add(peer, since_ms, false);
    }

    fn owe(self: &Arc<Self>, peer: &Arc<str>, since_ms: u64) {
        if self.sessions.debts.add(peer, since_ms, true) {
            self.begin_to_pay(peer);
        }
    }

    fn begin_to_pay(self: &Arc<Self>, peer: &Arc<str>) {
        let (relay, peer) = (self.clone(), peer.clone());
        tokio::spawn(async move { relay.pay(&peer).await });
    }

    /// Tells a peer what it missed, until all is told or it is gone.
    async fn pay(&self, peer: &Arc<str>) {
        let debts = &self.sessions.debts;
        let mut due = debts.since_ms(peer);
        while let Some(since_ms) = due {
            let mut after = None;
            loop {
                match self.pay_page(peer, after.clone(), since_ms).await {
                    Some(None) => break,
                    Some(next) => after = next,
                    None if !self.peers().by_name.contains_key(peer) => {
                        return debts.put_off(peer);
                    }
                    None => tokio::time::sleep(AGAIN).await,
                }
            }
            due = debts.paid(peer);
        }
    }

    /// Tells a peer one page; returns where to go on, or nothing if it must be tried again.
    async fn pay_page(
        &self,
        peer: &Arc<str>,
        after: Option<Vec<u8>>,
        since_ms: u64,
    ) -> Option<Option<Vec<u8>>> {
        let (store, cluster) = (self.store()?, self.cluster()?);
        let page = store.revocations(after, since_ms, PAGE).await.ok()?;
        let found = page.found.into_iter();
        let lasting: Vec<_> = found.filter(|it| it.expires_ms > now_ms()).collect();
        if !lasting.is_empty() {
            let peer = std::slice::from_ref(peer);
            let question = Question::Revoked(lasting);
            let (_, silent) = ask_some::<usize>(cluster, peer, &question, ANSWER).await;
            if !silent.is_empty() {
                return None;
            }
        }
        Some(page.next)
    }
}

/// Closes this node's sockets that live under sessions of one user.
async fn close(node: &Node, ended: Vec<Session>) -> usize {
    let Some(user) = ended.first().map(|session| session.user.clone()) else {
        return 0;
    };
    let ids = ended.into_iter().map(|session| session.id).collect();
    node.hub.end_sessions(&user, ids).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_goes_back_as_far_as_any_of_what_is_owed() {
        let (debts, peer) = (Debts::default(), Arc::from("b"));
        assert!(!debts.add(&peer, 50, false), "it is gone");
        assert!(!debts.add(&peer, 70, false));
        assert!(debts.came_up(&peer));
        assert_eq!(debts.since_ms("b"), Some(50));
        assert!(!debts.add(&peer, 90, true), "it is being paid");
        assert!(!debts.add(&peer, 80, true));
        assert_eq!(debts.paid("b"), Some(80));
        assert_eq!(debts.paid("b"), None);
        assert_eq!(debts.since_ms("b"), None);
    }

    #[test]
    fn a_debt_that_is_put_off_is_kept() {
        let (debts, peer) = (Debts::default(), Arc::from("b"));
        assert!(debts.add(&peer, 50, true));
        assert!(!debts.add(&peer, 40, true));
        debts.put_off("b");
        assert_eq!(debts.since_ms("b"), Some(40));
        assert!(debts.came_up(&peer));
    }

    #[test]
    fn a_peer_of_which_nothing_is_known_is_told_everything() {
        let debts = Debts::default();
        for number in 0..2 * DEBTORS {
            debts.add(&Arc::from(number.to_string()), 50, false);
        }
        assert!(lock(&debts.0).len() <= DEBTORS);
        assert!(debts.came_up(&Arc::from("0")));
        assert_eq!(debts.since_ms("0"), Some(0));
    }
}
