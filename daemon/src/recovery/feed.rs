//! What the cluster tells of recoverable rooms, on its way to the shards.

use std::sync::Arc;

use tidings_cluster::{
    Told,
    proto::slots::{Body as Said, Entry},
};
use tokio::sync::mpsc;

use super::{
    event::Logged,
    room,
    slot::{Offset, SlotNo},
};
use crate::{event::Body, hub::Part, node::Node};

/// Hands on what is told, in order, until the history is closed.
pub(crate) async fn run(node: Arc<Node>, mut told: mpsc::Receiver<Told>) {
    while let Some(next) = told.recv().await {
        match next {
            Told::Deliver {
                slot,
                entries,
                weight,
            } => {
                for entry in entries {
                    deliver(&node, slot, &entry).await;
                }
                drop(weight);
            }
            Told::Cut { room, .. } => {
                if let Some((namespace, name)) = room::parse(&room) {
                    node.hub.cut(namespace, name).await;
                }
            }
            Told::Evicted { home, .. } => node.hub.release(home).await,
            Told::Epoch { slot, .. } => node.hub.write_records(slot).await,
            Told::Renew { slot } => node.hub.renew_records(slot).await,
        }
    }
}

/// Hands an entry to the shards that have members of its room.
async fn deliver(node: &Node, slot: SlotNo, entry: &Entry) {
    let Said::Event {
        room,
        payload: Some(payload),
        ..
    } = &entry.body
    else {
        return;
    };
    let Some((namespace, name)) = room::parse(room) else {
        return;
    };
    let Some(number) = node.hub.namespaces.intern(namespace) else {
        return;
    };
    let room: Arc<str> = name.into();
    // The room is still fed a moment after its last member has left.
    let shards = node.hub.mask(number, std::slice::from_ref(&room));
    if shards == 0 {
        return;
    }
    let logged = match Logged::decode(payload) {
        Ok(logged) => logged,
        Err(error) => return tracing::error!(%error, "an event cannot be delivered"),
    };
    let part = Part {
        namespace: number,
        room,
        except: logged
            .except
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
    };
    let offset = Offset {
        slot,
        position: entry.position,
    };
    let body = Body::new(namespace, &logged.event, Some(offset));
    node.hub.feed(shards, part, body, offset).await;
}
