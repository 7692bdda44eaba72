//! Nodes, the ways between them, and what happens when.

mod acts;
mod check;
mod clients;
mod course;
mod edge;
mod gateway;
mod host;
mod odds;
mod quiet;
mod recovering;
mod seen;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use super::client::Client;
use super::truth::Truth;
use crate::proto::slots::{Limits, LimitsOf, Message, RoomLimits, Rules, Settings, SlotNo, Token};
use crate::sim::random::Random;
use host::Host;
pub(super) use odds::Odds;
pub(super) use seen::Seen;

/// How long things go wrong.
const STORM_MS: u64 = 15_000;
/// How long it may take at most until all is well again.
const QUIET_MS: u64 = 60_000;
/// How long all must be well.
const STAYS_MS: u64 = 3000;
const CLIENTS: usize = 4;
pub(super) const SLOTS: u16 = 2;
pub(super) const WINDOW_MS: u64 = 20_000;
pub(super) const KNOWN_MS: u64 = 60_000;

/// Rooms of which little is kept: few entries, or few bytes and not for long.
const TIGHT: [RoomLimits; 2] = [
    RoomLimits {
        entries: 4,
        keep_ms: 4000,
        ..RoomLimits::NONE
    },
    RoomLimits {
        bytes: 20,
        keep_ms: 2000,
        ..RoomLimits::NONE
    },
];

/// What a world is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything goes wrong at any time.
    Wild,
    /// One thing goes wrong at a time, and all is copied again before the next.
    Gentle,
    /// Clocks are set, too.
    Clocks,
    /// Logs are trimmed all the time, and copied in small pieces.
    Tight,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Wild, Self::Gentle, Self::Clocks, Self::Tight];
}

/// Something that is going to happen. Processes are named by host and boot: what was meant for one
/// that is gone is void.
#[derive(Clone, Debug)]
enum Event {
    Tick {
        host: usize,
        boot: u64,
    },
    /// What a process was told since the last turn has its consequences.
    Turn {
        host: usize,
        boot: u64,
    },
    /// A process looks at its gossip.
    Look {
        host: usize,
        boot: u64,
    },
    Arrive {
        from: usize,
        to: usize,
        slot: SlotNo,
        message: Box<Message>,
    },
    /// Everything up to a write is flushed, or written through.
    Flushed {
        host: usize,
        boot: u64,
        upto: u64,
        token: Token,
    },
    Synced {
        host: usize,
        boot: u64,
        upto: u64,
        token: Token,
    },
    /// A way is free again.
    Heal(usize, usize),
    Start(usize),
    Grow,
    /// A client does something.
    Client(usize),
    /// A node notices that a client is gone.
    Notice {
        host: usize,
        boot: u64,
        conn: u64,
    },
    /// Somebody does something.
    Act,
}

pub(super) struct World {
    random: Random,
    kind: Kind,
    odds: Odds,
    rules: Rules,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    hosts: Vec<Host>,
    /// Ways on which nothing passes now, from and to.
    cut: BTreeSet<(usize, usize)>,
    /// When the last message of a way arrives.
    arrives: BTreeMap<(usize, usize), u64>,
    count: u64,
    /// The longest time that a message usually takes.
    delay_ms: u64,
    /// How many of a hundred strokes of bad luck happen.
    bad_luck: u64,
    /// Messages that a course holds up.
    held: course::Held,
    /// Hosts whose disks write nothing through, and those that do not hear gossip.
    stuck: BTreeSet<usize>,
    deaf: BTreeSet<usize>,
    is_quiet: bool,
    /// Whether all is told: `TIDINGS_SIM_TRACE`.
    traces: bool,
    truths: Vec<Truth>,
    clients: Vec<Client>,
    /// Emits whose outcome is unknown.
    unsure: Vec<host::Emit>,
    pub(super) seen: Seen,
}

pub(super) type Checked = Result<(), String>;

