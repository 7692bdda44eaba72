//! What the cluster tells of recoverable rooms, on its way to the shards.

use std::sync::Arc;

use tidings_cluster::{
    Told,
    proto::slots::{Body, Entry},
};
use tokio::sync::mpsc;

use super::{
    event::Logged,
    room,
    slot::{Offset, SlotNo},
};
use crate::{hub::Part, node::Node};

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
    let Body::Event {
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
    let logged = match Logged::decode(payload) {
        Ok(logged) => logged,
        Err(error) => return tracing::error!(%error, "an event cannot be delivered"),
    };
    let part = Part {
        namespace: number,
        room: name.into(),
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
    node.hub.feed(part, &logged.event, namespace, offset).await;
}
