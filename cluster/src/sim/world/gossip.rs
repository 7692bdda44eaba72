//! Gossip as the nodes' edges do it: on the links, with heartbeats, each with its own view.

use std::sync::Arc;

use super::host::address;
use super::{Checked, Event, World};
use crate::proto::{Gossiped, Lifecycle, Mark};

/// How often a process gossips.
const ROUND_MS: u64 = 250;

/// What is known of one start of a node.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) lifecycle: Lifecycle,
    pub(super) interest: Option<Mark>,
    /// Rises with each change of the two.
    pub(super) version: u64,
    heartbeat: u64,
    /// Heartbeats that came here, and when the last did.
    beats: u64,
    beat_ms: u64,
    /// Until when it is taken for dead whatever is heard of it.
    distrusted_ms: u64,
}

/// All that a process knows, as it is sent.
pub(super) type News = Arc<Vec<((usize, u64), Heard)>>;

impl Heard {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            lifecycle: Lifecycle::Joining,
            interest: None,
            version: 0,
            heartbeat: 0,
            beats: 0,
            beat_ms: now_ms,
            distrusted_ms: 0,
        }
    }

    fn take(&mut self, news: &Self, now_ms: u64) {
        if news.version > self.version {
            self.lifecycle = news.lifecycle;
            self.interest = news.interest;
            self.version = news.version;
        }
        if news.heartbeat > self.heartbeat {
            self.heartbeat = news.heartbeat;
            self.beats += 1;
            self.beat_ms = now_ms;
        }
    }
}

impl World {
    pub(super) fn gossip(&mut self, host: usize, boot: u64) -> Checked {
        let hosts = self.hosts.len() as u64;
        let any = [self.random.below(hosts), self.random.below(hosts)];
        let seed = self.random.below(2) as usize;
        let Some((process, _)) = self.process(host, boot) else {
            return Ok(());
        };
        if let Some(own) = process.heard.get_mut(&(host, process.generation)) {
            own.heartbeat += 1;
        }
        let news = process
            .heard
            .iter()
            .map(|(who, heard)| (*who, heard.clone()));
        let news: News = Arc::new(news.collect());
        // Two of those that are known, dead or alive, and one of the seeds: the first two hosts.
        let is_known = |to: &usize| *to != host && news.iter().any(|(who, _)| who.0 == *to);
        let known = any.map(|to| to as usize).into_iter().filter(is_known);
        for to in known.chain([seed]) {
            self.send_gossip(host, to, &news)?;
        }
        self.after(ROUND_MS, Event::Gossip { host, boot });
        self.give_view(host)
    }

    fn send_gossip(&mut self, host: usize, to: usize, news: &News) -> Checked {
        let mut links = self.wires.values();
        let wire = links.find(|it| it.from.0 == host && it.to.0 == to && it.is_out_up);
        let Some(wire) = wire else {
            if let Some((process, now_ms)) = self.any_process(host) {
                process.node.wanted(address(to), now_ms);
            }
            return self.act_on(host);
        };
        let (is_whole, boot) = (wire.is_in_up && !wire.is_lost, wire.to.1);
        if is_whole && self.passes(host, to) {
            let (delay, news) = (self.delay(), news.clone());
            let host = to;
            self.after(delay, Event::Heard { host, boot, news });
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, host: usize, boot: u64, news: &News) -> Checked {
        let world_ms = self.now_ms;
        let Some((process, _)) = self.process(host, boot) else {
            return Ok(());
        };
        let own = (host, process.generation);
        for (who, heard) in news.iter().filter(|(who, _)| *who != own) {
            let known = process.heard.entry(*who);
            known
                .or_insert_with(|| Heard::new(world_ms))
                .take(heard, world_ms);
        }
        self.give_view(host)
    }

    /// Tells the node what gossip knows, if that has changed.
    fn give_view(&mut self, host: usize) -> Checked {
        let (world_ms, patience_ms, random) = (self.now_ms, self.patience_ms, self.random.next());
        let names: Vec<Arc<str>> = self.hosts.iter().map(|host| host.name.clone()).collect();
        let Some((process, now_ms)) = self.any_process(host) else {
            return Ok(());
        };
        let own = (host, process.generation);
        let others = process.heard.iter().filter(|(who, _)| **who != own);
        let view = others.map(|(who, heard)| Gossiped {
            name: names[who.0].clone(),
            generation: who.1,
            address: address(who.0),
            lifecycle: heard.lifecycle,
            alive: heard.beats >= 2
                && world_ms < heard.beat_ms + patience_ms
                && world_ms >= heard.distrusted_ms,
            interest: heard.interest,
        });
        let view: Vec<Gossiped> = view.collect();
        if view != process.given {
            process.given.clone_from(&view);
            process.node.gossip(view, now_ms, random);
        }
        self.act_on(host)
    }

    /// A process takes a node for dead that is not.
    pub(super) fn distrust(&mut self, host: usize) {
        let until_ms = self.now_ms + 200 + self.random.below(3000);
        let at = self.random.next();
        let Some((process, _)) = self.any_process(host) else {
            return;
        };
        let own = (host, process.generation);
        let others = process.heard.iter_mut().filter(|(who, _)| **who != own);
        let mut others: Vec<_> = others.map(|(_, heard)| heard).collect();
        if !others.is_empty() {
            let at = (at % others.len() as u64) as usize;
            others[at].distrusted_ms = until_ms;
            self.seen.distrusts += 1;
        }
    }

    /// Nobody is taken for dead any more but for silence.
    pub(super) fn trust_all(&mut self) {
        let processes = self
            .hosts
            .iter_mut()
            .filter_map(|host| host.process.as_mut());
        for heard in processes.flat_map(|process| process.heard.values_mut()) {
            heard.distrusted_ms = 0;
        }
    }
}
