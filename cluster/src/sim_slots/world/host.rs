//! One host: its disk, the process on it, and what its edge does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::gateway::{Socket, Wanted};
use super::{Checked, Event, SLOTS, World};
use crate::proto::slots::{Action, Eid, Message, NodeId, Now, Room, SlotNo, Slots, Token, View};
use crate::sim_slots::disk::Disk;

const TICK_MS: u64 = 100;

/// A backend's emit, which it repeats until it knows.
#[derive(Clone, Debug)]
pub(super) struct Emit {
    pub(super) slot: SlotNo,
    pub(super) room: Room,
    pub(super) id: Bytes,
}

pub(super) struct Host {
    pub(super) id: NodeId,
    pub(super) disk: Disk,
    /// Starts so far, processes and machines.
    pub(super) boot: u64,
    pub(super) process: Option<Process>,
    /// The size that it is configured with.
    pub(super) size: usize,
    /// The wall clock is off by this.
    pub(super) wall_off_ms: u64,
    /// The machine lost power since the disk was last known to be whole.
    pub(super) is_unclean: bool,
    pub(super) is_draining: bool,
    /// It will not come back.
    pub(super) is_gone: bool,
}

pub(super) struct Process {
    pub(super) boot: u64,
    pub(super) core: Slots,
    pub(super) started_ms: u64,
    /// What it gossips.
    pub(super) claims: BTreeMap<SlotNo, Eid>,
    /// Whom it wrongly takes for dead now, until when.
    pub(super) distrusts: BTreeMap<usize, u64>,
    pub(super) emits: BTreeMap<u64, Emit>,
    pub(super) last_number: u64,
    /// Connections of clients, by number.
    pub(super) sockets: BTreeMap<u64, Socket>,
    /// Which connection joined which room.
    pub(super) joins: BTreeMap<u64, (u64, Room)>,
    /// What its requests are for.
    pub(super) wanted: BTreeMap<u64, Wanted>,
    /// It was told something, and has not done what follows.
    pub(super) in_turn: bool,
    /// The latest epoch of each log.
    pub(super) latest: Vec<Option<Eid>>,
    /// The highest epoch sealed for, as others were told.
    pub(super) promised: Vec<Eid>,
}

