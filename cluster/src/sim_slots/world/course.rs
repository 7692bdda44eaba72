//! A course that is told step by step: nothing happens by chance but how long things take.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::acts::room;
use super::host::Emit;
use super::{Checked, Client, Event, Kind, Odds, World};
use crate::proto::slots::{Message, Rules};
use crate::sim::random::Random;

/// The slot and the room that courses are about.
const SLOT: u8 = 0;
const ROOM: &str = "a:0";

/// To which hosts, and what.
type Which = (BTreeSet<usize>, fn(&Message) -> bool);

/// Messages that do not arrive until they are let go, and those that will arrive twice.
#[derive(Default)]
pub(super) struct Held {
    holds: Option<Which>,
    held: Vec<Event>,
    notes: Option<Which>,
    noted: Vec<Event>,
}

impl Held {
    /// Whether a message that is on its way is held up.
    pub(super) fn keep(&mut self, event: &Event) -> bool {
        let Event::Arrive {
            to,
            slot: SLOT,
            message,
            ..
        } = event
        else {
            return false;
        };
        let is_one = |(hosts, is_it): &Which| hosts.contains(to) && is_it(message);
        if self.notes.as_ref().is_some_and(is_one) {
            self.noted.push(event.clone());
        }
        let is_held = self.holds.as_ref().is_some_and(is_one);
        if is_held {
            self.held.push(event.clone());
        }
        is_held
    }
}

fn hosts(ids: &[usize]) -> BTreeSet<usize> {
    ids.iter().map(|id| id - 1).collect()
}

/// Hosts are named by their ids here: 1, 3, 2, 4, 5 is the order in which they are to hold the slot.
impl World {
    /// So many hosts, of which some are started.
    pub(in crate::sim_slots) fn course(
        seed: u64,
        (hosts, started): (usize, &[usize]),
        rules: Rules,
    ) -> Result<Self, String> {
        let odds = Odds::fair(hosts);
        let mut world = Self::new(Random::new(seed), (Kind::Wild, odds), rules);
        world.events.clear();
        world.clients.clear();
        world.delay_ms = 2;
        for id in started {
            world.start(id - 1)?;
        }
        Ok(world)
    }

    pub(in crate::sim_slots) fn go_on(&mut self, ms: u64) -> Checked {
        let until_ms = self.now_ms + ms;
        self.run_until(until_ms)
    }

    /// Goes on until the slots that run are opened by somebody, and kept.
    pub(in crate::sim_slots) fn go_on_until_well(&mut self) -> Checked {
        for _ in 0..200 {
            self.go_on(50)?;
            if self.is_well().is_ok() {
                return Ok(());
            }
        }
        Err(format!("a course is not well: {:?}", self.is_well()))
    }

    /// Goes on until a host owns the slot, and these hold it.
    pub(in crate::sim_slots) fn go_on_until_open(&mut self, id: usize, by: &[u64]) -> Checked {
        for _ in 0..1000 {
            if let Some(peek) = self.core(id - 1).map(|core| core.peek(SLOT)) {
                let copies = peek.copies.iter().map(|it| it.0);
                if peek.open.is_some() && copies.eq(by.iter().copied()) {
                    return Ok(());
                }
            }
            self.go_on(5)?;
        }
        Err(format!("host {id} does not own the slot with {by:?}"))
    }

    /// An event that is known by a name.
    pub(in crate::sim_slots) fn say(&mut self, id: usize, name: &'static str) -> Checked {
        self.say_in(ROOM, id, name)
    }

    /// The same in another room.
    pub(in crate::sim_slots) fn say_in(
        &mut self,
        of: &'static str,
        id: usize,
        name: &'static str,
    ) -> Checked {
        let emit = Emit {
            slot: SLOT,
            room: room(of),
            id: Bytes::from_static(name.as_bytes()),
        };
        self.emit(id - 1, emit)
    }

    /// What is on the disk of a host stays there, whatever happens next.
    pub(in crate::sim_slots) fn settle(&mut self, id: usize) {
        let disk = &mut self.hosts[id - 1].disk;
        disk.flush_all();
        disk.settle();
    }

    pub(in crate::sim_slots) fn kill_one(&mut self, id: usize) {
        self.end(id - 1);
        self.hosts[id - 1].disk.kill(&mut self.random);
    }

    /// Power is lost, and with it what the disk had not written through.
    pub(in crate::sim_slots) fn power_off_one(&mut self, id: usize) {
        self.end(id - 1);
        self.hosts[id - 1].disk.lose_all();
        self.hosts[id - 1].is_unclean = true;
    }

    pub(in crate::sim_slots) fn start_one(&mut self, id: usize) -> Checked {
        self.start(id - 1)
    }

    /// The disk of a host does not write anything through.
    pub(in crate::sim_slots) fn stick(&mut self, id: usize) {
        self.stuck.insert(id - 1);
    }

    pub(in crate::sim_slots) fn unstick(&mut self) {
        self.stuck.clear();
    }

    /// One more node.
    pub(in crate::sim_slots) fn add(&mut self) -> Checked {
        let hosts = self.hosts.len();
        self.grow()?;
        if self.hosts.len() == hosts {
            return Err("a course is not well before it grows".into());
        }
        Ok(())
    }

