//! Subscriptions as they were counted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which subscriptions each socket was counted for, so that each is counted once and taken back
/// once, whoever else joins or leaves rooms.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Sockets>>);

type Sockets = HashMap<Arc<str>, HashMap<Arc<str>, Counted>>;

/// One socket's subscription to one room.
#[derive(Debug, Default)]
struct Counted {
    /// It was granted.
    is_sure: bool,
    /// Requests that have yet to be granted. If all of them fail, nothing was subscribed to.
    claims: HashSet<u64>,
}

impl Ledger {
    /// True if this socket is not counted for the room yet.
    pub(super) fn add(&self, socket: &Arc<str>, room: &Arc<str>) -> bool {
        let mut sockets = self.sockets();
        let rooms = sockets.entry(socket.clone()).or_default();
        let is_new = !rooms.contains_key(room);
        rooms.entry(room.clone()).or_default().is_sure = true;
        is_new
    }

    /// The same for a request that may yet fail.
    pub(super) fn claim(&self, socket: &Arc<str>, room: &Arc<str>, claim: u64) -> bool {
        let mut sockets = self.sockets();
        let rooms = sockets.entry(socket.clone()).or_default();
        let is_new = !rooms.contains_key(room);
        rooms.entry(room.clone()).or_default().claims.insert(claim);
        is_new
    }

    /// A request was granted.
    pub(super) fn grant(&self, socket: &str, room: &str, claim: u64) {
        let mut sockets = self.sockets();
        let rooms = sockets.get_mut(socket);
        if let Some(counted) = rooms.and_then(|rooms| rooms.get_mut(room))
            && counted.claims.remove(&claim)
        {
            counted.is_sure = true;
        }
    }

    /// A request has failed. True if with it the subscription is gone: it was counted, and nobody
    /// else relies on it.
    pub(super) fn refuse(&self, socket: &str, room: &str, claim: u64) -> bool {
        let mut sockets = self.sockets();
        let Some(rooms) = sockets.get_mut(socket) else {
            return false;
        };
        let Some(counted) = rooms.get_mut(room) else {
            return false;
        };
        let was_claimed = counted.claims.remove(&claim);
        let is_gone = was_claimed && !counted.is_sure && counted.claims.is_empty();
        if is_gone {
            rooms.remove(room);
        }
        is_gone
    }

    /// True if this socket was counted for the room.
    pub(super) fn remove(&self, socket: &str, room: &str) -> bool {
        self.sockets()
            .get_mut(socket)
            .is_some_and(|rooms| rooms.remove(room).is_some())
    }

    /// All rooms that this socket was counted for.
    pub(super) fn clear(&self, socket: &str) -> Vec<Arc<str>> {
        let rooms = self.sockets().remove(socket).unwrap_or_default();
        rooms.into_keys().collect()
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_gone_with_the_last_request_that_relied_on_it() {
        let ledger = Ledger::default();
        let (socket, room): (Arc<str>, Arc<str>) = ("s".into(), "r".into());
        assert!(ledger.claim(&socket, &room, 1));
        assert!(!ledger.claim(&socket, &room, 2));
        assert!(!ledger.refuse(&socket, &room, 1), "the second relies on it");
        assert!(ledger.refuse(&socket, &room, 2));
        assert!(!ledger.refuse(&socket, &room, 2));

        assert!(ledger.claim(&socket, &room, 3));
        ledger.grant(&socket, &room, 3);
        assert!(!ledger.claim(&socket, &room, 4));
        assert!(!ledger.refuse(&socket, &room, 4), "it was granted before");
        assert!(ledger.remove(&socket, &room));

        assert!(ledger.claim(&socket, &room, 5));
        assert!(ledger.remove(&socket, &room), "it was left meanwhile");
        ledger.grant(&socket, &room, 5);
        assert!(ledger.add(&socket, &room));
        assert_eq!(ledger.clear(&socket), [room]);
    }
}
