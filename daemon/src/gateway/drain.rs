//! The end of a node: clients move away, what was taken is finished, and everything is written.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout_at};

use super::Gateway;
use crate::{
    node::{Node, Phase, now_ms},
    shard::command::Command,
};

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// All clients were told to move.
    pub clients: bool,
    /// All work that was taken was finished.
    pub work: bool,
    /// The log of recoverable rooms was handed over and stored.
    pub history: bool,
    /// The store was closed.
    pub store: bool,
}

impl Drained {
    /// Whether nothing was cut.
    pub fn is_clean(self) -> bool {
        self.clients && self.work && self.history && self.store
    }
}

impl Gateway {
    /// Drains: clients are moved away, emits in flight are finished, everything is written. Says
    /// what was cut when the deadline came first.
    pub async fn drain(self) -> Drained {
        let Self {
            node,
            limits,
            store,
            shards,
            tasks,
            feed,
            stop,
            drain,
            channels: _,
        } = self;
        let deadline = tokio::time::Instant::now() + drain.deadline;
        node.enter(Phase::Draining);
        let cluster = node.relay.cluster().cloned();
        if let Some(cluster) = &cluster {
            cluster.drain();
        }
        let moved = timeout_at(deadline, move_clients(&node, drain.spread)).await;
        // From here on emits are refused; those that were taken are still committed and fed.
        node.enter(Phase::Closed);
        stop.cancel();
        tasks.close();
        let finished = timeout_at(deadline, tasks.wait()).await;
        if let Err(error) = limits.save(&store, now_ms()).await {
            tracing::warn!(%error, "counters could not be saved");
        }
        let fed = timeout_at(deadline, close_history(&node, feed)).await;
        // The peers had until now to ask for what they lack.
        if let Some(cluster) = &cluster {
            cluster.stop().await;
        }
        let closed = store.close().await;
        if let Err(error) = &closed {
            tracing::error!(%error, "the store did not close cleanly");
        }
        drop(node);
        // The shards end with the last handle to their mailboxes, which is the process's end.
        drop(shards);
        Drained {
            clients: moved.is_ok(),
            work: finished.is_ok(),
            history: fed.is_ok(),
            store: closed.is_ok(),
        }
    }
}

/// Others own the slots from here on; what was appended here is stored and fed.
async fn close_history(node: &Node, feed: tokio::task::JoinHandle<()>) {
    let history = node.recovery.history();
    history.hand_over(HAND_OVER).await;
    history.close().await;
    // It has ended by itself, or panicked, which was said.
    let _ = feed.await;
}

/// How long others may take to own this node's slots; what is not handed over is taken.
const HAND_OVER: Duration = Duration::from_secs(3);

async fn move_clients(node: &Node, spread: Duration) {
    let mut waiting = Vec::new();
    for shard in &node.hub.shards {
        let (done, told) = oneshot::channel();
        if shard
            .mailbox
            .send(Command::Drain { spread, done })
            .await
            .is_ok()
        {
            waiting.push(told);
        }
    }
    for told in waiting {
        let _ = told.await;
    }
}
