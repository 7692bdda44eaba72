//! Recoverable rooms in a node that starts: what the store has of them, and what runs them.

use std::{collections::BTreeMap, sync::Arc};

use tidings_cluster::{
    Cluster, History, HistoryConfig, Told,
    proto::slots::{Limits, LimitsOf, NodeId, RoomLimits},
    slot_by_name,
};
use tidings_storage::{OpenReport, Store, StoreError};
use tokio::sync::mpsc;

use crate::{
    config::{Channel, Config, Keeps},
    live::Live,
    recovery::{
        keep::{Disk, Found, find},
        room,
    },
};

/// Recoverable rooms that run.
pub(super) struct Running {
    pub(super) history: History,
    /// For the shards.
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) node: NodeId,
}

/// Starts recoverable rooms on what the store has; alone, or with the nodes of a cluster.
pub(super) async fn start(
    config: &Config,
    channels: Live<BTreeMap<String, Channel>>,
    (store, report): (&Store, &OpenReport),
    boot: u64,
    cluster: Option<Cluster>,
) -> Result<Running, StoreError> {
    let Found {
        node,
        slots,
        roster,
        forgotten,
        unclean,
    } = find(store, report).await?;
    let disk = Disk::new(store.clone(), unclean);
    let settings = HistoryConfig {
        node,
        boot,
        size: config.cluster.size as u64,
        window: config.recovery.window,
        limits: Limits {
            known_ms: crate::hub::IDEMPOTENCY.as_millis() as u64,
            marks: MARKS,
            memory: config.recovery.memory as u64,
        },
        limits_of: limits(config, channels),
        stored: slots,
        roster,
        forgotten,
        unclean,
        seed: super::random(),
        slot_of: slot_by_name(),
    };
    let (history, told) = History::start(settings, disk.clone(), cluster);
    tokio::spawn(mark(history.clone(), disk));
    tracing::info!(node = node.0, unclean, "history open");
    Ok(Running {
        history,
        told,
        node,
    })
}

/// The store is clean again once the log says of itself what may be missing.
async fn mark(history: History, disk: Arc<Disk>) {
    history.marked().await;
    disk.marked();
}

/// What is kept of each room: what its channel says, else what is said for all.
fn limits(config: &Config, channels: Live<BTreeMap<String, Channel>>) -> LimitsOf {
    // A client that vanished is noticed after a ping and its timeout.
    let unnoticed = config.engine.ping_interval + config.engine.ping_timeout;
    let recovery = config.recovery.clone();
    let of = move |keeps: Keeps| RoomLimits {
        entries: keeps.max_entries.unwrap_or(recovery.entries_per_room),
        bytes: keeps.max_bytes.unwrap_or(recovery.memory) as u64,
        keep_ms: (keeps.window.unwrap_or(recovery.window) + unnoticed).as_millis() as u64,
    };
    LimitsOf::new(move |key| {
        let named = room::parse(key);
        let is_of = |channel: &&Channel| {
            named.is_some_and(|(namespace, name)| {
                let rooms = &channel.rooms;
                channel.namespace == namespace && rooms.iter().any(|room| room.matches(name))
            })
        };
        let channels = channels.now();
        let channel = channels.values().find(is_of);
        of(channel.map_or_else(Keeps::default, |channel| channel.keeps))
    })
}

/// Rooms of a slot whose trimming is remembered one by one.
const MARKS: usize = 10_000;
