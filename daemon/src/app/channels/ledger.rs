//! Subscriptions as they were counted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Which subscriptions each socket was counted for, so that each is counted once and taken back
/// once, whoever else joins or leaves rooms.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<Arc<str>, HashSet<Arc<str>>>>);

impl Ledger {
    /// True if this socket is not counted for the room yet.
    pub(super) fn add(&self, socket: &Arc<str>, room: &Arc<str>) -> bool {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets
            .entry(socket.clone())
            .or_default()
            .insert(room.clone())
    }

    /// True if this socket was counted for the room.
    pub(super) fn remove(&self, socket: &str, room: &str) -> bool {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets
            .get_mut(socket)
            .is_some_and(|rooms| rooms.remove(room))
    }

    /// All rooms that this socket was counted for.
    pub(super) fn clear(&self, socket: &str) -> HashSet<Arc<str>> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.remove(socket).unwrap_or_default()
    }
}
