//! What backends, operators and bad luck do.

use bytes::Bytes;

use super::host::{Emit, Host};
use super::{Checked, Event, Kind, World};
use crate::proto::slots::{Room, Rule, SlotNo};

/// Rooms of the first slot and of the second.
pub(super) const ROOMS: [(&str, SlotNo); 5] =
    [("a:0", 0), ("b:0", 0), ("c:0", 0), ("a:1", 1), ("b:1", 1)];

pub(super) fn room(name: &'static str) -> Room {
    Bytes::from_static(name.as_bytes())
}

impl World {
    pub(super) fn act(&mut self) -> Checked {
        if self.is_quiet {
            return Ok(());
        }
        let host = self.random.below(self.hosts.len() as u64) as usize;
        // What drains is one copy less: the only thing that may happen next is that it goes.
        let drains = (0..self.hosts.len()).find(|it| self.hosts[*it].is_draining);
        let gentle = self.kind == Kind::Gentle;
        match self.random.below(1000) {
            0..500 => self.emit_something(host)?,
            500..600 => self.emit_again(host)?,
            600..640 => self.hosts[host].disk.settle(),
            640..660 => self.grow()?,
            660..690 => self.shrink(drains.unwrap_or(host))?,
            690..800 => self.idle()?,
            _ if !self.random.percent(self.bad_luck) => {}
            _ if gentle && self.is_well().is_err() => {}
            _ if gentle && drains.is_some() => {}
            800..880 => self.cut_a_way(),
            880..910 => self.distrust(host),
            910..940 => self.kill(host),
            940..960 => self.cut_power(host),
            960..970 => self.drain(host)?,
            _ => self.step_clock(host),
        }
        let after = self.random.below(self.odds.act_ms);
        self.after(after, Event::Act);
        Ok(())
    }

    pub(super) fn emit_something(&mut self, host: usize) -> Checked {
        let (name, slot) = *self.random.pick(&ROOMS);
        self.count += 1;
        let id = Bytes::from(format!("id{}", self.count));
        let emit = Emit {
            slot,
            room: room(name),
            id,
        };
        if self.random.percent(10) {
            // The backend will not believe the answer.
            self.unsure.push(emit.clone());
        }
        self.emit(host, emit)
    }

    fn emit_again(&mut self, host: usize) -> Checked {
        if self.unsure.is_empty() {
            return Ok(());
        }
        self.seen.repeated += 1;
        let at = self.random.below(self.unsure.len() as u64) as usize;
        let emit = self.unsure.swap_remove(at);
        self.emit(host, emit)
    }

    fn idle(&mut self) -> Checked {
        if self.odds.grows > 0 && self.random.percent(self.odds.grows) {
            return self.grow();
        }
        Ok(())
    }

    /// Cuts the ways between two halves, in both directions.
    fn cut_in_halves(&mut self) {
        let lasts = 300 + self.random.below(6000);
        let sides: Vec<bool> = self.hosts.iter().map(|_| self.random.percent(50)).collect();
        for (from, side) in sides.iter().enumerate() {
            for (to, other) in sides.iter().enumerate() {
                if side != other {
                    self.seen.cut_ways += 1;
                    self.cut.insert((from, to));
                    self.after(lasts, Event::Heal(from, to));
                }
            }
        }
    }

    /// Cuts the ways between a host and another, or all others, in one direction or both.
    fn cut_a_way(&mut self) {
        if self.odds.halves > 0 && self.random.percent(self.odds.halves) {
            return self.cut_in_halves();
        }
        let hosts = self.hosts.len();
        let host = self.random.below(hosts as u64) as usize;
        let other = self.random.below(hosts as u64) as usize;
        let is_whole = self.random.percent(40);
        let directions = 1 + self.random.below(3);
        let lasts = 300 + self.random.below(6000);
        for to in (0..hosts).filter(|to| *to != host && (is_whole || *to == other)) {
            for (bit, way) in [(1, (host, to)), (2, (to, host))] {
                if directions & bit != 0 {
                    self.seen.cut_ways += 1;
                    self.cut.insert(way);
                    self.after(lasts, Event::Heal(way.0, way.1));
                }
            }
        }
    }

