//! The control plane's standing tasks: jobs of shards, emits of handlers, housekeeping, counts.

use std::{sync::Arc, time::Duration};

use tidings_cluster::Cluster;
use tidings_storage::Store;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::limits::{EXCHANGE_EVERY, Limits},
    event::EmitRequest,
    node::{Node, now_ms},
    shard::command::Job,
};

/// Jobs of shards that are under way at once.
const JOBS_AT_ONCE: usize = 1024;

/// How often changed counters are written.
const COUNTERS_EVERY: Duration = Duration::from_millis(500);

/// How often the peers are told how many clients there are.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// How often expired rows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Rows that one sweep removes at most.
const SWEPT_AT_ONCE: usize = 5000;

/// The control plane's side of the shards' jobs.
pub(super) async fn run_jobs(mut queue: mpsc::Receiver<Job>, stop: CancellationToken) {
    let jobs = TaskTracker::new();
    let permits = Arc::new(tokio::sync::Semaphore::new(JOBS_AT_ONCE));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            break;
        };
        // Both are cancel-safe.
        let job = tokio::select! {
            biased;
            job = queue.recv() => job,
            () = stop.cancelled() => None,
        };
        let Some(job) = job else { break };
        jobs.spawn(async move {
            job.await;
            drop(permit);
        });
    }
    jobs.close();
    jobs.wait().await;
}

/// Handlers' emits, in order.
pub(super) async fn run_emits(
    node: Arc<Node>,
    mut queue: mpsc::Receiver<EmitRequest>,
    stop: CancellationToken,
) {
    loop {
        // Both are cancel-safe.
        let request = tokio::select! {
            biased;
            request = queue.recv() => request,
            () = stop.cancelled() => None,
        };
        let Some(request) = request else { return };
        if let Err(error) = node.hub.emit(&node, request).await {
            tracing::warn!(%error, "a handler's emit was refused");
        }
    }
}

/// Writes counters behind, removes what has expired.
pub(super) async fn keep_up(
    node: Arc<Node>,
    limits: Limits,
    store: Store,
    stop: CancellationToken,
) {
    let mut counters = tokio::time::interval(COUNTERS_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut load = tokio::time::interval(LOAD_EVERY);
    loop {
        // All are cancel-safe: a tick that is not taken is due at the next turn.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = counters.tick() => {
                if let Err(error) = limits.save(&store, now_ms()).await {
                    tracing::warn!(%error, "counters could not be saved");
                }
            }
            _ = load.tick() => {
                if let Some(cluster) = node.relay.cluster() {
                    cluster.set_load(node.connections());
                }
            }
            _ = sweep.tick() => {
                node.recovery.lost().sweep();
                if let Err(error) = store.sweep(now_ms(), SWEPT_AT_ONCE).await {
                    tracing::warn!(%error, "expired rows could not be removed");
                }
            }
        }
    }
}

/// Tells owners of records what they could not be told at once, which may take them seconds.
pub(super) async fn settle(node: Arc<Node>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        node.recovery.settle().await;
    }
}

/// Tells the other nodes what this one counts.
pub(super) async fn exchange(limits: Limits, cluster: Cluster, stop: CancellationToken) {
    limits.share();
    let mut due = tokio::time::interval(EXCHANGE_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both are cancel-safe.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = due.tick() => {}
        }
        for (key, parts) in limits.take_untold(now_ms()) {
            cluster.count(key.into(), parts);
        }
    }
}
