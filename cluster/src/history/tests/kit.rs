//! A disk in memory, and a node on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::relay::Relay;
use crate::history::{
    Counts, Done, History, HistoryConfig, Keep, KeepError, Refused, Told, slot_by_name,
};
use crate::proto::slots::rows::{Changes, decode_roster, load};
use crate::proto::slots::{Body, Entry, Limits, LimitsOf, NodeId, SlotNo};
use crate::{
    Application, BoxFuture, Carried, Change, Cluster, ClusterKey, Config, Peer, StartError,
};

/// What a disk holds.
#[derive(Debug, Default)]
struct Rows {
    entries: BTreeMap<(SlotNo, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    table: Option<Arc<[u8]>>,
    roster: Option<Arc<[u8]>>,
}

/// A disk that can be slow and can fail.
#[derive(Debug, Default)]
pub(super) struct Memory {
    rows: Mutex<Rows>,
    pub(super) fails: AtomicBool,
    pub(super) delay_us: AtomicU64,
    pub(super) stores: AtomicU64,
}

impl Memory {
    async fn write(&self, write: impl FnOnce(&mut Rows) + Send) -> Result<(), KeepError> {
        let delay = self.delay_us.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        if self.fails.load(Relaxed) {
            return Err(KeepError("the disk is full".into()));
        }
        write(&mut self.rows.lock().unwrap());
        Ok(())
    }
}

impl Keep for Memory {
    fn store(&self, changes: Arc<Changes>) -> BoxFuture<'_, Result<(), KeepError>> {
        self.stores.fetch_add(1, Relaxed);
        Box::pin(self.write(move |rows| {
            for (key, row) in &changes.entries {
                match row {
                    Some(row) => drop(rows.entries.insert(*key, row.clone())),
                    None => drop(rows.entries.remove(key)),
                }
            }
            for (key, value) in &changes.state {
                match value {
                    Some(value) => drop(rows.state.insert(key.clone(), value.clone())),
                    None => drop(rows.state.remove(key)),
                }
            }
        }))
    }

    fn sync(&self, table: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(self.write(move |rows| rows.table = Some(table)))
    }

    fn roster(&self, roster: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(self.write(move |rows| rows.roster = Some(roster)))
    }
}

/// Takes nothing but what is about recoverable rooms.
struct Deaf;

impl Application for Deaf {
    fn deliver<'a>(&'a self, _from: &'a Peer, _frames: Vec<Bytes>) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn answer<'a>(&'a self, _from: &'a Peer, _question: Bytes) -> BoxFuture<'a, Bytes> {
        Box::pin(async { Bytes::new() })
    }

    fn carry<'a>(&'a self, _: &'a Peer, _: Bytes, _: Carried) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn changed(&self, _change: Change) {}
}

/// Three nodes that own all slots among them, with two copies of each.
pub(super) struct Three {
    pub(super) key: String,
    pub(super) hosts: Vec<Host>,
    pub(super) nodes: Vec<Node>,
}

impl Three {
    pub(super) async fn start(size: u64) -> Self {
        let hosts = (1..=3).map(|id| Host::new(id, size));
        Self::start_on(hosts.collect()).await
    }

    /// As [`Three::start`], with networks that can be cut.
    pub(super) async fn start_behind_relays(size: u64) -> Self {
        let mut hosts = Vec::new();
        for id in 1..=3 {
            hosts.push(Host::new(id, size).behind_relay().await);
        }
        Self::start_on(hosts).await
    }

    async fn start_on(hosts: Vec<Host>) -> Self {
        let key = ClusterKey::generate().unwrap();
        let nodes = Vec::new();
        let mut three = Self { key, hosts, nodes };
        for at in 0..3 {
            let seeds: Vec<SocketAddr> = three.hosts[..at].iter().map(Host::address).collect();
            let node = three.hosts[at].join(&three.key, &seeds).await;
            three.nodes.push(node);
        }
        three.settle(3).await;
        three
    }

