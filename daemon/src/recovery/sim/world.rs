//! One node, its disk, its mailbox, and the clients around it.

mod gateway;
mod node;
mod shard;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Tight;
use super::client::{Client, Join};
use super::disk::Disk;
use super::random::Random;
use super::truth::Truth;
use crate::recovery::cursor::Cursor;
use crate::recovery::log::{Append, Dump, Entry, Log, Opening, RoomKey};
use crate::recovery::record::{NotRecoverable, Record};
use crate::recovery::replay::Replay;
use crate::recovery::slot::Position;

/// How long after a drop a client can be recovered.
pub(super) const WINDOW_MS: u64 = 10_000;
/// How long it takes at most to notice a drop.
pub(super) const LAG_MS: u64 = 2_000;

const CLIENTS: usize = 4;
/// Three rooms of one slot and two of another.
const ROOMS: [&str; 5] = ["a:1", "b:1", "c:1", "a:2", "b:2"];

/// What is stored of a connection, and what the simulation must know to judge it.
#[derive(Clone)]
struct Stored {
    record: Record,
    /// None while a connection holds it.
    expires_ms: Option<u64>,
    /// The branch that its starts are on.
    branch: u64,
    joins: BTreeMap<String, Join>,
}

/// A connection, as its shard sees it.
struct Socket {
    client: usize,
    pid: String,
    cursor: Cursor,
    joins: BTreeMap<String, Join>,
    /// Live entries at or below these are in the replay, or not for it.
    skip: BTreeMap<u8, u64>,
    /// A recovery under way; what arrives live is held meanwhile.
    recovery: Option<Recovery>,
    held: Vec<Arc<Entry>>,
    /// Subscriptions under way, and the position once it has been asked for.
    subscribing: VecDeque<(String, Option<Position>)>,
    /// The client is gone, and this has not been noticed.
    is_cut: bool,
}

struct Recovery {
    stored: Stored,
    offset: Option<String>,
    outcome: Option<Result<Replay, NotRecoverable>>,
}

/// How often what happened, over all worlds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    committed: u64,
    repeated: u64,
    failed: u64,
    recovered: u64,
    replayed: u64,
    refused: u64,
    other_branch: u64,
    trimmed: u64,
    kills: u64,
    power_cuts: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.committed += other.committed;
        self.repeated += other.repeated;
        self.failed += other.failed;
        self.recovered += other.recovered;
        self.replayed += other.replayed;
        self.refused += other.refused;
        self.other_branch += other.other_branch;
        self.trimmed += other.trimmed;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
    }

    pub(super) fn assert_all_happened(&self) {
        let Self {
            committed,
            repeated,
            failed,
            recovered,
            replayed,
            ..
        } = *self;
        let Self {
            refused,
            other_branch,
            trimmed,
            kills,
            power_cuts,
            ..
        } = *self;
        let all = [committed, repeated, failed, recovered, replayed, refused];
        let rest = [other_branch, trimmed, kills, power_cuts];
        assert!(
            all.iter().chain(&rest).all(|count| *count > 100),
            "{self:?}"
        );
    }
}

