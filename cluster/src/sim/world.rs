//! Hosts, the ways between them, and what happens when.

mod acts;
mod check;
mod gossip;
mod host;
mod link;
mod quiet;
mod seen;

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;
use crate::proto::{LinkId, Rules};
use host::Host;
use link::Wire;
pub(super) use seen::Seen;

/// How long things go wrong.
const STORM_MS: u64 = 12_000;
/// How long it may take at most until all is well again.
const QUIET_MS: u64 = 60_000;

/// What a world does that no edge should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Frames are lost on links that stay up.
    Dropping,
    /// Rooms in frames are changed: no promise holds, but after quiet all must be well.
    Corrupting,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Plain, Self::Dropping, Self::Corrupting];
}

/// Something that is going to happen. Processes are named by host and boot: what was meant for one
/// that is gone is void.
#[derive(Clone, Debug)]
enum Event {
    Tick {
        host: usize,
        boot: u64,
    },
    /// A process looks at its gossip and sends some.
    Gossip {
        host: usize,
        boot: u64,
    },
    /// Gossip arrives.
    Heard {
        host: usize,
        boot: u64,
        news: gossip::News,
    },
    /// A dial reaches its goal, or does not.
    Dialled(LinkId),
    /// The dialler hears what came of it.
    Answered(LinkId, link::Answer),
    /// A link can write.
    Write(LinkId),
    /// The next frame of a link arrives.
    Arrive(LinkId),
    /// The link is looked at: whether its ends still hear each other.
    Beat(LinkId),
    /// An end notices that the link is lost.
    OutLost(LinkId),
    InLost(LinkId),
    /// A way is free again.
    Heal(usize, usize),
    Continue {
        host: usize,
        boot: u64,
    },
    Start(usize),
    /// Somebody does something.
    Act,
}

pub(super) struct World {
    random: Random,
    kind: Kind,
    rules: Rules,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    hosts: Vec<Host>,
    wires: BTreeMap<LinkId, Wire>,
    /// Ways on which nothing passes now, from and to.
    cut: BTreeSet<(usize, usize)>,
    /// Makes numbers of events, links and boots.
    count: u64,
    /// The longest time that a message usually takes.
    delay_ms: u64,
    /// How long nothing must be heard of a node until it is taken for dead.
    patience_ms: u64,
    /// How many of a hundred strokes of bad luck happen.
    bad_luck: u64,
    is_quiet: bool,
    pub(super) seen: Seen,
}

type Checked = Result<(), String>;

impl World {
    pub(super) fn new(mut random: Random, kind: Kind, rules: Rules) -> Self {
        let hosts = match random.below(50) {
            0 => 9,
            few => 2 + few as usize % 4,
        };
        let mut world = Self {
            kind,
            rules,
            now_ms: 1_000_000,
            events: BTreeMap::new(),
            hosts: (0..hosts).map(Host::new).collect(),
            wires: BTreeMap::new(),
            cut: BTreeSet::new(),
            count: 0,
            delay_ms: *random.pick(&[2, 20, 200]),
            patience_ms: 1500 + random.below(2000),
            bad_luck: *random.pick(&[50, 25, 10]),
            is_quiet: false,
            seen: Seen::default(),
            random,
        };
        for host in 0..hosts {
            // Some at once, some later.
            let after = world.random.below(4) * world.random.below(1500);
            world.after(after, Event::Start(host));
        }
        world.after(100, Event::Act);
        world
    }

    /// A storm, then quiet.
    pub(super) fn run(&mut self) -> Checked {
        let storm_ends = self.now_ms + STORM_MS;
        self.run_until(storm_ends)?;
        self.calm()?;
        let quiet_ends = self.now_ms + QUIET_MS;
        while let Err(why) = self.is_well() {
            if self.now_ms >= quiet_ends {
                return Err(format!("not well after quiet: {why}"));
            }
            self.run_until(self.now_ms + 250)?;
        }
        self.seen.quiet_ms = self
            .seen
            .quiet_ms
            .max(QUIET_MS - (quiet_ends - self.now_ms));
        // It must stay so.
        self.run_until(self.now_ms + 1500)?;
        self.is_well()
            .map_err(|why| format!("well, and then not: {why}"))
    }

    fn run_until(&mut self, until_ms: u64) -> Checked {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until_ms {
                break;
            }
            let ((at_ms, _), event) = entry.remove_entry();
            self.now_ms = at_ms;
            self.happen(event)?;
        }
        self.now_ms = until_ms;
        Ok(())
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now_ms + ms, self.count), event);
    }

    fn happen(&mut self, event: Event) -> Checked {
        let touched = self.touched(&event);
        if let Some(host) = touched
            && self.hosts[host].is_stopped
            && !matches!(event, Event::Continue { .. })
        {
            self.hosts[host].backlog.push(event);
            return Ok(());
        }
        match event {
            Event::Tick { host, boot } => self.tick(host, boot)?,
            Event::Gossip { host, boot } => self.gossip(host, boot)?,
            Event::Heard { host, boot, news } => self.heard(host, boot, &news)?,
            Event::Dialled(link) => self.dialled(link)?,
            Event::Answered(link, answer) => self.answered(link, answer)?,
            Event::Write(link) => self.write(link)?,
            Event::Arrive(link) => self.arrive(link)?,
            Event::Beat(link) => self.beat(link),
            Event::OutLost(link) => self.out_lost(link)?,
            Event::InLost(link) => self.in_lost(link)?,
            Event::Heal(from, to) => {
                self.cut.remove(&(from, to));
            }
            Event::Continue { host, boot } => self.resume(host, boot)?,
            Event::Start(host) => self.start(host)?,
            Event::Act => self.act()?,
        }
        match touched {
            Some(host) => self.check(host),
            None => Ok(()),
        }
    }

    /// The host at which an event is taken note of.
    fn touched(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Tick { host, .. }
            | Event::Gossip { host, .. }
            | Event::Heard { host, .. }
            | Event::Continue { host, .. } => Some(*host),
            Event::Answered(link, _) | Event::Write(link) | Event::OutLost(link) => {
                self.wires.get(link).map(|wire| wire.from.0)
            }
            Event::Dialled(link) | Event::Arrive(link) | Event::InLost(link) => {
                self.wires.get(link).map(|wire| wire.to.0)
            }
            Event::Beat(_) | Event::Heal(..) | Event::Start(_) | Event::Act => None,
        }
    }

    /// How long a message takes this time.
    fn delay(&mut self) -> u64 {
        let usual = self.random.below(self.delay_ms + 1);
        if self.random.percent(2) && !self.is_quiet {
            usual + self.random.below(1500)
        } else {
            usual
        }
    }

    /// Whether something gets from one host to another now.
    fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }
}