    /// Kills all nodes, and starts them again on their disks.
    pub(super) async fn start_again(&mut self) {
        self.nodes.clear();
        let seeds: Vec<SocketAddr> = self.hosts.iter().map(Host::address).collect();
        for host in &mut self.hosts {
            let others: Vec<_> = seeds
                .iter()
                .copied()
                .filter(|it| *it != host.address())
                .collect();
            let node = host.join(&self.key, &others).await;
            self.nodes.push(node);
        }
        self.settle(3).await;
    }

    /// Waits until every slot has an owner of which a quorum knows, and a follower, and so many
    /// nodes have their share.
    pub(super) async fn settle(&self, share: usize) {
        let began = Instant::now();
        loop {
            let counts: Vec<Counts> = self.nodes.iter().map(|it| it.history.counts()).collect();
            let owned: u64 = counts.iter().map(|it| it.owned).sum();
            // A share may be smaller than another, but none is none.
            let ready = counts.iter().filter(|it| it.owned > 40).count();
            if owned == 256 && ready >= share && counts.iter().all(|it| it.under_copied == 0) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{counts:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Which node owns a slot, as the first one knows it.
    pub(super) async fn owner(&self, slot: SlotNo) -> usize {
        let status = self.nodes[0].history.status().await;
        let owner = status[usize::from(slot)].owner.clone().expect("an owner");
        let mut hosts = self.hosts.iter();
        hosts
            .position(|host| host.id == owner.0)
            .expect("one of them")
    }

    /// Cuts a node off from the others.
    pub(super) fn cut_off(&self, at: usize) {
        let relay = |host: &Host| host.relay.clone().expect("a relay");
        for other in self.hosts.iter().filter(|it| it.id != self.hosts[at].id) {
            relay(other).cut(self.hosts[at].listens);
            relay(&self.hosts[at]).cut(other.listens);
        }
    }

    /// Joins all again.
    pub(super) fn heal(&self) {
        let relays = self.hosts.iter().filter_map(|host| host.relay.as_ref());
        relays.for_each(|relay| relay.heal());
    }

    /// Kills a node; returns the others.
    pub(super) fn kill(&mut self, at: usize) {
        drop(self.nodes.remove(at));
        self.hosts.remove(at);
    }
}

/// What lasts of a node.
pub(super) struct Host {
    pub(super) id: NodeId,
    boot: u64,
    pub(super) size: u64,
    /// The machine lost power since the last start.
    pub(super) is_unclean: bool,
    pub(super) disk: Arc<Memory>,
    /// Where it listens, once it has.
    listens: SocketAddr,
    /// The network in front of it, if that can be cut.
    relay: Option<Arc<Relay>>,
}

impl Host {
    pub(super) fn new(id: u64, size: u64) -> Self {
        Self {
            id: NodeId(id),
            boot: 1_800_000_000_000,
            size,
            is_unclean: false,
            disk: Arc::default(),
            listens: ([127, 0, 0, 1], 0).into(),
            relay: None,
        }
    }

    /// Starts as one of a cluster, on a runtime of its own, and waits until it is ready.
    pub(super) async fn join(&mut self, key: &str, seeds: &[SocketAddr]) -> Node {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let config = Config {
            cluster: "test".into(),
            node: format!("node{}", self.id.0).into(),
            generation: self.boot + 1,
            version: String::new(),
            listen: self.listens,
            advertise: self.address(),
            key: ClusterKey::from_pem(key).unwrap(),
            seeds: seeds.iter().map(SocketAddr::to_string).collect(),
            linger: Duration::from_secs(1),
            queue: 1 << 20,
        };
        let cluster = loop {
            let started = runtime.spawn(Cluster::start(config.clone(), Arc::new(Deaf)));
            match started.await.unwrap() {
                // One that was killed a moment ago may still hold the socket.
                Err(StartError::Bind { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => break started.unwrap(),
            }
        };
        if self.relay.is_none() {
            self.listens = cluster.address();
        }
        let entered = runtime.enter();
        let mut node = self.start(Some(cluster.clone()));
        drop(entered);
        node.runtime = Some(runtime);
        cluster.ready().await;
        node.cluster = Some(cluster);
        node
    }

    /// Where others reach it.
    pub(super) fn address(&self) -> SocketAddr {
        let relay = self.relay.as_ref();
        relay.map_or(self.listens, |relay| relay.address())
    }

    /// Puts a network that can be cut in front of it.
    async fn behind_relay(mut self) -> Self {
        let free = std::net::UdpSocket::bind(self.listens).unwrap();
        self.listens = free.local_addr().unwrap();
        self.relay = Some(Relay::start(self.listens).await);
        self
    }

    /// The roster and the forgotten ids as they are stored.
    pub(super) fn stored_roster(&self) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        let rows = self.disk.rows.lock().unwrap();
        decode_roster(rows.roster.as_deref().unwrap_or_default()).unwrap()
    }

    /// Starts from what the disk has.
    pub(super) fn start(&mut self, cluster: Option<Cluster>) -> Node {
        self.boot += 1;
        let rows = self.disk.rows.lock().unwrap();
        let entries = rows.entries.iter();
        let entries = entries.map(|((slot, seq), row)| (*slot, *seq, row.clone()));
        let stored = load(entries, rows.state.clone(), rows.table.as_deref()).unwrap();
        let roster = rows.roster.as_deref();
        let (roster, forgotten) =
            roster.map_or_else(Default::default, |roster| decode_roster(roster).unwrap());
        drop(rows);
        let config = HistoryConfig {
            node: self.id,
            boot: self.boot,
            size: self.size,
            window: Duration::from_secs(60),
            limits: Limits {
                known_ms: 60_000,
                marks: 1000,
                memory: u64::MAX,
            },
            limits_of: LimitsOf::default(),
            stored,
            roster,
            forgotten,
            unclean: std::mem::take(&mut self.is_unclean),
            seed: self.id.0 * 1000 + self.boot,
            slot_of: slot_by_name(),
        };
        let (history, told) = History::start(config, self.disk.clone(), cluster);
        Node {
            history,
            told,
            boot: self.boot,
            cluster: None,
            runtime: None,
        }
    }
}

/// A process.
pub(super) struct Node {
    pub(super) history: History,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) boot: u64,
    pub(super) cluster: Option<Cluster>,
    runtime: Option<Runtime>,
}

impl Drop for Node {
    /// Nobody is told: it is as if the process was killed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    /// Waits until it is so.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Counts) -> bool) {
        let began = Instant::now();
        while !is_so(&self.history.counts()) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what}: {:?}",
                self.history.counts()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Emits, again with the same id while nobody is there.
    pub(super) async fn emit(&self, room: &str, id: &str) -> Done {
        for _ in 0..5 {
            match self.try_emit(room, id).await {
                Ok(done) => return done,
                Err(Refused::Unavailable) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let (failing, counts) = (self.history.is_failing(), self.history.counts());
        panic!("no owner: {failing:?} {counts:?}")
    }

    pub(super) async fn try_emit(&self, room: &str, id: &str) -> Result<Done, Refused> {
        let (room, id) = (bytes(room), bytes(id));
        let submitted = self.history.submit(room, id.clone(), id).await;
        submitted.await.map_err(|_| Refused::Closed)?
    }

    /// The payloads of the next so many entries.
    pub(super) async fn heard(&mut self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let told = tokio::time::timeout(Duration::from_secs(10), self.told.recv());
            match told.await.expect("in time").expect("the driver runs") {
                Told::Deliver { entries, .. } => heard.extend(entries.iter().map(|it| text(it))),
                Told::Cut { room, .. } => panic!("{room:?} is cut"),
                _ => {}
            }
        }
        heard
    }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An entry's payload.
pub(super) fn text(entry: &Entry) -> String {
    match &entry.body {
        Body::Event { payload, .. } => {
            String::from_utf8_lossy(payload.as_ref().map_or(b"", |it| &it[..])).into_owned()
        }
        Body::Record { .. } => String::new(),
    }
}