pub(super) struct World {
    random: Random,
    tight: Tight,
    now_ms: u64,
    disk: Disk,
    log: Log,
    truth: Truth,
    /// Fed, and not yet taken up by the shard.
    mailbox: VecDeque<Arc<Entry>>,
    sockets: BTreeMap<u64, Socket>,
    records: BTreeMap<String, Stored>,
    clients: Vec<Client>,
    /// Where each membership began, once that is known.
    starts: BTreeMap<Join, u64>,
    /// Emits whose outcome is not known to their emitter, who repeats them.
    unsure: Vec<(&'static str, String)>,
    /// Makes names.
    count: u64,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(mut random: Random, tight: Tight) -> Self {
        let opening = Opening {
            random: random.next(),
            suspect: false,
        };
        let (log, _) = Log::open(tight.limits(), &Dump::default(), None, opening);
        let mut disk = Disk::default();
        disk.table = Some(log.table());
        Self {
            random,
            tight,
            now_ms: 1_000_000,
            disk,
            log,
            truth: Truth::new(tight),
            mailbox: VecDeque::new(),
            sockets: BTreeMap::new(),
            records: BTreeMap::new(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            starts: BTreeMap::new(),
            unsure: Vec::new(),
            count: 0,
            seen: Seen::default(),
        }
    }

    /// One thing happens.
    pub(super) fn step(&mut self) {
        self.now_ms += self.random.below(50) as u64;
        match self.random.below(1000) {
            0..200 => self.emit(),
            200..370 => self.turn_shard(),
            370..540 => self.read_some(),
            540..700 => self.connect_or_subscribe(),
            700..850 => self.advance_one(),
            850..930 => self.cut_or_notice(),
            930..950 => self.trim(),
            950..970 => self.disk.sync(),
            970..988 => self.pass_time(),
            988..992 => self.stop(),
            992..997 => self.kill(),
            _ => self.cut_power(),
        }
    }

    /// Everybody comes back, and what is on its way arrives. Then nobody may lack anything.
    pub(super) fn settle(&mut self) {
        for client in 0..CLIENTS {
            if self.clients[client].home.is_none() {
                self.connect(client);
            }
        }
        for _ in 0..20 {
            self.emit();
        }
        while let Some(home) = self
            .sockets
            .keys()
            .copied()
            .find(|home| self.is_busy(*home))
        {
            self.advance(home);
        }
        while self.turn_shard_once() {}
        for client in 0..CLIENTS {
            while self.clients[client].read(&self.truth, &self.starts) {}
            assert!(self.clients[client].pipe.is_empty());
        }
        for socket in self.sockets.values().filter(|socket| !socket.is_cut) {
            let client = &self.clients[socket.client];
            for (room, join) in &socket.joins {
                let after = client.has_up_to(room, *join, self.starts[join]);
                let next = self.truth.next(room, after, &client.sid);
                assert_eq!(
                    next, None,
                    "{} lacks it in {room} after {after}",
                    client.sid
                );
            }
        }
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    fn pass_time(&mut self) {
        self.now_ms += match self.random.below(6) {
            0 => 3_600_000,
            _ => self.random.below(WINDOW_MS as usize) as u64 / 4,
        };
    }

    fn emit(&mut self) {
        let mut sent = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let (room, id) = match self.unsure.pop() {
                Some(again) if self.random.percent(50) => again,
                other => {
                    self.unsure.extend(other);
                    (*self.random.pick(&ROOMS), self.name("id"))
                }
            };
            let mut except = Vec::new();
            if self.random.percent(10) {
                except.push(self.random.pick(&self.clients).sid.clone());
            }
            let payload = b"event"[..].into();
            let append = Append::new(RoomKey::new("/", room), id.as_str().into(), except, payload);
            let appended = self.log.append(self.now_ms, append.unwrap());
            self.seen.repeated += u64::from(appended.repeated);
            sent.push((room, id, appended));
        }
        self.flush(sent);
    }

    fn trim(&mut self) {
        self.log.trim(self.now_ms);
        self.flush(Vec::new());
    }

    /// Clients process what has arrived.
    fn read_some(&mut self) {
        let client = self.random.below(CLIENTS);
        for _ in 0..self.random.below(6) {
            self.clients[client].read(&self.truth, &self.starts);
        }
    }

    fn connect_or_subscribe(&mut self) {
        let client = self.random.below(CLIENTS);
        match self.clients[client].home {
            None => self.connect(client),
            // A second connection, before the drop of the first is noticed.
            Some(_) if self.random.percent(5) => {
                self.lose(client);
                self.connect(client);
            }
            Some(home) => self.subscribe_or_leave(client, home),
        }
    }

    /// The client loses its connection, having processed some of what was under way.
    fn lose(&mut self, client: usize) {
        for _ in 0..self.random.below(4) {
            self.clients[client].read(&self.truth, &self.starts);
        }
        if let Some(home) = self.clients[client].home
            && let Some(socket) = self.sockets.get_mut(&home)
        {
            socket.is_cut = true;
        }
        self.clients[client].lose();
    }

    fn cut_or_notice(&mut self) {
        let client = self.random.below(CLIENTS);
        self.lose(client);
        if self.random.percent(70) {
            let cut: BTreeSet<u64> = self
                .sockets
                .iter()
                .filter(|(_, socket)| socket.is_cut)
                .map(|(home, _)| *home)
                .collect();
            for home in cut {
                self.close(home);
            }
        }
    }
}
