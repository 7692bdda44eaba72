//! What gossip says of the others, for the core; and what it tells of this node.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState,
    spawn_chitchat,
};

use crate::{
    StartError,
    gossip::Links,
    net::Core,
    proto::{
        Gossiped, Lifecycle, Mark,
        slots::{Eid, NodeId, SlotNo},
    },
};

/// How often a node gossips: most of what a node with nothing to do costs. With the threshold below,
/// the death of a node is noticed within 2 s.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);
/// How long a pause between two signs of life may be and still count as one: after a longer one the
/// node was stopped or cut off, which says nothing of how it usually is.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How unlikely a silence must be before a node counts as dead (phi accrual).
const PHI: f64 = 8.0;
/// How often gossip's view is looked at if it does not say that it changed.
const LOOK: Duration = Duration::from_secs(1);
/// How long the dead are remembered.
const REMEMBER: Duration = Duration::from_secs(600);

const STATE: &str = "state";
/// The state of a node that has left.
const LEFT: &str = "left";
const VERSION: &str = "version";
const INTEREST: &str = "interest";
const LOAD: &str = "load";
const ID: &str = "id";
const BOOT: &str = "boot";
const HOLDS: &str = "holds";
/// One key per owned slot, removed when it is closed; its value is the epoch.
const SLOT: &str = "slot/";
/// One key per id that is not to be heard again.
const FORGOTTEN: &str = "forgotten/";
const YES: &str = "yes";

/// What gossip tells of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) lifecycle: Lifecycle,
    /// It is about to stop: nobody need wait for its silence.
    pub(crate) left: bool,
    pub(crate) mark: Option<Mark>,
    /// Connections of clients.
    pub(crate) load: usize,
    /// Its recoverable rooms, if it has any.
    pub(crate) history: Option<Arc<Holding>>,
}

/// Whether a node is to hold slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It is.
    Yes,
    /// It is not, but it can answer for what it has.
    #[default]
    No,
    /// Its disk fails: it cannot.
    Fails,
}

impl Holds {
    fn name(self) -> &'static str {
        match self {
            Self::Yes => YES,
            Self::No => "no",
            Self::Fails => "fails",
        }
    }

    fn from_name(name: &str) -> Self {
        let mut all = [Self::Yes, Self::Fails].into_iter();
        all.find(|it| it.name() == name).unwrap_or_default()
    }
}

/// What gossip tells of a node's recoverable rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Its id, which is kept with its data.
    pub(crate) id: NodeId,
    /// Which start with this id: see `HistoryConfig`.
    pub(crate) boot: u64,
    /// Whether it is to hold slots.
    pub(crate) holds: Holds,
    /// Which slots it owns.
    pub(crate) claims: BTreeMap<SlotNo, Eid>,
    /// Ids that it will not hear again.
    pub(crate) forgotten: BTreeSet<NodeId>,
}

/// A live peer's recoverable rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: Arc<str>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) holding: Holding,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            lifecycle: Lifecycle::Joining,
            left: false,
            mark: None,
            load: 0,
            history: None,
        }
    }
}

/// What gossip tells of a peer beyond what the core needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) version: String,
    pub(crate) load: usize,
}

