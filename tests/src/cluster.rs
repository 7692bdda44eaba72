//! Several Tidings daemons that are one cluster: started together, killed, stopped, started again
//! by name.
//!
//! ```no_run
//! # async fn f() {
//! use tidings_tests::Cluster;
//!
//! let mut cluster = Cluster::of(["a", "b", "c"]).start().await;
//! let mut alice = cluster["b"].guest("alice").await;
//! cluster["c"].kill9();
//! # }
//! ```

use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::netns::Network;
use crate::{Node, PATIENCE, RunningNode, SioClient, port};

/// The port of every node that has an address to itself.
const PORT: u16 = 7946;

/// How long the slots may need to find owners and copies; a debug build on a busy machine is slow.
const OWNED: Duration = Duration::from_secs(60);

/// What every node's clients can subscribe to: `subscribe:news {topic}` joins the live room
/// `news:TOPIC`.
const NEWS: &str = "[channels.news]\nrooms = [\"news:{topic}\"]\n";

/// A cluster to be: its nodes, and what all of them are told.
pub struct Cluster {
    /// In the order of their start.
    nodes: Vec<(&'static str, Node)>,
    /// The text of the key that they share.
    key: String,
}

/// A running cluster. Its nodes are found by name, `cluster["a"]`.
pub struct RunningCluster {
    nodes: Vec<(&'static str, RunningNode)>,
    key: String,
}

impl Cluster {
    /// Nodes of these names, on loopback.
    pub fn of<const N: usize>(names: [&'static str; N]) -> Cluster {
        let key = new_key();
        let node = |name| (name, member(name, &key).config("cluster.size", N));
        Cluster {
            nodes: names.map(node).into(),
            key,
        }
    }

    /// Puts each node into a namespace of a network, in order.
    pub fn on(mut self, network: &Network) -> Cluster {
        for (place, (_, node)) in self.nodes.iter_mut().enumerate() {
            let old = std::mem::take(node);
            let address = network.address(place);
            *node = old
                .within(network.namespace(place))
                .config("listen.public", format!("{address}:0"))
                .config("listen.private", format!("{address}:0"))
                .config("listen.insecure_private", true)
                .config("cluster.listen", format!("{address}:{PORT}"));
        }
        self
    }

    /// Sets a key of the configuration file of every node.
    pub fn config(mut self, key: &str, value: impl Into<Value>) -> Cluster {
        let value = value.into();
        for (_, node) in &mut self.nodes {
            *node = std::mem::take(node).config(key, value.clone());
        }
        self
    }

    /// Appends tables to the configuration file of every node.
    pub fn tables(mut self, toml: &str) -> Cluster {
        for (_, node) in &mut self.nodes {
            *node = std::mem::take(node).tables(toml);
        }
        self
    }

    /// Lets each node be reached by the others elsewhere than where it listens.
    pub fn reached_at(mut self, addresses: &[String]) -> Cluster {
        for ((_, node), address) in self.nodes.iter_mut().zip(addresses) {
            *node = std::mem::take(node).config("cluster.advertise", address.clone());
        }
        self
    }

    /// Starts the first, then all others at once, and waits until all know each other.
    pub async fn start(self) -> RunningCluster {
        let mut nodes = self.nodes.into_iter();
        let (name, node) = nodes.next().expect("a cluster has a node");
        let first = node.start().await;
        let seed = first.cluster_address().to_owned();
        let others = nodes.map(|(name, node)| {
            let node = node.config("cluster.seeds", json!([seed]));
            async move { (name, node.start().await) }
        });
        let mut all = vec![(name, first)];
        all.extend(join_all(others).await);
        let addresses: Vec<String> = all
            .iter()
            .map(|(_, node)| node.cluster_address().to_owned())
            .collect();
        for (_, node) in &mut all {
            let own = node.cluster_address().to_owned();
            // One that listens on a port of the system's choice comes back on the same.
            if own.starts_with("127.") {
                node.reconfigure("cluster.listen", own);
            }
            // Itself it need not ask, and one alone has nobody to ask.
            let others = addresses
                .iter()
                .filter(|address| **address != node.cluster_address());
            let others: Vec<&String> = others.collect();
            node.reconfigure("cluster.seeds", json!(others));
        }
        let cluster = RunningCluster {
            nodes: all,
            key: self.key,
        };
        cluster.in_step().await;
        cluster
    }
}

impl RunningCluster {
    /// A further node of the cluster, to be configured and started.
    pub fn newcomer(&self, name: &str) -> Node {
        let addresses: Vec<&str> = self
            .nodes
            .iter()
            .map(|(_, node)| node.cluster_address())
            .collect();
        member(name, &self.key).config("cluster.seeds", json!(addresses))
    }