    /// Nothing passes between some and the others; nor, one way, from one to another.
    pub(in crate::sim_slots) fn part(&mut self, ids: &[usize]) {
        let is_in = |host: usize| ids.contains(&(host + 1));
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                if is_in(from) != is_in(to) {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    pub(in crate::sim_slots) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from - 1, to - 1));
    }

    pub(in crate::sim_slots) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Messages to some hosts are held up.
    pub(in crate::sim_slots) fn hold(&mut self, ids: &[usize], what: fn(&Message) -> bool) {
        self.held.holds = Some((hosts(ids), what));
    }

    /// Goes on until so many are held up.
    pub(in crate::sim_slots) fn go_on_until_held(&mut self, count: usize) -> Checked {
        for _ in 0..1000 {
            if self.held.held.len() >= count {
                return Ok(());
            }
            self.go_on(5)?;
        }
        Err(format!("{} messages are held up", self.held.held.len()))
    }

    /// Goes on until something that a host sent is held up.
    pub(in crate::sim_slots) fn go_on_until_held_by(&mut self, id: usize) -> Checked {
        let is_it = |event: &Event| matches!(event, Event::Arrive { from, .. } if from + 1 == id);
        for _ in 0..1000 {
            if self.held.held.iter().any(is_it) {
                return Ok(());
            }
            self.go_on(5)?;
        }
        Err(format!("nothing that host {id} sent is held up"))
    }

    /// What was held up on its way from one host to another arrives.
    pub(in crate::sim_slots) fn let_go(&mut self, by: usize, at: usize) {
        let held = std::mem::take(&mut self.held.held);
        let is_it = |event: &Event| match event {
            Event::Arrive { from, to, .. } => (from + 1, to + 1) == (by, at),
            _ => false,
        };
        let (now, later): (Vec<_>, Vec<_>) = held.into_iter().partition(is_it);
        (self.held.holds, self.held.held) = (None, later);
        now.into_iter().for_each(|event| self.after(1, event));
    }

    /// What was held up is lost, and nothing more is held up.
    pub(in crate::sim_slots) fn lose_held(&mut self) {
        (self.held.holds, self.held.held) = (None, Vec::new());
    }

    /// What arrives at some hosts will arrive once more.
    pub(in crate::sim_slots) fn note(&mut self, ids: &[usize], what: fn(&Message) -> bool) {
        self.held.notes = Some((hosts(ids), what));
    }

    /// It does, in order.
    pub(in crate::sim_slots) fn repeat(&mut self) {
        self.held.notes = None;
        for event in std::mem::take(&mut self.held.noted) {
            self.after(1, event);
        }
    }

    /// A host does not hear gossip; or does again.
    pub(in crate::sim_slots) fn deafen(&mut self, id: usize, is_deaf: bool) {
        if is_deaf {
            self.deaf.insert(id - 1);
        } else {
            self.deaf.clear();
        }
    }

    /// The first client comes to a host, and joins the room.
    pub(in crate::sim_slots) fn client_at(&mut self, id: usize) -> Checked {
        self.comes(0, id)?;
        self.changes(0, ROOM)?;
        self.go_on(300)?;
        self.reads()
    }

    /// A client comes to a host, with what it has.
    pub(in crate::sim_slots) fn comes(&mut self, client: usize, id: usize) -> Checked {
        while self.clients.len() <= client {
            self.clients.push(Client::default());
        }
        self.connect(client, id - 1)?;
        for _ in 0..100 {
            self.go_on(20)?;
            self.reads()?;
            if self.clients[client].is_connected {
                return Ok(());
            }
        }
        Err(format!("client {client} is not connected"))
    }

    /// A client joins a room, or leaves it.
    pub(in crate::sim_slots) fn changes(&mut self, client: usize, name: &'static str) -> Checked {
        self.change_rooms(client, &room(name), SLOT)
    }

    /// A client's connection breaks, and its node knows.
    pub(in crate::sim_slots) fn breaks(&mut self, client: usize) -> Checked {
        let Some((host, boot, conn)) = self.clients[client].home else {
            return Ok(());
        };
        self.clients[client].lose();
        self.notice(host, boot, conn)
    }

    /// Goes on until the node of a client has closed its connection.
    pub(in crate::sim_slots) fn go_on_until_gone(&mut self, client: usize) -> Checked {
        for _ in 0..1000 {
            self.reads()?;
            if self.clients[client].home.is_none() {
                return Ok(());
            }
            self.go_on(10)?;
        }
        Err(format!("client {client} is still connected"))
    }

    /// The clients take all that has come.
    pub(in crate::sim_slots) fn reads(&mut self) -> Checked {
        for client in &mut self.clients {
            while client.read(&self.truths)? {}
        }
        Ok(())
    }

    /// All is well in the end, and an event is on the branch that goes on.
    pub(in crate::sim_slots) fn ends_with(&mut self, names: &[&'static str]) -> Checked {
        for client in 0..self.clients.len() {
            self.after(0, Event::Client(client));
        }
        self.quieten()?;
        let head = self.head(SLOT).ok_or("a slot has no owner")?;
        let truth = &self.truths[usize::from(SLOT)];
        let all = truth.all(head.eid, head.seq);
        for name in names {
            let is_it = |position: &_| truth.fact(*position).is_some_and(|it| it.id == *name);
            if !all.iter().any(is_it) {
                return Err(format!("{name} is not on the branch that goes on"));
            }
        }
        Ok(())
    }
}
