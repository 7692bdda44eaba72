//! What nodes ask each other, and how it is answered. JSON, so that nodes of neighbouring versions
//! understand each other; none of it is on the way of an emit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tidings_cluster::Cluster;
use tidings_storage::{Revocation, Session};

use super::Relay;
use crate::hub::query::{Act, Target};

/// How long a peer may take to answer what is not about clients' acknowledgements.
const ANSWER: Duration = Duration::from_secs(3);

/// A question to a peer about its own clients and sessions, never passed on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// The sockets of a target.
    Sockets(Target),
    /// How many sockets a target has, and the first of them.
    Page {
        target: Target,
        after: Option<String>,
        limit: usize,
    },
    /// The rooms of a namespace and their sizes.
    Rooms { namespace: String },
    /// Do something with the sockets of a target.
    Act { target: Target, act: Act },
    /// The session of this id, if it is a good one.
    Session { id: String },
    /// A session was made, or given another end.
    Made(Session),
    /// Sessions have ended.
    Revoked(Vec<Revocation>),
    /// The last values of conflated rooms, by namespace and name.
    Latest { rooms: Vec<(String, String)> },
    /// Somebody looks by the admin UI: what is there to see?
    Watch,
    /// What is shown to those who look is not all right any more.
    LookAgain,
    /// An event for this node's handler.
    ServerEvent {
        event: String,
        args: Vec<Box<RawValue>>,
    },
    /// The acknowledgements of an emit that was forwarded.
    Collect {
        from: String,
        call: u64,
        patience_ms: u64,
    },
}

impl Relay {
    /// Answers a peer.
    pub(super) async fn answer_question(&self, question: Bytes) -> Bytes {
        let (Some(node), Ok(question)) = (self.node(), serde_json::from_slice(&question)) else {
            // Nothing is no answer; the peer counts this node as silent.
            return Bytes::new();
        };
        let hub = &node.hub;
        match question {
            Question::Sockets(target) => encode(&hub.sockets(target).await),
            Question::Page {
                target,
                after,
                limit,
            } => encode(&hub.sockets_page(target, after, limit).await),
            Question::Rooms { namespace } => encode(&hub.rooms(&namespace).await),
            Question::Act { target, act } => {
                let count = hub.act(target, act).await;
                self.known().await;
                encode(&count)
            }
            Question::Session { id } => self.show_session(&id).await,
            Question::Made(session) => encode(&self.take_session(session).await),
            Question::Revoked(revocations) => {
                match self.take_revocations(&node, revocations).await {
                    Some(count) => encode(&count),
                    None => Bytes::new(),
                }
            }
            Question::Latest { rooms } => encode(&super::latest::values(&node, rooms)),
            Question::Watch => match &node.admin_ui {
                Some(watch) => encode(&watch.begin().await),
                None => Bytes::new(),
            },
            Question::LookAgain => {
                self.look_again_here(&node).await;
                encode(&())
            }
            Question::ServerEvent { event, args } => {
                encode(&node.handler.server_event(&event, &args))
            }
            Question::Collect {
                from,
                call,
                patience_ms,
            } => {
                let patience = Duration::from_millis(patience_ms);
                encode(&self.calls.collected(&from, call, patience).await)
            }
        }
    }

    /// Waits until the peers know of every join of this node so far: what is emitted anywhere from
    /// then on arrives. Bounded, as a peer may be about to die.
    pub(super) async fn known(&self) {
        let Some(cluster) = self.cluster() else {
            return;
        };
        let seq = cluster.seq();
        let until = tokio::time::Instant::now() + super::PATIENCE;
        while cluster.floor() < seq && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Asks all live peers; returns the answers that could be read and the names of the silent.
pub(super) async fn ask_every<T: DeserializeOwned>(
    cluster: &Cluster,
    question: &Question,
) -> (Vec<T>, Vec<Arc<str>>) {
    ask_some(cluster, &cluster.peers(), question, ANSWER).await
}

/// Asks some peers; returns the answers that could be read and the names of the silent.
pub(super) async fn ask_some<T: DeserializeOwned>(
    cluster: &Cluster,
    peers: &[Arc<str>],
    question: &Question,
    patience: Duration,
) -> (Vec<T>, Vec<Arc<str>>) {
    let answers = cluster.ask_all(peers, encode(question), patience).await;
    let mut silent: Vec<Arc<str>> = answers.missing.into_iter().map(|(name, _)| name).collect();
    let mut read = Vec::new();
    for (name, answer) in answers.answers {
        match serde_json::from_slice(&answer) {
            Ok(answer) => read.push(answer),
            Err(_) => silent.push(name),
        }
    }
    silent.sort();
    (read, silent)
}

/// As it travels.
pub(super) fn encode(value: &impl Serialize) -> Bytes {
    // None of these types has keys or values that JSON cannot take.
    serde_json::to_vec(value)
        .map(Bytes::from)
        .unwrap_or_default()
}

/// The rooms of several nodes, each with the sum of its members.
pub(super) fn add_rooms(into: &mut BTreeMap<Arc<str>, usize>, more: BTreeMap<Arc<str>, usize>) {
    for (room, members) in more {
        *into.entry(room).or_default() += members;
    }
}