    /// A node that has started is one of the cluster's from here on.
    pub fn add(&mut self, name: &'static str, node: RunningNode) {
        self.nodes.push((name, node));
    }

    /// The text of the key that all had at the start.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Gives a node another key file for its next start.
    pub fn change_key(&mut self, name: &str, key: &str) {
        self[name].replace_file("cluster.key", key);
    }

    /// The names of all nodes.
    pub fn names(&self) -> Vec<&'static str> {
        self.nodes.iter().map(|(name, _)| *name).collect()
    }

    /// Waits until every node knows every other and their rooms; returns how long that took.
    pub async fn in_step(&self) -> Duration {
        self.in_step_without(&[]).await
    }

    /// The same of all nodes but some, which the others take for gone.
    pub async fn in_step_without(&self, gone: &[&str]) -> Duration {
        let begun = Instant::now();
        loop {
            let mut late = None;
            for (name, node) in self.nodes.iter().filter(|(name, _)| !gone.contains(name)) {
                let seen = node.cluster().await;
                if !self.is_in_step(name, &seen, gone) {
                    late = Some(seen);
                    break;
                }
            }
            let Some(late) = late else {
                return begun.elapsed();
            };
            assert!(
                begun.elapsed() < PATIENCE,
                "not in step within {PATIENCE:?}: {late:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a node takes a peer for gone, or there again; returns how long that took.
    pub async fn seen(&self, by: &str, peer: &str, alive: bool) -> Duration {
        let begun = Instant::now();
        while self[by].sees(peer).await["alive"] != json!(alive) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{by} does not see within {PATIENCE:?} that {peer} is alive: {alive}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    /// Waits until every slot has an owner that all these nodes agree on and that is one of them,
    /// with as many copies as there are to be; returns how long that took.
    pub async fn owned_by(&self, nodes: &[&str]) -> Duration {
        let begun = Instant::now();
        loop {
            let mut seen = Vec::new();
            for node in nodes {
                seen.push(self[*node].slots().await);
            }
            if is_owned(&seen, nodes) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < OWNED,
                "no owners and copies of all slots within {OWNED:?}: {:#?}",
                seen.iter().map(summary).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gives the nodes, which know each other, the time to agree on who counts what: it follows
    /// what is known of the others with the next rounds of gossip.
    pub async fn agreed(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn is_in_step(&self, name: &str, seen: &Value, gone: &[&str]) -> bool {
        let mut others = self
            .nodes
            .iter()
            .filter(|(other, _)| *other != name && !gone.contains(other));
        let none = Vec::new();
        let peers = seen["peers"].as_array().unwrap_or(&none);
        let alive = || peers.iter().filter(|peer| peer["alive"] == true);
        let is_known = |other: &str| {
            alive().any(|peer| {
                peer["name"] == other
                    && ["linked", "heard", "inStep"]
                        .iter()
                        .all(|key| peer[*key] == true)
                    && peer["state"] == "ready"
                    && peer["behind"] == 0
            })
        };
        let is_alone = |peer: &Value| gone.iter().all(|name| peer["name"] != **name);
        others.all(|(other, _)| is_known(other)) && alive().all(is_alone)
    }
}

impl Drop for RunningCluster {
    /// All drain at once: each waits for what the others still have to say to it.
    fn drop(&mut self) {
        for (_, node) in &self.nodes {
            node.dismiss();
        }
    }
}

impl Index<&str> for RunningCluster {
    type Output = RunningNode;

    fn index(&self, name: &str) -> &RunningNode {
        let found = self.nodes.iter().find(|(it, _)| *it == name);
        &found.unwrap_or_else(|| panic!("no node {name}")).1
    }
}

impl IndexMut<&str> for RunningCluster {
    fn index_mut(&mut self, name: &str) -> &mut RunningNode {
        let found = self.nodes.iter_mut().find(|(it, _)| *it == name);
        &mut found.unwrap_or_else(|| panic!("no node {name}")).1
    }
}

/// Whether these answers about slots, one of each node, agree on owners among the nodes.
fn is_owned(seen: &[Value], nodes: &[&str]) -> bool {
    let owners = |slots: &Value| {
        let slots = slots["slots"].as_array().expect("a list");
        let owner = |slot: &Value| (slot["ownerName"].clone(), slot["epoch"].clone());
        slots.iter().map(owner).collect::<Vec<_>>()
    };
    let first = owners(&seen[0]);
    seen.iter()
        .all(|slots| slots["figures"]["underCopiedSlots"] == 0.0 && owners(slots) == first)
        && first
            .iter()
            .all(|(name, _)| nodes.iter().any(|node| name == node))
}

/// How many slots each node owns, and the figures.
fn summary(slots: &Value) -> Value {
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for slot in slots["slots"].as_array().into_iter().flatten() {
        *counts.entry(slot["ownerName"].to_string()).or_default() += 1;
    }
    json!({"owners": counts, "figures": slots["figures"]})
}

impl RunningNode {
    /// Who owns which slot of recoverable rooms, as this node sees it.
    pub async fn slots(&self) -> Value {
        let (status, slots) = self.api("GET", "/api/v1/cluster/slots", Value::Null).await;
        assert_eq!(status, 200, "{slots}");
        slots
    }

    /// The cluster as this node sees it.
    pub async fn cluster(&self) -> Value {
        let (status, seen) = self.api("GET", "/api/v1/cluster", Value::Null).await;
        assert_eq!(status, 200, "{seen}");
        seen
    }

    /// A peer as this node sees it: the latest start that is known; `null` if there is none.
    pub async fn sees(&self, peer: &str) -> Value {
        let seen = self.cluster().await;
        let peers = seen["peers"].as_array().cloned().unwrap_or_default();
        let of_it = peers.into_iter().filter(|it| it["name"] == peer);
        let latest = of_it.max_by_key(|it| it["generation"].as_u64());
        latest.unwrap_or_default()
    }

    /// A client of a node that takes everybody at their word.
    pub async fn guest(&self, user: &str) -> SioClient {
        let connecting = self.client().auth(json!({"userId": user}));
        connecting.connect().await.expect("anybody may connect")
    }

    /// The same, subscribed to `news:TOPIC`.
    pub async fn reader(&self, user: &str, topic: &str) -> SioClient {
        let mut client = self.guest(user).await;
        client.read(topic).await;
        client
    }
}

impl SioClient {
    /// Subscribes to `news:TOPIC`.
    pub async fn read(&mut self, topic: &str) {
        let answer = self.ask("subscribe:news", json!({"topic": topic})).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
}

/// The text of a new key.
pub fn new_key() -> String {
    let (status, key, error) = Node::new().command(&["cluster", "key"], "");
    assert!(status.success(), "{error}");
    key
}

/// A node of a cluster on loopback, which takes clients at their word and limits nobody.
pub fn member(name: &str, key: &str) -> Node {
    let node = Node::new();
    let key = node.file("cluster.key", key);
    node.config("node.name", name)
        .config("auth.mode", "none")
        .config("limits.events_per_minute_per_user", 0)
        .config("limits.subscriptions_per_user", 0)
        .config("cluster.key", key)
        .config("cluster.listen", port::address())
        .tables(NEWS)
}
