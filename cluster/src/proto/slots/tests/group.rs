//! A few nodes with perfect disks and ways between them, for tests that look at one thing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::proto::slots::*;

pub(super) fn settings() -> Settings {
    Settings {
        slots: 2,
        size: 1,
        window_ms: 120_000,
        limits: Limits {
            known_ms: 120_000,
            marks: 1000,
            memory: u64::MAX,
        },
        limits_of: LimitsOf::default(),
        fetch_entries: 1000,
        fetch_bytes: 1 << 20,
    }
}

/// Nodes by id, and the time.
pub(super) struct Group {
    pub(super) nodes: BTreeMap<NodeId, Slots>,
    pub(super) ms: u64,
    /// What was not for the disk or for another node.
    pub(super) rest: BTreeMap<NodeId, Vec<Action>>,
    /// The largest message, and how many there were.
    pub(super) largest: usize,
    pub(super) messages: usize,
    /// Whether messages are measured.
    pub(super) measures: bool,
    /// Which messages do not arrive but are held: to whom, from whom, of which slot.
    pub(super) holds: fn(&Message) -> bool,
    pub(super) held: Vec<(NodeId, NodeId, SlotNo, Message)>,
    rid: u64,
}

impl Group {
    /// So many nodes, of which one owns each slot.
    pub(super) fn new(count: u64, settings: &Settings) -> Self {
        let mut group = Self {
            nodes: BTreeMap::new(),
            ms: 0,
            rest: BTreeMap::new(),
            largest: 0,
            messages: 0,
            measures: true,
            holds: |_| false,
            held: Vec::new(),
            rid: 0,
        };
        for id in 1..=count {
            let settings = Settings {
                size: count,
                ..settings.clone()
            };
            let node = Slots::new((NodeId(id), 1), settings, Vec::new(), false, id);
            group.nodes.insert(NodeId(id), node);
        }
        group.look();
        group.run(3000);
        group.rest.clear();
        group
    }

    /// All see each other, and are ready.
    pub(super) fn look(&mut self) {
        let all = self.nodes.keys().copied().collect();
        self.look_at(&all);
    }

    /// All see each other, and which are ready.
    pub(super) fn look_at(&mut self, ready: &BTreeSet<NodeId>) {
        let all: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        let view = View {
            alive: all.clone(),
            ready: ready.clone(),
            boots: all.iter().map(|id| (*id, 1)).collect(),
        };
        let now = self.now();
        for node in self.nodes.values_mut() {
            node.view(view.clone(), now);
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            ms: self.ms,
            wall_ms: self.ms,
        }
    }

    /// Time passes.
    pub(super) fn run(&mut self, ms: u64) {
        let until_ms = self.ms + ms;
        while self.ms < until_ms {
            self.ms += 100;
            let now = self.now();
            self.nodes.values_mut().for_each(|node| node.tick(now));
            self.settle();
        }
    }

    /// Does all that there is to do.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        loop {
            let nodes = self.nodes.iter_mut();
            let actions = nodes.flat_map(|(id, node)| {
                let actions = node.actions().into_iter();
                actions.map(|action| (*id, action)).collect::<Vec<_>>()
            });
            let actions: Vec<_> = actions.collect();
            if actions.is_empty() {
                return;
            }
            for (id, action) in actions {
                self.act(id, action, now);
            }
        }
    }

    fn act(&mut self, id: NodeId, action: Action, now: Now) {
        match action {
            Action::Send { to, slot, message } => {
                self.messages += 1;
                if self.measures {
                    self.largest = self.largest.max(message.encode(slot).len());
                }
                if (self.holds)(&message) {
                    self.held.push((to, id, slot, message));
                } else if let Some(node) = self.nodes.get_mut(&to) {
                    node.message(id, slot, message, now);
                }
            }
            Action::Store { token, .. } => {
                let node = self.nodes.get_mut(&id);
                if let (Some(node), Some(token)) = (node, token) {
                    node.persisted(token, now);
                }
            }
            Action::Sync { token, .. } => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.persisted(token, now);
                }
            }
            Action::Opened { slot, eid, .. } => self.claim(id, slot, Some(eid)),
            Action::Closed { slot, .. } => self.claim(id, slot, None),
            other => self.rest.entry(id).or_default().push(other),
        }
    }

    fn claim(&mut self, owner: NodeId, slot: SlotNo, eid: Option<Eid>) {
        for node in self.nodes.values_mut() {
            node.claimed(owner, slot, eid);
        }
    }

    /// Who owns a slot.
    pub(super) fn owner(&self, slot: SlotNo) -> Option<NodeId> {
        let open = |node: &Slots| node.peek(slot).open.is_some();
        let mut nodes = self.nodes.iter();
        nodes.find(|(_, node)| open(node)).map(|(id, _)| *id)
    }

    /// Asks at a node and waits for the answer.
    pub(super) fn ask(&mut self, at: NodeId, slot: SlotNo, request: Request) -> Answer {
        self.rid += 1;
        let (rid, now) = (self.rid, self.now());
        self.nodes
            .get_mut(&at)
            .unwrap()
            .ask(rid, slot, request, now);
        self.settle();
        for _ in 0..40 {
            let rest = self.rest.entry(at).or_default();
            let is_it = |it: &Action| matches!(it, Action::Answer { rid: of, .. } if *of == rid);
            if let Some(found) = rest.iter().position(is_it)
                && let Action::Answer { answer, .. } = rest.remove(found)
            {
                return answer;
            }
            self.run(100);
        }
        panic!("no answer");
    }

    /// Joins a room at a node; returns from where on it is fed.
    pub(super) fn join(&mut self, at: NodeId, slot: SlotNo, room: &str) -> Position {
        self.rid += 1;
        let (of, now) = (self.rid, self.now());
        let room = Bytes::copy_from_slice(room.as_bytes());
        let node = self.nodes.get_mut(&at).unwrap();
        node.join(of, slot, &room, now);
        self.settle();
        let rest = self.rest.get(&at).into_iter().flatten();
        let mut joined = rest.filter_map(|action| match action {
            Action::Joined { rid, at, .. } if *rid == of => Some(*at),
            _ => None,
        });
        joined.next().expect("a room is fed at once")
    }

    /// Appends an event at a node.
    pub(super) fn emit(&mut self, at: NodeId, room: &str, id: u64, payload: Bytes) -> Answer {
        let (slot, room) = (0, Bytes::copy_from_slice(room.as_bytes()));
        let id = Bytes::from(id.to_string());
        self.ask(at, slot, Request::Emit { room, id, payload })
    }
}