    fn distrust(&mut self, host: usize) {
        let other = self.random.below(self.hosts.len() as u64) as usize;
        let until_ms = self.now_ms + self.random.below(5000);
        if let Some(process) = &mut self.hosts[host].process {
            process.distrusts.insert(other, until_ms);
        }
    }

    fn start_later(&mut self, host: usize) {
        let after = self.random.below(3) * self.random.below(self.odds.down_ms);
        self.after(after, Event::Start(host));
    }

    fn kill(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            self.seen.kills += 1;
            self.trace(|| format!("kill host{host}"));
            self.end(host);
            self.hosts[host].disk.kill(&mut self.random);
            self.start_later(host);
        }
    }

    fn cut_power(&mut self, host: usize) {
        self.power_off(host);
        // Now and then of several at once.
        if self.kind != Kind::Gentle && self.random.percent(15) {
            for other in 0..self.hosts.len() {
                if self.random.percent(70) {
                    self.power_off(other);
                }
            }
        }
    }

    fn power_off(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            self.seen.power_cuts += 1;
            self.trace(|| format!("power off host{host}"));
            self.end(host);
            self.hosts[host].disk.cut_power(&mut self.random);
            self.hosts[host].is_unclean = true;
            self.start_later(host);
        }
    }

    /// Drains, and stops cleanly after a while.
    fn drain(&mut self, host: usize) -> Checked {
        if self.hosts[host].process.is_none() {
            return Ok(());
        }
        self.seen.drains += 1;
        if self.hosts[host].is_draining || self.kind == Kind::Gentle {
            self.stop(host);
            self.start_later(host);
            return Ok(());
        }
        self.hosts[host].is_draining = !self.hosts[host].is_draining;
        Ok(())
    }

    pub(super) fn stop(&mut self, host: usize) {
        self.end(host);
        self.hosts[host].disk.stop();
    }

    fn step_clock(&mut self, host: usize) {
        if self.kind == Kind::Clocks {
            self.seen.clocks += 1;
            self.hosts[host].wall_off_ms = self.random.below(200_000);
        }
    }

    /// A new node joins, when all is well.
    pub(super) fn grow(&mut self) -> Checked {
        let count = self.hosts.iter().filter(|host| !host.is_gone).count();
        let drains = self.hosts.iter().any(|host| host.is_draining);
        if count >= 5 || drains || self.is_well().is_err() {
            return Ok(());
        }
        if !self.rules.keep(Rule::OpenWhenGrown) {
            // Nothing says that it is too early for the next.
            self.after(400, Event::Grow);
        }
        self.seen.grown += 1;
        self.trace(|| format!("host{} is new", self.hosts.len()));
        let host = self.hosts.len();
        self.hosts.push(Host::new(host, count + 1));
        self.start(host)
    }

    /// A node leaves for good, when all is well and it holds nothing.
    fn shrink(&mut self, host: usize) -> Checked {
        let count = self.hosts.iter().filter(|host| !host.is_gone).count();
        let it = &self.hosts[host];
        let mut others = self.hosts.iter().enumerate().filter(|(it, _)| *it != host);
        if others.any(|(_, other)| other.is_draining) {
            return Ok(());
        }
        let least = if self.kind == Kind::Gentle { 3 } else { 2 };
        if count < least || it.is_gone || self.is_well().is_err() || self.holds_something(host) {
            return Ok(());
        }
        if !it.is_draining && !self.random.percent(50) {
            self.hosts[host].is_draining = true;
            return Ok(());
        }
        self.seen.shrunk += 1;
        self.trace(|| format!("host{host} is forgotten"));
        self.stop(host);
        let id = self.hosts[host].id;
        self.hosts[host].is_gone = true;
        for other in 0..self.hosts.len() {
            let size = self.hosts[other].size.min(count - 1);
            self.hosts[other].size = size;
            if let Some(core) = self.core(other) {
                core.forget(id);
                core.resize(size as u64);
                self.act_on(other)?;
            } else {
                self.hosts[other].disk.roster.0.remove(&id);
                self.hosts[other].disk.roster.1.insert(id);
            }
        }
        Ok(())
    }
}
