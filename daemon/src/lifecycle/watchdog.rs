//! Asks every shard and the control plane, again and again, whether they still answer. systemd is
//! told while they all do, and so restarts a node of which only a part is stuck; `/health` tells
//! everyone else.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sd_notify::NotifyState;
use tokio::{sync::oneshot, time::timeout};

use super::notify;
use crate::{node::Node, shard::command::Command};

/// How long an answer may take where systemd does not say how long it waits. A shard that works
/// through an avalanche answers within a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause between two rounds: health is to notice in time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks until it is dropped.
pub(super) async fn run(node: Arc<Node>) {
    // systemd waits for twice as long as an answer may take: one late round is no harm.
    let fed = sd_notify::watchdog_enabled();
    let patience = fed.map_or(PATIENCE, |every| every / 2);
    let pause = (patience / 2).min(LONGEST_PAUSE);
    let mut silent_before = Vec::new();
    loop {
        let silent = silent(&node, patience).await;
        if silent.is_empty() && fed.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        if silent != silent_before {
            match silent.is_empty() {
                true => tracing::info!("all parts answer again"),
                false => tracing::error!(?silent, ?patience, "parts of the node do not answer"),
            }
        }
        node.set_stuck(!silent.is_empty());
        silent_before = silent;
        tokio::time::sleep(pause).await;
    }
}

/// Which parts do not answer in time.
async fn silent(node: &Arc<Node>, patience: Duration) -> Vec<String> {
    let shards = (0..node.hub.shards.len()).map(async |index| {
        let answer = timeout(patience, shard_answers(node, index)).await;
        (!answer.unwrap_or(false)).then(|| format!("shard-{index}"))
    });
    let control = async {
        let answer = timeout(patience, control_answers(node)).await;
        (!answer.unwrap_or(false)).then(|| "control".to_owned())
    };
    let (shards, control) = tokio::join!(join_all(shards), control);
    shards.into_iter().chain([control]).flatten().collect()
}

/// Asked as all others ask: what waits in the mailbox comes first.
async fn shard_answers(node: &Node, index: usize) -> bool {
    let (answer, answered) = oneshot::channel();
    let ask = Command::Run(Box::new(move |_| {
        let _ = answer.send(());
    }));
    let sent = node.hub.shards[index].mailbox.send(ask).await;
    sent.is_ok() && answered.await.is_ok()
}

/// By the way that the shards' jobs take.
async fn control_answers(node: &Node) -> bool {
    let (answer, answered) = oneshot::channel();
    let job = async move {
        let _ = answer.send(());
    };
    node.jobs.send(Box::pin(job)).await.is_ok() && answered.await.is_ok()
}
