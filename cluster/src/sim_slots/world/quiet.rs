//! When nothing goes wrong any more, all must be well soon.

use super::{Checked, Kind, SLOTS, World};
use crate::proto::slots::{Chain, Position, Rule};

impl World {
    /// Nothing goes wrong from now on: ways are healed, all run, nobody drains.
    pub(super) fn calm(&mut self) -> Checked {
        self.is_quiet = true;
        self.cut.clear();
        self.stuck.clear();
        self.deaf.clear();
        for host in 0..self.hosts.len() {
            self.hosts[host].is_draining = false;
            self.start(host)?;
        }
        Ok(())
    }

    /// Whether each slot has one kept owner, which has a follower if there can be one, and both
    /// have
    /// all that can be had.
    pub(super) fn is_well(&self) -> Checked {
        let hosts = self.hosts.iter().filter(|host| !host.is_gone);
        let count = hosts.clone().count();
        if !self.cut.is_empty() {
            return Err("ways are cut".into());
        }
        for slot in 0..SLOTS as u8 {
            let (mut owners, mut copies, mut followed) = (0, 0, None);
            let mut following = Vec::new();
            for host in hosts.clone() {
                let process = host.process.as_ref().ok_or("a host is down")?;
                let peek = process.core.peek(slot);
                if let Some((eid, kept, _)) = peek.open {
                    owners += 1;
                    followed = peek.copies.get(1).map(|follower| (*follower, eid));
                    copies = peek.copies.len();
                    if !kept {
                        return Err(format!("slot {slot}: {eid:?} is not kept"));
                    }
                    if peek.size < count as u64 && self.rules.keep(Rule::OpenWhenGrown) {
                        return Err(format!("slot {slot}: {eid:?} is of {}", peek.size));
                    }
                    if copies < 2 && hosts.clone().filter(|it| !it.is_draining).count() > 1 {
                        return Err(format!("slot {slot}: {eid:?} has no follower"));
                    }
                }
                let holds = peek.open.is_some() || peek.following.is_some();
                following.extend(peek.following.map(|eid| (host.id, eid)));
                let lacks = self.kind == Kind::Gentle && peek.from > self.lowest(slot, &peek.chain);
                if holds && (peek.filling || lacks) {
                    return Err(format!("slot {slot}: {:?} fills up", host.id));
                }
            }
            if followed.is_some_and(|it| !following.contains(&it)) {
                return Err(format!("slot {slot}: {followed:?} does not follow"));
            }
            if owners != 1 || copies > count {
                return Err(format!("slot {slot} has {owners} owners"));
            }
        }
        Ok(())
    }

    /// Up to where a slot's owner can be read.
    pub(super) fn head(&self, slot: u8) -> Option<Position> {
        let processes = self.hosts.iter().flat_map(|host| &host.process);
        let mut open = processes.filter_map(|process| process.core.peek(slot).open);
        open.next().map(|(eid, _, seq)| Position { eid, seq })
    }

    /// From where on anybody has entries of a branch.
    fn lowest(&self, slot: u8, chain: &Chain) -> u64 {
        let processes = self.hosts.iter().flat_map(|host| &host.process);
        let peeks = processes.map(|process| process.core.peek(slot));
        let of_branch = peeks.filter(|peek| peek.chain.last().is_some_and(|it| chain.has(it)));
        of_branch.map(|peek| peek.from).min().unwrap_or(0)
    }

    pub(super) fn holds_something(&self, host: usize) -> bool {
        let Some(process) = &self.hosts[host].process else {
            return true;
        };
        let holds = |slot| {
            let peek = process.core.peek(slot);
            peek.open.is_some() || peek.following.is_some()
        };
        (0..SLOTS as u8).any(holds)
    }

    /// 3 and 7: what was kept is on the branch that goes on, and can be read.
    pub(super) fn is_all_there(&self) -> Checked {
        for slot in 0..SLOTS as u8 {
            let truth = &self.truths[usize::from(slot)];
            if self.kind == Kind::Gentle && truth.cuts > 0 {
                return Err(format!("7: slot {slot} was cut"));
            }
            for host in &self.hosts {
                let Some(process) = &host.process else {
                    continue;
                };
                let peek = process.core.peek(slot);
                let Some((eid, _, commit)) = peek.open else {
                    continue;
                };
                let chain = truth.chain(eid).ok_or("the owner's epoch is unknown")?;
                let readable = process.core.readable(slot);
                for position in truth.all(eid, commit) {
                    let Some(fact) = truth.fact(position) else {
                        continue;
                    };
                    let Some(room) = &fact.room else {
                        continue;
                    };
                    let trimmed = process.core.trimmed(slot, room).max(peek.from);
                    let gentle = self.kind == Kind::Gentle;
                    let trimmed = if gentle { 0 } else { trimmed };
                    if position.seq > trimmed && !readable.contains(&position.seq) {
                        return Err(format!(
                            "7: {position:?} cannot be read on {chain:?}, from {}",
                            peek.from
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
