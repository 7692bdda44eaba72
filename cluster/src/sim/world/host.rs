//! A host, and the process that may run on it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::gossip::Heard;
use super::{Checked, Event, World};
use crate::proto::{Action, Gossiped, Lifecycle, LinkId, Node, Part, Settings};

const LINGER_MS: u64 = 700;

pub(super) struct Host {
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    /// The generation of the last start, as it is kept on disk.
    generation: u64,
    /// How far the wall clock is off.
    pub(super) wall_off_ms: u64,
    pub(super) process: Option<Process>,
    pub(super) is_stopped: bool,
    /// What happened while it was stopped.
    pub(super) backlog: Vec<Event>,
    /// What it counts, with the ends; kept over restarts.
    pub(super) counts: BTreeMap<Bytes, Vec<(u64, u32)>>,
}

pub(super) struct Process {
    pub(super) node: Node,
    pub(super) boot: u64,
    pub(super) generation: u64,
    /// When its clock showed 0.
    zero_ms: u64,
    /// What gossip here knows of all, itself included, by host and generation.
    pub(super) heard: BTreeMap<(usize, u64), Heard>,
    /// The view of it that the node was given last.
    pub(super) given: Vec<Gossiped>,
    /// Peers as the edge was told, by slot.
    pub(super) slots: BTreeMap<u8, Arc<str>>,
    /// Links for forwards as the edge was told, by slot.
    pub(super) linked: BTreeMap<u8, LinkId>,
    pub(super) lifecycle: Lifecycle,
    /// Rooms that have members, with the numbers of their joins.
    pub(super) rooms: BTreeMap<u64, u64>,
    /// The highest join that was covered by the floor.
    pub(super) covered: u64,
    /// What the others count, as told, and when.
    pub(super) others: BTreeMap<Bytes, (u64, Vec<Part>)>,
}

impl Host {
    pub(super) fn new(number: usize) -> Self {
        Self {
            name: format!("host{number}").into(),
            address: address(number),
            generation: 0,
            wall_off_ms: 500_000,
            process: None,
            is_stopped: false,
            backlog: Vec::new(),
            counts: BTreeMap::new(),
        }
    }
}

pub(super) fn address(host: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 1 + host as u8), 7946).into()
}

impl Process {
    /// What its clock shows.
    pub(super) fn clock(&self, now_ms: u64) -> u64 {
        now_ms - self.zero_ms
    }

    /// Changes what gossip tells of it.
    fn publish(&mut self, host: usize, change: impl FnOnce(&mut Heard)) {
        if let Some(own) = self.heard.get_mut(&(host, self.generation)) {
            change(own);
            own.version += 1;
        }
    }
}

impl World {
    pub(super) fn start(&mut self, host: usize) -> Checked {
        if self.hosts[host].process.is_some() {
            return Ok(());
        }
        self.count += 1;
        let boot = self.count;
        let zero_ms = self.now_ms - self.random.below(900_000);
        let it = &mut self.hosts[host];
        // The edge keeps the last generation, so that a clock set back cannot bring it again.
        it.generation = (self.now_ms + it.wall_off_ms).max(it.generation + 1);
        let settings = Settings {
            name: it.name.clone(),
            cluster: "sim".into(),
            generation: it.generation,
            address: it.address,
            linger_ms: LINGER_MS,
            has_seeds: true,
        };
        let own = ((host, it.generation), Heard::new(self.now_ms));
        it.process = Some(Process {
            node: Node::with_rules(settings, self.now_ms - zero_ms, self.rules),
            boot,
            generation: it.generation,
            zero_ms,
            heard: BTreeMap::from([own]),
            given: Vec::new(),
            slots: BTreeMap::new(),
            linked: BTreeMap::new(),
            lifecycle: Lifecycle::Joining,
            rooms: BTreeMap::new(),
            covered: 0,
            others: BTreeMap::new(),
        });
        self.seen.starts += 1;
        // After a restart the program says again what it counts.
        for key in self.hosts[host].counts.keys().cloned().collect::<Vec<_>>() {
            self.say_count(host, key)?;
        }
        self.after(1, Event::Tick { host, boot });
        self.after(2, Event::Gossip { host, boot });
        Ok(())
    }

