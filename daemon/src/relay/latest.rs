//! The last values of conflated rooms from the peers. A node is told no values of rooms that it has
//! no members in, so when the first one comes it asks what the others have, and gives its clients
//! what was accepted last.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    Relay,
    question::{Question, ask_every},
};
use crate::{event::Event, node::Node};

/// Rooms whose values are still to be asked for. Beyond it the next value must do.
const WAITING: usize = 16 << 10;

/// Rooms in one question.
const AT_ONCE: usize = 1000;

/// A room whose first member came: namespace and name.
type Room = (Arc<str>, Arc<str>);

/// Where rooms wait to be asked for.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Room>,
    receiver: std::sync::Mutex<Option<mpsc::Receiver<Room>>>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
        }
    }
}

/// A room's last value as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Late {
    namespace: String,
    room: String,
    /// How long ago a node accepted it.
    age_ms: u64,
    event: Vec<u8>,
}

impl Relay {
    /// The first member of a conflated room came: its last value is asked for. Never waits.
    pub(crate) fn catch_up(&self, namespace: &Arc<str>, room: &Arc<str>) {
        let _ = self.late.sender.try_send((namespace.clone(), room.clone()));
    }

    /// Asks the peers for the last values of rooms as their first members come, until the node
    /// stops.
    pub(crate) async fn run_late(self: Arc<Self>) {
        let receiver = {
            let mut receiver = self.late.receiver.lock();
            let receiver = receiver.as_mut().ok();
            receiver.and_then(|receiver| receiver.take())
        };
        let Some(mut receiver) = receiver else {
            return;
        };
        let mut rooms = Vec::new();
        while receiver.recv_many(&mut rooms, AT_ONCE).await > 0 {
            let (Some(node), Some(cluster)) = (self.node(), self.cluster()) else {
                return;
            };
            // The peers must know of the room first, or a value could slip between.
            self.known().await;
            let named = rooms.drain(..);
            let named = named.map(|(namespace, room)| (namespace.to_string(), room.to_string()));
            let question = Question::Latest {
                rooms: named.collect(),
            };
            let (answers, _) = ask_every::<Vec<Late>>(cluster, &question).await;
            for late in answers.into_iter().flatten() {
                take(&node, late).await;
            }
        }
    }
}

/// The last values that this node has of some rooms.
pub(super) fn values(node: &Node, rooms: Vec<(String, String)>) -> Vec<Late> {
    let value = |(namespace, room): (String, String)| {
        let number = node.hub.namespaces.find(&namespace)?;
        let value = node.hub.latest.find(number, &room.as_str().into())?;
        Some(Late {
            age_ms: value.at.elapsed().as_millis() as u64,
            event: value.emit.body.event()?.to_bytes().into(),
            namespace,
            room,
        })
    };
    rooms.into_iter().filter_map(value).collect()
}

async fn take(node: &Node, late: Late) {
    let at = Instant::now().checked_sub(Duration::from_millis(late.age_ms));
    let (Some(at), Ok(event)) = (at, Event::from_bytes(&late.event.into())) else {
        return;
    };
    node.hub
        .late_value(node, &late.namespace, late.room.into(), &event, at)
        .await;
}
