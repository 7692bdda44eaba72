//! Whoever looks by the admin UI, on any node.

use serde_json::value::RawValue;

use super::{Relay, question::Question, room_key};
use crate::{
    hub::query::{Act, Target},
    node::Node,
};

impl Relay {
    /// Somebody looks: the sockets of all nodes, which tell what happens to them from here on.
    pub(crate) async fn watch(&self) -> Vec<Box<RawValue>> {
        let Some(watch) = self.node().and_then(|node| node.admin_ui.clone()) else {
            return Vec::new();
        };
        let (mut sockets, (theirs, _)) = self.both(watch.begin(), &Question::Watch).await;
        sockets.extend(theirs.into_iter().flatten());
        sockets
    }

    /// All who look, on any node, are shown anew what there is.
    pub(crate) async fn look_again(&self, node: &Node) {
        let here = self.look_again_here(node);
        self.both(here, &Question::LookAgain).await;
    }

    /// Those who look here are shown anew what there is.
    pub(super) async fn look_again_here(&self, node: &Node) {
        if let Some(watch) = node.admin_ui.clone() {
            node.hub
                .ask_all(move |state| state.look_again(&watch))
                .await;
        }
    }

    /// A peer is gone, and its sockets with it: nobody tells of them.
    pub(super) fn sockets_gone(&self) {
        let node = self.node().filter(|node| node.admin_ui.is_some());
        if let Some(node) = node {
            tokio::spawn(async move { node.relay.look_again_here(&node).await });
        }
    }

    /// Does something with sockets for an operator who awaits no answer.
    pub(crate) async fn act_everywhere(&self, target: Target, act: Act) {
        if let Some(node) = self.node() {
            let done = self.act(&node, target, act).await;
            if !done.silent.is_empty() {
                tracing::warn!(silent = ?done.silent, "not done on all nodes");
            }
        }
    }

    /// Whether a room has members, here or at a peer.
    pub(crate) fn is_wanted(&self, node: &Node, (namespace, room): (&str, &str)) -> bool {
        let number = node.hub.namespaces.find(namespace);
        let here = number.is_some_and(|number| node.hub.registry.shards(number, room) != 0);
        let key = room_key(namespace, room);
        here || self.cluster().is_some_and(|it| it.interested(&[key]) != 0)
    }
}