    /// The process ends, however that came.
    pub(super) fn end(&mut self, host: usize) {
        self.hosts[host].process = None;
        self.hosts[host].is_stopped = false;
        self.hosts[host].backlog.clear();
        for link in self.links_of(host) {
            self.lose(link);
            self.drop_end(host, link);
        }
    }

    /// A stopped process goes on, and finds all that came meanwhile.
    pub(super) fn resume(&mut self, host: usize, boot: u64) -> Checked {
        if self.process(host, boot).is_none() || !self.hosts[host].is_stopped {
            return Ok(());
        }
        self.hosts[host].is_stopped = false;
        for event in std::mem::take(&mut self.hosts[host].backlog) {
            self.happen(event)?;
        }
        Ok(())
    }

    /// The process of a host, if it is still that one, and what its clock shows.
    pub(super) fn process(&mut self, host: usize, boot: u64) -> Option<(&mut Process, u64)> {
        let process = self.hosts[host].process.as_mut()?;
        let now_ms = process.clock(self.now_ms);
        (process.boot == boot).then_some((process, now_ms))
    }

    /// The process of a host, whichever it is, and what its clock shows.
    pub(super) fn any_process(&mut self, host: usize) -> Option<(&mut Process, u64)> {
        let process = self.hosts[host].process.as_mut()?;
        let now_ms = process.clock(self.now_ms);
        Some((process, now_ms))
    }

    pub(super) fn tick(&mut self, host: usize, boot: u64) -> Checked {
        let random = self.random.next();
        // Now and then the process is busy.
        let late = self.random.below(10) * self.random.below(10);
        let Some((process, now_ms)) = self.process(host, boot) else {
            return Ok(());
        };
        let next_ms = process.node.tick(now_ms, random);
        if next_ms <= now_ms || next_ms > now_ms + 100 {
            return Err(format!("a tick is due at {next_ms}, and it is {now_ms}"));
        }
        self.after(next_ms - now_ms + late, Event::Tick { host, boot });
        self.act_on(host)
    }

    /// Carries out what a node decided.
    pub(super) fn act_on(&mut self, host: usize) -> Checked {
        let Some((process, _)) = self.any_process(host) else {
            return Ok(());
        };
        for action in process.node.actions() {
            let carried_out = self.carry_out(host, action);
            carried_out.map_err(|why| format!("host{host} at {}: {why}", self.now_ms))?;
        }
        Ok(())
    }

    fn carry_out(&mut self, host: usize, action: Action) -> Checked {
        let world_ms = self.now_ms;
        let Some((process, _)) = self.any_process(host) else {
            return Ok(());
        };
        let is_right = match action {
            Action::PeerUp { slot, name, .. } => process.slots.insert(slot, name).is_none(),
            Action::PeerDown { slot, name } => {
                let is_right = !process.linked.contains_key(&slot)
                    && process.slots.remove(&slot).is_some_and(|had| had == name);
                self.seen.downs += 1;
                is_right
            }
            Action::PeerState { slot, .. } => process.slots.contains_key(&slot),
            Action::Linked { slot, link } => {
                process.linked.insert(slot, link).is_none() && process.slots.contains_key(&slot)
            }
            Action::Unlinked { slot } => process.linked.remove(&slot).is_some(),
            Action::Floor(floor) => floor >= process.covered,
            Action::Conflict { .. } => false,
            Action::Lifecycle(lifecycle) => {
                let is_forward = lifecycle > process.lifecycle;
                process.lifecycle = lifecycle;
                process.publish(host, |own| own.lifecycle = lifecycle);
                is_forward
            }
            Action::Mark(mark) => {
                process.publish(host, |own| own.interest = Some(mark));
                true
            }
            Action::Others { key, parts } => {
                process.others.insert(key, (world_ms, parts));
                self.seen.others += 1;
                true
            }
            Action::Dial { address, .. } => {
                self.begin_dial(host, address);
                true
            }
            Action::Wake(link) => {
                let after = self.random.below(30);
                self.after(after, Event::Write(link));
                true
            }
            Action::Hangup(link) => {
                self.hang_up(host, link);
                true
            }
        };
        // Nothing more can be said of it here, for the action has been used.
        is_right
            .then_some(())
            .ok_or_else(|| "an action does not fit those before".into())
    }
}
