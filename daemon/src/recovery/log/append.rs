//! A recoverable event on its way into the log.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Entry, RoomKey};
use crate::recovery::slot::Position;

/// The longest name of a room with its namespace, in bytes: it becomes a key of the store.
pub const MAX_NAME: usize = 2048;

/// The most that an event may take with all its names, in bytes: it becomes a row of the store.
pub const MAX_EVENT: usize = 8 << 20;

/// An event that the log can take. As it is written together with others, it must not be able to
/// make the store refuse them all.
#[derive(Clone, Debug)]
pub struct Append {
    pub(super) room: RoomKey,
    pub(super) id: Arc<str>,
    pub(super) except: Vec<String>,
    pub(super) payload: Bytes,
}

/// The event cannot be kept. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// The room's name.
    #[error("the room's name has {0} bytes, at most {MAX_NAME} are allowed in a recoverable room")]
    Name(usize),
    /// The event as a whole.
    #[error("the event has {0} bytes, at most {MAX_EVENT} are allowed in a recoverable room")]
    Event(usize),
}

impl Append {
    /// An event for `room`. `id` is the idempotency key: whoever takes an emit without one adds one.
    /// Sockets that are in one of the rooms in `except`, or have their id there, do not get it.
    pub fn new(
        room: RoomKey,
        id: Arc<str>,
        except: Vec<String>,
        payload: Bytes,
    ) -> Result<Self, TooLong> {
        let name = room.namespace().len() + room.room().len();
        if name > MAX_NAME {
            return Err(TooLong::Name(name));
        }
        let append = Self {
            room,
            id,
            except,
            payload,
        };
        match append.cost() {
            cost if cost > MAX_EVENT => Err(TooLong::Event(cost)),
            _ => Ok(append),
        }
    }

    /// Bytes that the entry will take in memory, and about as many on the disk.
    pub fn cost(&self) -> usize {
        super::entry::cost(&self.room, &self.id, &self.except, &self.payload)
    }

    pub(super) fn at(self, position: Position, at_ms: u64, turn: u64) -> Entry {
        let Self {
            room,
            id,
            except,
            payload,
        } = self;
        Entry {
            position,
            room,
            id,
            at_ms,
            turn,
            except,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_could_not_take_is_refused() {
        let event = |room: &str, bytes: usize| {
            Append::new(
                RoomKey::new("/", room),
                "1".into(),
                Vec::new(),
                vec![0; bytes].into(),
            )
        };
        assert!(event(&"r".repeat(MAX_NAME - 1), 1).is_ok());
        let long = event(&"r".repeat(MAX_NAME), 1);
        assert!(matches!(long, Err(TooLong::Name(found)) if found == MAX_NAME + 1));
        assert!(matches!(event("r", MAX_EVENT), Err(TooLong::Event(_))));
        assert!(event("r", MAX_EVENT - 1024).is_ok());
    }
}
