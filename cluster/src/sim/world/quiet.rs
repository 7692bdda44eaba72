//! When nothing goes wrong any more, all must be well soon.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::host::Process;
use super::{Checked, World};
use crate::proto::{Lifecycle, RoomKey};

/// Longer than any telling takes.
const SLACK_MS: u64 = 4000;

impl World {
    /// Nothing goes wrong from now on: ways are healed, processes run, nobody drains.
    pub(super) fn calm(&mut self) -> Checked {
        self.is_quiet = true;
        self.cut.clear();
        self.trust_all();
        // Unlucky dice alone must not make a node dead.
        self.patience_ms = 8000;
        for host in 0..self.hosts.len() {
            if let Some(boot) = self.any_process(host).map(|it| it.0.boot) {
                self.resume(host, boot)?;
            }
            let process = self.hosts[host].process.as_ref();
            if process.is_some_and(|it| it.lifecycle == Lifecycle::Draining) {
                self.end(host);
            }
            self.start(host)?;
        }
        Ok(())
    }

    /// Whether everybody knows everything.
    pub(super) fn is_well(&self) -> Checked {
        for host in 0..self.hosts.len() {
            let process = self.running(host)?;
            let node = &process.node;
            if node.lifecycle() != Lifecycle::Ready {
                return Err(format!("host{host} is {:?}", node.lifecycle()));
            }
            let rooms: BTreeSet<RoomKey> = process.rooms.keys().map(|it| RoomKey(*it)).collect();
            if node.own_rooms() != rooms {
                return Err(format!("host{host} announces {:?}", node.own_rooms()));
            }
            if node.floor() != node.seq() {
                return Err(format!(
                    "host{host}: floor {} of {}",
                    node.floor(),
                    node.seq()
                ));
            }
            if process.slots.len() + 1 != self.hosts.len() {
                return Err(format!("host{host} knows {:?}", process.slots));
            }
            for other in (0..self.hosts.len()).filter(|other| *other != host) {
                self.knows(host, other)?;
            }
            self.counts_right(host)?;
        }
        Ok(())
    }

    fn running(&self, host: usize) -> Result<&Process, String> {
        let process = self.hosts[host].process.as_ref();
        process.ok_or_else(|| format!("host{host} does not run"))
    }

    /// Whether a host has another's rooms exactly, and is linked with it.
    fn knows(&self, host: usize, other: usize) -> Checked {
        let (here, there) = (self.running(host)?, self.running(other)?);
        let name = &self.hosts[other].name;
        let slot = here.node.slot_of(name, there.generation);
        let slot = slot.ok_or_else(|| format!("host{host} does not see host{other}"))?;
        let seen = here
            .node
            .peers()
            .into_iter()
            .find(|peer| peer.slot == Some(slot));
        if seen.is_none_or(|peer| peer.lifecycle != Lifecycle::Ready) {
            return Err(format!("host{host} does not see that host{other} is ready"));
        }
        let link = here.node.link_to(name);
        if link.is_none() || here.linked.get(&slot) != link.as_ref() {
            return Err(format!("host{host} has no link to host{other}"));
        }
        if there
            .node
            .link_from(&self.hosts[host].name, here.generation)
            != link
        {
            return Err(format!("host{other} has another link from host{host}"));
        }
        let rooms = here.node.rooms_of(name);
        if rooms != Some(there.node.own_rooms()) {
            return Err(format!("host{host} takes host{other} to want {rooms:?}"));
        }
        Ok(())
    }

    /// Whether a host that counts a key knows what the others count of it.
    ///
    /// What ends by time ends later where it was told, by as long as the telling took; so that is
    /// looked at only when all that ends soon has ended for some time.
    fn counts_right(&self, host: usize) -> Checked {
        let mut parts = self
            .hosts
            .iter()
            .flat_map(|host| host.counts.values().flatten());
        let is_ending = |until_ms| until_ms + SLACK_MS > self.now_ms && until_ms < self.long_ms();
        if parts.any(|part| is_ending(part.0)) {
            return Err("some counts are still ending".into());
        }
        let process = self.running(host)?;
        for key in self.hosts[host].counts.keys() {
            if self.counted(host, key) == 0 {
                continue;
            }
            let others = (0..self.hosts.len()).filter(|other| *other != host);
            let truth: u32 = others.map(|other| self.counted(other, key)).sum();
            let told = process.others.get(key).map_or(0, |(at_ms, parts)| {
                let is_live = |ttl_ms| at_ms + u64::from(ttl_ms) > self.now_ms;
                let live = parts.iter().filter(|part| is_live(part.0));
                live.map(|part| part.1).sum()
            });
            if told != truth {
                return Err(format!(
                    "host{host} takes {key:?} for {told}, it is {truth}"
                ));
            }
        }
        Ok(())
    }

    /// What ends after this outlives the world.
    fn long_ms(&self) -> u64 {
        self.now_ms + 600_000
    }

    fn counted(&self, host: usize, key: &Bytes) -> u32 {
        let parts = self.hosts[host].counts.get(key).into_iter().flatten();
        let live = parts.filter(|part| part.0 > self.now_ms);
        live.map(|part| part.1).sum()
    }
}
