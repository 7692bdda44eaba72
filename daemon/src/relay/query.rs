//! An operator's questions and acts, for the whole cluster: this node's part and each peer's, at
//! once. What did not answer is named; a node known to be dead is not asked.

use std::{collections::BTreeMap, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    Relay,
    question::{Question, add_rooms, ask_every},
};
use crate::{
    hub::query::{Act, SocketInfo, Target},
    node::Node,
};

/// What was found, and who did not answer.
#[derive(Clone, Debug, Default)]
pub struct Found<T> {
    /// What this node and the peers have.
    pub value: T,
    /// Peers that did not answer, by name.
    pub silent: Vec<Arc<str>>,
}

impl Relay {
    /// The sockets of a target, by id.
    pub async fn sockets(&self, node: &Node, target: Target) -> Found<Vec<SocketInfo>> {
        let question = Question::Sockets(target.clone());
        let (mut value, (theirs, silent)) = self.both(node.hub.sockets(target), &question).await;
        value.extend(theirs.into_iter().flatten());
        value.sort_by(|a, b| (&a.id, &a.namespace).cmp(&(&b.id, &b.namespace)));
        Found { value, silent }
    }

    /// How many sockets a target has, and at least the first `limit` of them, by id, after `after`;
    /// all that there are, if fewer.
    pub async fn sockets_page(
        &self,
        node: &Node,
        target: Target,
        after: Option<String>,
        limit: usize,
    ) -> Found<(usize, Vec<SocketInfo>)> {
        let question = Question::Page {
            target: target.clone(),
            after: after.clone(),
            limit,
        };
        let here = node.hub.sockets_page(target, after, limit);
        let ((mut count, mut sockets), (theirs, silent)) = self.both(here, &question).await;
        for (more, page) in theirs {
            count += more;
            sockets.extend(page);
        }
        sockets.sort_by(|a, b| a.id.cmp(&b.id));
        Found {
            value: (count, sockets),
            silent,
        }
    }

    /// The rooms of a namespace and how many sockets are in each, by name.
    pub async fn rooms(&self, node: &Node, namespace: &str) -> Found<BTreeMap<Arc<str>, usize>> {
        let question = Question::Rooms {
            namespace: namespace.to_owned(),
        };
        let (mut value, (theirs, silent)) = self.both(node.hub.rooms(namespace), &question).await;
        for rooms in theirs {
            add_rooms(&mut value, rooms);
        }
        Found { value, silent }
    }

    /// Does something with the sockets of a target; returns how many there were. Where rooms were
    /// joined, what is emitted anywhere afterwards reaches the new members.
    pub async fn act(&self, node: &Node, target: Target, act: Act) -> Found<usize> {
        let question = Question::Act {
            target: target.clone(),
            act: act.clone(),
        };
        let here = async {
            let count = node.hub.act(target, act).await;
            self.known().await;
            count
        };
        let (mut value, (theirs, silent)) = self.both(here, &question).await;
        value += theirs.into_iter().sum::<usize>();
        Found { value, silent }
    }

    /// Sends an event to the handlers of all other nodes; returns what they answered.
    pub async fn server_event(
        &self,
        event: &str,
        args: Vec<Box<RawValue>>,
    ) -> Found<Vec<Box<RawValue>>> {
        let question = Question::ServerEvent {
            event: event.to_owned(),
            args,
        };
        // A handler does not send to itself.
        let here = std::future::ready(None::<Box<RawValue>>);
        let (_, (theirs, silent)) = self.both(here, &question).await;
        Found {
            value: theirs.into_iter().flatten().collect(),
            silent,
        }
    }

    /// This node's answer and the peers'.
    pub(super) async fn both<T: DeserializeOwned>(
        &self,
        here: impl Future<Output = T>,
        question: &Question,
    ) -> (T, (Vec<T>, Vec<Arc<str>>)) {
        let there = async {
            match self.cluster() {
                Some(cluster) => ask_every(cluster, question).await,
                None => (Vec::new(), Vec::new()),
            }
        };
        tokio::join!(here, there)
    }
}
