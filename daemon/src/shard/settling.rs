//! Work whose outcome a client must see before what happens to its rooms meanwhile: the snapshot
//! that a subscription is answered with.
//!
//! The work begins once its socket is in the rooms, the peers know of that, and its record is kept:
//! whatever happens to a room after the work has begun is an emit that reaches the socket. Such
//! emits are held back here until the effects of the work are carried out.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{
    command::{Command, SocketKey},
    machine::Reason,
    registering::Then,
    state::State,
};
use crate::{
    app::handler::{BoxFuture, Effect},
    event::{Delivery, Emit},
};

/// The work of one socket that is not done.
#[derive(Default)]
pub(super) struct Settling {
    works: Vec<Work>,
    /// What is held back, in order.
    emits: Vec<Arc<Emit>>,
    bytes: usize,
}

struct Work {
    number: u64,
    /// What reaches the socket through these waits for it.
    rooms: Vec<Arc<str>>,
    /// Taken when it begins.
    work: Option<BoxFuture<Vec<Effect>>>,
    /// Whether the peers know of the joins before it.
    registered: bool,
}

impl Settling {
    /// Whether an emit must wait. A recoverable one always does: the cursor of a slot must not pass
    /// one that waits, and a slot has many rooms.
    pub(super) fn holds(&self, emit: &Emit) -> bool {
        let is_of = |room| self.works.iter().any(|work| work.rooms.contains(room));
        matches!(emit.delivery, Delivery::Recoverable { .. }) || emit.rooms.iter().any(is_of)
    }

    /// Holds an emit back; returns the bytes of all that are.
    pub(super) fn hold(&mut self, emit: Arc<Emit>) -> usize {
        let frames = emit.body.plain().iter();
        self.bytes += frames.map(|frame| frame.ws_len()).sum::<usize>();
        self.emits.push(emit);
        self.bytes
    }

    /// Work is done: what needs to wait no longer, in order. Of a conflated room only the newest
    /// value is left.
    fn end(&mut self, number: u64) -> Vec<Arc<Emit>> {
        self.works.retain(|work| work.number != number);
        let held = std::mem::take(&mut self.emits);
        self.bytes = 0;
        let mut free = Vec::new();
        for emit in held {
            let waits = !self.works.is_empty() && self.holds(&emit);
            match waits {
                true => drop(self.hold(emit)),
                false => free.push(emit),
            }
        }
        newest_values(free)
    }
}

/// Leaves out the values that a later one replaces.
fn newest_values(emits: Vec<Arc<Emit>>) -> Vec<Arc<Emit>> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = emits.into_iter().rev().collect();
    kept.retain(|emit| match &emit.delivery {
        Delivery::Conflated { key, .. } => seen.insert(*key),
        _ => true,
    });
    kept.reverse();
    kept
}

impl State {
    /// Work begins as soon as an acknowledgement could go out; what comes through `rooms` is held
    /// back from here on.
    pub(super) fn settle(
        &mut self,
        key: SocketKey,
        rooms: Vec<Arc<str>>,
        work: BoxFuture<Vec<Effect>>,
    ) {
        let number = u64::from(self.next_generation());
        let Some(socket) = self.socket(key) else {
            return;
        };
        let settling = socket.settling.get_or_insert_default();
        settling.works.push(Work {
            number,
            rooms,
            work: Some(work),
            registered: false,
        });
        self.when_registered(key, Then::Begin(number));
    }