impl Process {
    pub(super) fn fresh(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Host {
    pub(super) fn new(host: usize, size: usize) -> Self {
        Self {
            id: NodeId(host as u64 + 1),
            disk: Disk::new(SLOTS),
            boot: 0,
            process: None,
            size,
            wall_off_ms: 0,
            is_unclean: false,
            is_draining: false,
            is_gone: false,
        }
    }
}

impl World {
    pub(super) fn start(&mut self, host: usize) -> Checked {
        if self.hosts[host].process.is_some() || self.hosts[host].is_gone {
            return Ok(());
        }
        self.seen.starts += 1;
        let (settings, seed, now) = (self.settings(host), self.random.next(), self.now(host));
        let rules = self.rules;
        let it = &mut self.hosts[host];
        it.boot += 1;
        it.is_draining = false;
        let (boot, stored) = (it.boot, it.disk.stored().map_err(|why| why.to_string())?);
        let unclean = std::mem::take(&mut it.is_unclean);
        let mut core = Slots::with_rules((it.id, boot), settings, stored, unclean, seed, rules);
        let (roster, forgotten) = it.disk.roster.clone();
        core.load_roster(roster, forgotten);
        core.tick(now);
        if unclean {
            // That the newest part may be missing is noted before anything else.
            for action in core.actions() {
                if let Action::Store { slot, writes, .. } = action {
                    it.disk.write(slot, writes);
                }
            }
            it.disk.stop();
        }
        let slots = 0..SLOTS as SlotNo;
        let latest = slots.map(|slot| core.peek(slot).chain.last()).collect();
        it.process = Some(Process {
            boot,
            core,
            started_ms: self.now_ms,
            claims: BTreeMap::new(),
            distrusts: BTreeMap::new(),
            emits: BTreeMap::new(),
            last_number: 0,
            sockets: BTreeMap::new(),
            joins: BTreeMap::new(),
            wanted: BTreeMap::new(),
            in_turn: false,
            latest,
            promised: vec![Eid::default(); SLOTS.into()],
        });
        self.look(host, boot)?;
        let after = self.random.below(TICK_MS);
        self.after(after, Event::Tick { host, boot });
        self.act_now(host)
    }

    pub(super) fn now(&self, host: usize) -> Now {
        let it = &self.hosts[host];
        let started_ms = it.process.as_ref().map_or(self.now_ms, |it| it.started_ms);
        Now {
            // A process's own clock begins with it.
            ms: self.now_ms - started_ms,
            wall_ms: self.now_ms + it.wall_off_ms,
        }
    }

    pub(super) fn is_boot(&self, host: usize, boot: u64) -> bool {
        self.hosts[host]
            .process
            .as_ref()
            .is_some_and(|it| it.boot == boot)
    }

    pub(super) fn core(&mut self, host: usize) -> Option<&mut Slots> {
        self.hosts[host].process.as_mut().map(|it| &mut it.core)
    }

    pub(super) fn tick(&mut self, host: usize, boot: u64) -> Checked {
        if !self.is_boot(host, boot) {
            return Ok(());
        }
        self.end_turn(host)?;
        let now = self.now(host);
        if let Some(core) = self.core(host) {
            core.tick(now);
        }
        // A process may be late.
        let late = if self.random.percent(self.odds.stalls) && !self.is_quiet {
            self.random.below(2500)
        } else {
            0
        };
        self.after(TICK_MS + late, Event::Tick { host, boot });
        self.act_now(host)
    }

    fn end_turn(&mut self, host: usize) -> Checked {
        let process = self.hosts[host].process.as_ref();
        if process.is_some_and(|process| process.in_turn) {
            self.act_now(host)?;
        }
        Ok(())
    }

    /// Whether one host takes another for alive.
    pub(super) fn trusts(&self, host: usize, other: usize) -> bool {
        let Some(process) = &self.hosts[host].process else {
            return false;
        };
        let distrusted = process
            .distrusts
            .get(&other)
            .is_some_and(|it| *it > self.now_ms);
        let up = self.hosts[other].process.is_some();
        host == other || (up && self.passes(other, host) && (!distrusted || self.is_quiet))
    }

    pub(super) fn look(&mut self, host: usize, boot: u64) -> Checked {
        if !self.is_boot(host, boot) {
            return Ok(());
        }
        if self.deaf.contains(&host) {
            self.after(self.odds.look_ms, Event::Look { host, boot });
            return Ok(());
        }
        self.end_turn(host)?;
        let mut view = View::default();
        let mut claims = Vec::new();
        let mut forgotten = BTreeSet::new();
        for other in 0..self.hosts.len() {
            if !self.trusts(host, other) {
                continue;
            }
            let it = &self.hosts[other];
            view.alive.insert(it.id);
            view.boots.insert(it.id, it.boot);
            if !it.is_draining {
                view.ready.insert(it.id);
            }
            if other != host
                && let Some(process) = &it.process
            {
                for slot in 0..SLOTS as u8 {
                    claims.push((it.id, slot, process.claims.get(&slot).copied()));
                }
            }
            forgotten.extend(it.disk.roster.1.iter().copied());
        }
        let now = self.now(host);
        if let Some(core) = self.core(host) {
            core.view(view, now);
            claims
                .into_iter()
                .for_each(|(node, slot, eid)| core.claimed(node, slot, eid));
            forgotten.into_iter().for_each(|node| core.forget(node));
        }
        let after = self.random.below(self.odds.look_ms);
        self.after(after, Event::Look { host, boot });
        self.act_now(host)
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        slot: SlotNo,
        message: Message,
    ) -> Checked {
        let (from, now) = (self.hosts[from].id, self.now(to));
        if let Some(core) = self.core(to) {
            core.message(from, slot, message, now);
        }
        self.act_on(to)
    }

    pub(super) fn persisted(
        &mut self,
        host: usize,
        boot: u64,
        token: Token,
        change: impl FnOnce(&mut Disk),
    ) -> Checked {
        if !self.is_boot(host, boot) {
            return Ok(());
        }
        self.end_turn(host)?;
        change(&mut self.hosts[host].disk);
        let now = self.now(host);
        if let Some(core) = self.core(host) {
            core.persisted(token, now);
        }
        self.act_now(host)
    }
}