impl World {
    pub(super) fn new(mut random: Random, (kind, odds): (Kind, Odds), rules: Rules) -> Self {
        // A single copy is no match for a power cut.
        let least = if kind == Kind::Gentle { 2 } else { 1 };
        let hosts = least + random.below(6 - least as u64) as usize;
        let hosts = odds.hosts.unwrap_or(hosts);
        let mut world = Self {
            kind,
            odds,
            rules,
            now_ms: 1_000_000,
            events: BTreeMap::new(),
            hosts: (0..hosts).map(|host| Host::new(host, hosts)).collect(),
            cut: BTreeSet::new(),
            arrives: BTreeMap::new(),
            count: 0,
            delay_ms: *random.pick(&[2, 20, 100]),
            bad_luck: *random.pick(&[100, 40, 10]),
            held: course::Held::default(),
            stuck: BTreeSet::new(),
            deaf: BTreeSet::new(),
            is_quiet: false,
            traces: std::env::var_os("TIDINGS_SIM_TRACE").is_some(),
            truths: (0..SLOTS).map(|_| Truth::default()).collect(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            unsure: Vec::new(),
            seen: Seen::default(),
            random,
        };
        for host in 0..hosts {
            // Some at once, some later.
            let after = world.random.below(4) * world.random.below(800);
            world.after(after, Event::Start(host));
        }
        for client in 0..CLIENTS {
            let after = world.random.below(3000);
            world.after(after, Event::Client(client));
        }
        world.after(100, Event::Act);
        world
    }

    fn settings(&self, host: usize) -> Settings {
        let tight = self.kind == Kind::Tight;
        Settings {
            slots: SLOTS,
            size: self.hosts[host].size as u64,
            window_ms: WINDOW_MS,
            limits: Limits {
                known_ms: if tight { 3000 } else { KNOWN_MS },
                marks: if tight { 2 } else { 1000 },
                memory: u64::MAX,
            },
            limits_of: LimitsOf::new(move |room| match (tight, &room[..]) {
                (true, b"b:0" | b"b:1") => TIGHT[1],
                (true, _) => TIGHT[0],
                _ => RoomLimits {
                    keep_ms: 10 * WINDOW_MS,
                    ..RoomLimits::NONE
                },
            }),
            fetch_entries: if tight { 3 } else { 20 },
            fetch_bytes: if tight { 400 } else { 4000 },
        }
    }

    /// A storm, then quiet.
    pub(super) fn run(&mut self) -> Checked {
        let storm_ends = self.now_ms + STORM_MS;
        self.run_until(storm_ends)?;
        self.quieten()
    }

    /// Nothing goes wrong any more, and all must be well soon.
    fn quieten(&mut self) -> Checked {
        self.calm()?;
        let quiet_ends = self.now_ms + QUIET_MS;
        let mut since_ms = self.now_ms;
        // Slots move once more when all is back; then they stay.
        while self.now_ms < since_ms + STAYS_MS {
            if let Err(why) = self.is_well().and_then(|()| self.clients_have_all()) {
                if self.now_ms >= quiet_ends {
                    return Err(format!("9: not well after quiet: {why}"));
                }
                since_ms = self.now_ms;
            }
            self.run_until(self.now_ms + 250)?;
        }
        let took_ms = since_ms + QUIET_MS - quiet_ends;
        self.seen.quiet_ms = self.seen.quiet_ms.max(took_ms);
        self.is_all_there()
    }

    fn run_until(&mut self, until_ms: u64) -> Checked {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until_ms {
                break;
            }
            let ((at_ms, _), event) = entry.remove_entry();
            self.now_ms = at_ms;
            if self.held.keep(&event) {
                continue;
            }
            self.happen(event)
                .map_err(|why| format!("at {at_ms}: {why}"))?;
        }
        self.now_ms = until_ms;
        Ok(())
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now_ms + ms, self.count), event);
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Tick { host, boot } => self.tick(host, boot),
            Event::Turn { host, boot } => self.turn(host, boot),
            Event::Look { host, boot } => self.look(host, boot),
            Event::Arrive {
                from,
                to,
                slot,
                message,
            } => self.arrive(from, to, slot, *message),
            Event::Flushed {
                host,
                boot,
                upto,
                token,
            } => self.persisted(host, boot, token, |disk| disk.flush(upto)),
            Event::Synced {
                host,
                boot,
                upto,
                token,
            } => self.persisted(host, boot, token, |disk| disk.sync(upto)),
            Event::Heal(from, to) => {
                self.cut.remove(&(from, to));
                Ok(())
            }
            Event::Start(host) => self.start(host),
            Event::Grow => self.grow(),
            Event::Client(client) => self.client(client),
            Event::Notice { host, boot, conn } => self.notice(host, boot, conn),
            Event::Act => self.act(),
        }
    }

    /// Says what happens, if asked to.
    fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{} {}", self.now_ms, what());
        }
    }

    /// Whether something gets from one host to another now.
    fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Sends a message: it arrives once, late, twice or not at all.
    fn send(&mut self, from: usize, to: usize, slot: SlotNo, message: Message) {
        self.seen.messages += 1;
        if !self.passes(from, to) || (self.random.percent(self.odds.lost) && !self.is_quiet) {
            self.seen.lost += 1;
            return;
        }
        let opens_feed = matches!(message, Message::Feed { .. });
        let is_lost = opens_feed
            && self.odds.feeds_lost > 0
            && !self.is_quiet
            && self.random.percent(self.odds.feeds_lost);
        if is_lost {
            self.seen.lost += 1;
            return;
        }
        let last = self.arrives.get(&(from, to)).copied().unwrap_or(0);
        let mut at_ms = last.max(self.now_ms + self.random.below(self.delay_ms + 1));
        self.arrives.insert((from, to), at_ms);
        let twice = match message {
            Message::Seal { .. } | Message::Follow { .. } | Message::Install { .. } => {
                self.odds.twice[0]
            }
            Message::Feed { .. } => self.odds.twice[1],
            _ => self.odds.twice[2],
        };
        let is_twice = self.random.percent(twice) && !self.is_quiet;
        if is_twice {
            let after = at_ms - self.now_ms + self.random.below(self.odds.twice_ms);
            let message = Box::new(message.clone());
            self.after(
                after,
                Event::Arrive {
                    from,
                    to,
                    slot,
                    message,
                },
            );
        }
        if self.random.percent(self.odds.late) && !self.is_quiet {
            at_ms += self.random.below(1500);
        }
        let message = Box::new(message);
        self.after(
            at_ms - self.now_ms,
            Event::Arrive {
                from,
                to,
                slot,
                message,
            },
        );
    }
}
