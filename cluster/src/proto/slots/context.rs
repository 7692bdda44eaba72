//! What the machines of all slots share: who is there, what is to be done, what waits for the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::rules::Rules;
use super::{Action, Eid, Message, NodeId, Now, Settings, SlotNo, Token, Write};
use crate::proto::room::finish;

/// What a node takes the cluster for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes that are seen alive, whatever they do.
    pub alive: BTreeSet<NodeId>,
    /// Those of them that are ready to hold slots; this node too if it is.
    pub ready: BTreeSet<NodeId>,
    /// Which start of each node is alive, this node too.
    pub boots: BTreeMap<NodeId, u64>,
}

/// What happens when something is on the disk.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// A message may go.
    Send(NodeId, SlotNo, Box<Message>),
    /// The owner has stored its log up to here.
    Flushed(SlotNo, Eid, u64),
    /// The opener has stored its basis.
    Adopted(SlotNo, Eid),
}

/// Time is passed every 100 ms: before so long a step the process was stopped, or had no processor.
const STOPPED_MS: u64 = 1000;
/// How long a node that was stopped opens nothing without a quorum: it must hear of the others again.
const PATIENCE_MS: u64 = 3000;

#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) id: NodeId,
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    pub(super) now: Now,
    /// When this node last went on after it had been stopped.
    resumed_ms: Option<u64>,
    /// For how long it waits for the others.
    patience_ms: u64,
    pub(super) view: View,
    /// By slot: ready nodes in the order in which they are to hold it.
    orders: Vec<Vec<NodeId>>,
    /// How many nodes are alive, this one too.
    pub(super) alive: u64,
    /// Ids that were ever ready, less those that left or were forgotten.
    pub(super) roster: BTreeSet<NodeId>,
    /// Ids that must never be heard again.
    pub(super) forgotten: BTreeSet<NodeId>,
    pub(super) actions: Vec<Action>,
    /// Slots that this node has opened just now.
    pub(super) opened: Vec<SlotNo>,
    /// What this node says to itself.
    pub(super) local: VecDeque<(SlotNo, Message)>,
    waiting: BTreeMap<Token, Then>,
    last_token: u64,
    random: u64,
}

impl Context {
    pub(super) fn new(id: NodeId, settings: Settings, rules: Rules, seed: u64) -> Self {
        Self {
            id,
            settings,
            rules,
            now: Now::default(),
            resumed_ms: None,
            patience_ms: 0,
            view: View::default(),
            orders: Vec::new(),
            alive: 1,
            roster: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            actions: Vec::new(),
            opened: Vec::new(),
            local: VecDeque::new(),
            waiting: BTreeMap::new(),
            last_token: 0,
            random: seed,
        }
    }

    /// It is later now. Patience is a matter of time in which this node ran: it is not used up by
    /// another stop, nor drawn out by many. A node that saw no quorum before has nobody to wait for.
    pub(super) fn pass(&mut self, now: Now) {
        let is_first = self.now == Now::default();
        let step_ms = now.ms.saturating_sub(self.now.ms);
        self.now = now;
        if is_first {
            return;
        }
        if step_ms < STOPPED_MS {
            self.patience_ms = self.patience_ms.saturating_sub(step_ms);
            return;
        }
        self.resumed_ms = Some(now.ms);
        if self.alive > self.size() / 2 {
            self.patience_ms = PATIENCE_MS;
        }
    }

    /// Whether this node may take others for dead of whom it has only not heard again since it was
    /// stopped.
    pub(super) fn is_patient(&self) -> bool {
        self.patience_ms > 0
    }

    /// Whether this node was stopped since then.
    pub(super) fn was_stopped_since(&self, ms: u64) -> bool {
        self.resumed_ms.is_some_and(|resumed_ms| resumed_ms > ms)
    }

    /// How many nodes the cluster has: `n`.
    pub(super) fn size(&self) -> u64 {
        self.settings.size.max(self.roster.len() as u64)
    }

    pub(super) fn send(&mut self, to: NodeId, slot: SlotNo, message: Message) {
        if to == self.id {
            self.local.push_back((slot, message));
        } else {
            self.actions.push(Action::Send { to, slot, message });
        }
    }

    /// Sends when what has been written is on the disk.
    pub(super) fn send_stored(&mut self, to: NodeId, slot: SlotNo, message: Message) -> Then {
        Then::Send(to, slot, Box::new(message))
    }

    /// Stores changes of a log; `then` happens once they, and all before them, are flushed.
    pub(super) fn store(&mut self, slot: SlotNo, writes: Vec<Write>, then: Option<Then>) {
        let token = then.map(|then| self.wait(then));
        if token.is_some() || !writes.is_empty() {
            self.actions.push(Action::Store {
                slot,
                writes,
                token,
            });
        }
    }

    pub(super) fn wait(&mut self, then: Then) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.waiting.insert(token, then);
        token
    }

    pub(super) fn take(&mut self, token: Token) -> Option<Then> {
        self.waiting.remove(&token)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        finish(self.random)
    }

    /// Whether a node is there and one of the cluster.
    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        node == self.id || (self.view.alive.contains(&node) && !self.forgotten.contains(&node))
    }

    /// Whether a start of a node is there.
    pub(super) fn is_home_alive(&self, node: NodeId, boot: u64) -> bool {
        self.is_alive(node) && self.view.boots.get(&node) == Some(&boot)
    }

    /// Takes the cluster for this from now on.
    pub(super) fn look(&mut self, view: View) {
        if view != self.view {
            self.view = view;
            self.count();
        }
    }

    /// Works out what would be too much to work out at every tick.
    pub(super) fn count(&mut self) {
        let others = self.view.alive.iter().filter(|node| **node != self.id);
        self.alive = 1 + others.filter(|node| self.is_alive(**node)).count() as u64;
        let ready = self.view.ready.iter().copied();
        let ready: Vec<NodeId> = ready.filter(|node| self.is_alive(*node)).collect();
        let slots = (0..self.settings.slots).map(|slot| slot as SlotNo);
        let orders = slots.map(|slot| super::rendezvous(slot, ready.iter().copied()));
        self.orders = orders.collect();
    }

    /// Ready nodes in the order in which they are to hold a slot.
    pub(super) fn order(&self, slot: SlotNo) -> &[NodeId] {
        self.orders
            .get(usize::from(slot))
            .map_or(&[], |order| order)
    }
}
