//! Emits that ask for acknowledgements, across nodes. The emit itself goes the way of all others,
//! so that it keeps its place in their order; each peer that got it collects the answers of its
//! own clients, and is asked for them by a question of its own, which may come before the emit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_cluster::Peer;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Relay,
    frame::Call,
    question::{Question, ask_some},
};
use crate::{
    event::EmitRequest,
    hub::{EmitError, Responses},
    node::Node,
};

/// What a peer may take longer than the emit's own time.
const GRACE: Duration = Duration::from_secs(1);

/// Collections for peers.
#[derive(Default)]
pub(super) struct Calls(Arc<Mutex<Meetings>>);

/// By the peer that asks and the number that it gave the call.
type Meetings = HashMap<(Arc<str>, u64), Meeting>;

/// Where the collected answers meet the question for them, whichever comes first.
enum Meeting {
    /// The emit is here; the answers will be.
    Collected(oneshot::Receiver<Collected>),
    /// The question is here.
    Asked(oneshot::Sender<Collected>),
}

/// What a peer collected, as it travels.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Collected {
    responses: Vec<(String, String, Vec<Vec<u8>>)>,
    missing: Vec<String>,
}

impl Calls {
    /// A peer forwarded an emit that asks: it goes out to this node's clients, and their answers
    /// are collected.
    pub(super) async fn take_in(
        &self,
        node: &Arc<Node>,
        from: &Peer,
        request: EmitRequest,
        call: Call,
    ) {
        let Ok(asked) = node.hub.ask(node, request, call.patience).await else {
            return;
        };
        let key = (from.name.clone(), call.id);
        let sender = {
            let mut calls = self.lock();
            match calls.remove(&key) {
                Some(Meeting::Asked(waiting)) => waiting,
                _ => {
                    let (sender, receiver) = oneshot::channel();
                    calls.insert(key.clone(), Meeting::Collected(receiver));
                    sender
                }
            }
        };
        let calls = self.0.clone();
        tokio::spawn(async move {
            let _ = sender.send(asked.answered().await.into());
            tokio::time::sleep(GRACE).await;
            lock(&calls).remove(&key);
        });
    }

    /// A peer asks for the answers.
    pub(super) async fn collected(&self, from: &str, id: u64, patience: Duration) -> Collected {
        let key = (Arc::from(from), id);
        let receiver = {
            let mut calls = self.lock();
            match calls.remove(&key) {
                Some(Meeting::Collected(receiver)) => receiver,
                _ => {
                    let (sender, receiver) = oneshot::channel();
                    calls.insert(key.clone(), Meeting::Asked(sender));
                    receiver
                }
            }
        };
        let collected = tokio::time::timeout(patience + GRACE, receiver).await;
        self.lock().remove(&key);
        collected.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Meetings> {
        lock(&self.0)
    }
}

fn lock(mutex: &Mutex<Meetings>) -> MutexGuard<'_, Meetings> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Responses> for Collected {
    fn from(responses: Responses) -> Self {
        let owned = |(socket, data, attachments): (Arc<str>, String, Vec<Bytes>)| {
            let attachments = attachments.into_iter().map(Vec::from).collect();
            (socket.to_string(), data, attachments)
        };
        Self {
            responses: responses.responses.into_iter().map(owned).collect(),
            missing: responses.missing.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Collected {
    fn add_to(self, responses: &mut Responses) {
        for (socket, data, attachments) in self.responses {
            let attachments = attachments.into_iter().map(Bytes::from).collect();
            responses.responses.push((socket.into(), data, attachments));
        }
        let missing = self.missing.into_iter().map(Arc::from);
        responses.missing.extend(missing);
    }
}

/// What peers collected, and those that did not tell.
type Told = (Vec<Collected>, Vec<Arc<str>>);

/// An emit that was sent to the whole cluster and whose acknowledgements are awaited.
#[must_use = "the answers come later"]
pub struct AskedAll {
    here: crate::hub::begin::Asked,
    there: Option<JoinHandle<Told>>,
}

impl Relay {
    /// Sends an emit that asks for acknowledgements to this node's clients and to the peers'.
    /// Emits begun later come after it.
    pub async fn ask(
        &self,
        node: &Node,
        request: EmitRequest,
        patience: Duration,
    ) -> Result<AskedAll, EmitError> {
        let Some(cluster) = self.cluster().filter(|_| !request.local) else {
            let here = node.hub.ask(node, request, patience).await?;
            return Ok(AskedAll { here, there: None });
        };
        let here = node.hub.ask(node, request.clone(), patience).await?;
        let call = Call {
            id: u64::from_ne_bytes(crate::app::random::bytes()),
            patience,
        };
        let peers = self.forward_call(cluster, &request, call);
        let names = cluster.names(peers);
        if names.is_empty() {
            return Ok(AskedAll { here, there: None });
        }
        let question = Question::Collect {
            from: node.name().to_owned(),
            call: call.id,
            patience_ms: patience.as_millis() as u64,
        };
        let cluster = cluster.clone();
        let there = tokio::spawn(async move {
            ask_some(&cluster, &names, &question, patience + 2 * GRACE).await
        });
        Ok(AskedAll {
            here,
            there: Some(there),
        })
    }
}

impl AskedAll {
    /// Collects the answers until all are there or the time is over; with the names of the peers
    /// that did not tell theirs.
    pub async fn answered(self) -> (Responses, Vec<Arc<str>>) {
        let mut responses = self.here.answered().await;
        let Some(there) = self.there else {
            return (responses, Vec::new());
        };
        let (collected, silent) = there.await.unwrap_or_default();
        for collected in collected {
            collected.add_to(&mut responses);
        }
        (responses, silent)
    }
}