/// Starts to gossip.
pub(crate) async fn start(core: &Arc<Core>, links: Links) -> Result<ChitchatHandle, StartError> {
    let config = &core.config;
    let id = ChitchatId::new(&*config.node, config.generation, config.advertise);
    let config = ChitchatConfig {
        chitchat_id: id,
        cluster_id: config.cluster.clone(),
        gossip_interval: INTERVAL,
        listen_addr: config.listen,
        seed_nodes: config.seeds.clone(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: PHI,
            // What is supposed before there is experience; from chitchat's own 5 s, the death of a
            // node that came a minute ago would be noticed after many seconds.
            initial_interval: INTERVAL,
            max_interval: LONGEST_PAUSE,
            dead_node_grace_period: REMEMBER,
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: REMEMBER,
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let keys = vec![(VERSION.to_owned(), core.config.version.clone())];
    spawn_chitchat(config, keys, &links)
        .await
        .map_err(|error| StartError::Gossip(error.to_string()))
}

/// Looks at gossip's view and tells it of changes, until the cluster stops.
pub(crate) async fn run(core: Arc<Core>, gossip: Arc<ChitchatHandle>) {
    let mut look = tokio::time::interval(LOOK);
    let live = gossip.with_chitchat(|chitchat| chitchat.live_nodes_watcher());
    let mut live = live.await;
    let mut own = core.own.subscribe();
    own.mark_changed();
    let (mut last, mut told) = (Vec::new(), None);
    loop {
        // All are cancel-safe: what is not noticed now is noticed at the next turn.
        let changed = tokio::select! {
            _ = look.tick() => true,
            changed = live.changed() => {
                if changed.is_err() {
                    return tracing::error!("gossip has ended");
                }
                true
            }
            changed = own.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = own.borrow_and_update().clone();
                gossip.with_chitchat(|chitchat| tell(chitchat.self_node_state(), &now, &mut told)).await;
                false
            }
            () = core.stop.cancelled() => return,
        };
        if !changed {
            continue;
        }
        let seen = gossip.with_chitchat(|chitchat| all(chitchat)).await;
        if seen != last {
            last.clone_from(&seen);
            let random = crate::net::random();
            core.decide(|node, now| node.gossip(seen, now, random));
        }
        if core.history.borrow().is_some() {
            let holders = holders(&core, &gossip).await;
            core.holders.send_if_modified(|known| {
                let is_new = **known != holders;
                if is_new {
                    *known = Arc::new(holders);
                }
                is_new
            });
        }
    }
}

/// Everybody else whom gossip knows.
fn all(chitchat: &Chitchat) -> Vec<Gossiped> {
    let live: HashSet<ChitchatId> = chitchat.live_nodes().cloned().collect();
    let own = chitchat.self_chitchat_id();
    let others = chitchat.node_states().iter().filter(|(id, _)| *id != own);
    others
        .map(|(id, state)| seen(id, state, live.contains(id)))
        .collect()
}

/// What gossip has of a peer, by its name.
pub(crate) async fn told(gossip: &ChitchatHandle) -> Vec<(Arc<str>, u64, Told)> {
    let look = |id: &ChitchatId, state: &NodeState| {
        let told = Told {
            version: state.get(VERSION).unwrap_or_default().to_owned(),
            load: state
                .get(LOAD)
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        };
        (id.node_id.clone(), id.generation_id, told)
    };
    let all = gossip.with_chitchat(|chitchat| {
        let states = chitchat.node_states().iter();
        states.map(|(id, state)| look(id, state)).collect()
    });
    all.await
}

/// The recoverable rooms of all that the core takes for peers.
async fn holders(core: &Core, gossip: &ChitchatHandle) -> Vec<Holder> {
    let peers = core.node().peers();
    let look = |id: &ChitchatId, state: &NodeState| {
        let mut peers = peers.iter().filter(|peer| peer.alive);
        let peer = peers.find(|it| it.name == id.node_id && it.generation == id.generation_id)?;
        Some(Holder {
            name: peer.name.clone(),
            lifecycle: peer.lifecycle,
            holding: holding(state)?,
        })
    };
    let all = gossip.with_chitchat(|chitchat| {
        let states = chitchat.node_states().iter();
        let mut all: Vec<Holder> = states.filter_map(|(id, state)| look(id, state)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    });
    all.await
}

/// Reads what [`tell_holding`] has said.
fn holding(state: &NodeState) -> Option<Holding> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let claim = |(key, value): (&str, &str)| {
        let slot = SlotNo::from_str_radix(key.strip_prefix(SLOT)?, 16).ok()?;
        let (counter, random) = value.split_once(':')?;
        let (counter, random) = (counter.parse().ok()?, hex(random)?);
        Some((slot, Eid { counter, random }))
    };
    let forgotten = |(key, _): (&str, &str)| Some(NodeId(hex(key.strip_prefix(FORGOTTEN)?)?));
    Some(Holding {
        id: NodeId(hex(state.get(ID)?)?),
        boot: state.get(BOOT)?.parse().ok()?,
        holds: state.get(HOLDS).map(Holds::from_name).unwrap_or_default(),
        claims: state.key_values().filter_map(claim).collect(),
        forgotten: state.key_values().filter_map(forgotten).collect(),
    })
}

fn tell_holding(state: &mut NodeState, own: &Holding) {
    state.set(BOOT, own.boot);
    state.set(HOLDS, own.holds.name());
    for id in &own.forgotten {
        state.set(format!("{FORGOTTEN}{:016x}", id.0), YES);
    }
    for slot in 0..=SlotNo::MAX {
        let key = format!("{SLOT}{slot:02x}");
        match own.claims.get(&slot) {
            Some(eid) => state.set(key, format!("{}:{:016x}", eid.counter, eid.random)),
            None if state.contains_key(&key) => state.delete(&key),
            None => {}
        }
    }
    state.set(ID, format!("{:016x}", own.id.0));
}

fn tell(state: &mut NodeState, own: &Own, told: &mut Option<Arc<Holding>>) {
    // Setting a key to what it has changes nothing.
    let word = if own.left { LEFT } else { own.lifecycle.name() };
    state.set(STATE, word);
    if let Some(mark) = own.mark {
        state.set(INTEREST, format!("{}:{:016x}", mark.seq, mark.digest));
    }
    state.set(LOAD, own.load);
    if let Some(history) = &own.history
        && told.as_ref().is_none_or(|told| !Arc::ptr_eq(told, history))
    {
        tell_holding(state, history);
        *told = Some(history.clone());
    } else if own.history.is_none() && told.take().is_some() {
        state.delete(ID);
    }
}

fn seen(id: &ChitchatId, state: &NodeState, alive: bool) -> Gossiped {
    Gossiped {
        name: id.node_id.clone(),
        generation: id.generation_id,
        address: id.gossip_advertise_addr,
        lifecycle: state
            .get(STATE)
            .and_then(Lifecycle::from_name)
            .unwrap_or(Lifecycle::Joining),
        alive: alive && state.get(STATE) != Some(LEFT),
        interest: state.get(INTEREST).and_then(mark),
    }
}

fn mark(text: &str) -> Option<Mark> {
    let (seq, digest) = text.split_once(':')?;
    Some(Mark {
        seq: seq.parse().ok()?,
        digest: u64::from_str_radix(digest, 16).ok()?,
    })
}