    /// The peers know of the rooms that work is about.
    pub(super) fn registered_work(&mut self, key: SocketKey, number: u64) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let works = socket.settling.iter_mut().flat_map(|it| &mut it.works);
        works
            .filter(|work| work.number == number)
            .for_each(|work| work.registered = true);
        let following = socket.following.as_ref();
        if following.is_none_or(|following| !following.is_writing()) {
            self.begin_work(key);
        }
    }

    /// Begins what was waited for: the socket is fed, and its record is kept.
    pub(super) fn begin_work(&mut self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let connection = socket.connection;
        let works = socket.settling.iter_mut().flat_map(|it| &mut it.works);
        let due = works.filter(|work| work.registered);
        let due: Vec<_> = due
            .filter_map(|it| Some((it.number, it.work.take()?)))
            .collect();
        for (number, work) in due {
            let mailbox = self.node.hub.shards[self.index].mailbox.clone();
            let done = async move {
                // Nobody else would ever let go of what is held back.
                let outcome = AssertUnwindSafe(work).catch_unwind().await;
                let effects = outcome.unwrap_or_else(|_| vec![Effect::Disconnect { close: true }]);
                let settled = Some(number);
                let done = Command::Effects {
                    socket: key,
                    effects,
                    settled,
                };
                let _ = mailbox.send(done).await;
            };
            if !self.job(Box::pin(done), Some(connection)) {
                return self.close(connection, Reason::Unavailable);
            }
        }
    }

    /// Work is done: its effects come first, then what was held back for it.
    pub(super) fn settled(&mut self, key: SocketKey, number: u64, effects: Vec<Effect>) {
        self.carry_out(key, effects, true);
        let Some(socket) = self.socket(key) else {
            return;
        };
        let Some(settling) = &mut socket.settling else {
            return;
        };
        let emits = settling.end(number);
        if settling.works.is_empty() {
            socket.settling = None;
        }
        let namespace = socket.namespace;
        for emit in emits {
            let Some(socket) = self.socket(key) else {
                return;
            };
            let id = socket.id.clone();
            let rooms = &self.rooms;
            // It may have left them meanwhile.
            let is_in = |room: &Arc<str>| *room == id || rooms.contains(namespace, room, key.index);
            if emit.rooms.iter().any(is_in) {
                self.deliver_to(key.index, &emit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        event::{Body, Event},
        recovery::slot::{Offset, Position},
    };

    fn emit(room: &str, arg: u32, delivery: Delivery) -> Arc<Emit> {
        let event = Event {
            name: "e".into(),
            args: vec![RawValue::from_string(arg.to_string()).unwrap()],
            attachments: Vec::new(),
        };
        Arc::new(Emit {
            namespace: 0,
            rooms: vec![room.into()],
            except: Vec::new(),
            body: Body::new("/", &event, None),
            delivery,
        })
    }

    fn value(room: &str, arg: u32, key: u64) -> Arc<Emit> {
        let delivery = Delivery::Conflated {
            stamp: u64::from(arg),
            interval: std::time::Duration::from_millis(1),
            key,
        };
        emit(room, arg, delivery)
    }

    fn works(rooms: &[&str]) -> Settling {
        let work = |(number, room): (usize, &&str)| Work {
            number: number as u64,
            rooms: vec![(*room).into()],
            work: None,
            registered: true,
        };
        Settling {
            works: rooms.iter().enumerate().map(work).collect(),
            ..Settling::default()
        }
    }

    fn args(emits: &[Arc<Emit>]) -> Vec<String> {
        let arg = |emit: &Arc<Emit>| emit.body.event().unwrap().args[0].get().to_owned();
        emits.iter().map(arg).collect()
    }

    #[test]
    fn holds_what_its_rooms_are_sent_and_all_that_has_a_place_in_a_slot() {
        let settling = works(&["a"]);
        assert!(settling.holds(&emit("a", 1, Delivery::Live)));
        assert!(!settling.holds(&emit("b", 1, Delivery::Live)));
        let position = Position::default();
        let offset = Offset { slot: 0, position };
        assert!(settling.holds(&emit("b", 1, Delivery::Recoverable { offset })));
    }

    #[test]
    fn lets_go_in_order_what_no_other_work_waits_for() {
        let mut settling = works(&["a", "b"]);
        for (room, n) in [("a", 1), ("b", 2), ("a", 3)] {
            settling.hold(emit(room, n, Delivery::Live));
        }
        assert_eq!(args(&settling.end(0)), ["1", "3"]);
        assert!(settling.bytes > 0);
        assert_eq!(args(&settling.end(1)), ["2"]);
        assert_eq!(settling.bytes, 0);
    }

    #[test]
    fn of_values_only_the_newest_is_let_go() {
        let mut settling = works(&["a"]);
        for emit in [value("a", 1, 7), value("a", 2, 8), value("a", 3, 7)] {
            settling.hold(emit);
        }
        settling.hold(emit("a", 4, Delivery::Live));
        assert_eq!(args(&settling.end(0)), ["2", "3", "4"]);
    }
}
