//! What clients, operators and bad luck do.

use bytes::Bytes;

use super::{Checked, Event, World};
use crate::proto::RoomKey;

/// Rooms; so few that they come and go all the time, and more than a snapshot's frame takes.
const ROOMS: u64 = 10;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// Counts that end soon, and counts that outlive the world.
const SHORT_MS: u64 = 2000;
const LONG_MS: u64 = 3_600_000;

impl World {
    pub(super) fn act(&mut self) -> Checked {
        if self.is_quiet {
            return Ok(());
        }
        let host = self.random.below(self.hosts.len() as u64) as usize;
        let is_bad_luck = self.random.percent(self.bad_luck);
        match self.random.below(1000) {
            0..560 => self.join_or_leave(host)?,
            560..780 => self.count_something(host)?,
            780..800 => self.join_many(host)?,
            _ if !is_bad_luck => {}
            800..850 => self.lose_some_link(),
            850..880 => self.cut_a_way(),
            880..920 => self.distrust(host),
            920..940 => self.stop(host),
            940..960 => self.kill(host),
            960..965 => self.drain(host)?,
            _ => self.step_clock(host),
        }
        self.check(host)?;
        let after = self.random.below(60);
        self.after(after, Event::Act);
        Ok(())
    }

    fn is_running(&self, host: usize) -> bool {
        self.hosts[host].process.is_some() && !self.hosts[host].is_stopped
    }

    fn join_or_leave(&mut self, host: usize) -> Checked {
        let room = self.random.below(ROOMS);
        if !self.is_running(host) {
            return Ok(());
        }
        if let Some((process, now_ms)) = self.any_process(host) {
            if process.rooms.remove(&room).is_some() {
                process.node.leave(RoomKey(room), now_ms);
            } else {
                let seq = process.node.join(RoomKey(room), now_ms);
                process.rooms.insert(room, seq);
            }
        }
        self.seen.joins += 1;
        self.act_on(host)
    }

    /// More changes at once than are kept for a link that lags.
    fn join_many(&mut self, host: usize) -> Checked {
        for _ in 0..3 * ROOMS {
            self.join_or_leave(host)?;
        }
        Ok(())
    }

    fn count_something(&mut self, host: usize) -> Checked {
        if !self.is_running(host) {
            return Ok(());
        }
        let key = Bytes::from_static(self.random.pick(&KEYS).as_bytes());
        let mut parts = Vec::new();
        if self.random.percent(80) {
            let lasts = *self.random.pick(&[SHORT_MS, LONG_MS]);
            parts.push((self.now_ms + lasts, 1 + self.random.below(5) as u32));
            parts.push((self.now_ms + LONG_MS, 10));
        }
        self.hosts[host].counts.insert(key.clone(), parts);
        self.say_count(host, key)
    }

    /// Tells a node what its program counts of a key.
    pub(super) fn say_count(&mut self, host: usize, key: Bytes) -> Checked {
        let world_ms = self.now_ms;
        let parts = self.hosts[host].counts.get(&key).into_iter().flatten();
        let parts = parts.filter(|(until_ms, _)| *until_ms > world_ms);
        let parts = parts.map(|(until_ms, amount)| ((until_ms - world_ms) as u32, *amount));
        let parts = parts.collect();
        if let Some((process, now_ms)) = self.any_process(host) {
            process.node.count(key, parts, now_ms);
        }
        self.act_on(host)
    }

    fn lose_some_link(&mut self) {
        let up = self
            .wires
            .iter()
            .filter(|(_, it)| it.is_in_up && !it.is_lost);
        let up: Vec<_> = up.map(|(link, _)| *link).collect();
        if !up.is_empty() {
            let link = *self.random.pick(&up);
            self.seen.losses += 1;
            self.lose(link);
        }
    }

    /// Cuts the ways between a host and another, or all others, in one direction or both.
    fn cut_a_way(&mut self) {
        let hosts = self.hosts.len();
        let host = self.random.below(hosts as u64) as usize;
        let other = self.random.below(hosts as u64) as usize;
        let is_whole = self.random.percent(30);
        let directions = 1 + self.random.below(3);
        let lasts = 300 + self.random.below(5000);
        for to in (0..hosts).filter(|to| *to != host && (is_whole || *to == other)) {
            for (bit, way) in [(1, (host, to)), (2, (to, host))] {
                if directions & bit != 0 {
                    self.seen.cuts += 1;
                    self.cut.insert(way);
                    self.after(lasts, Event::Heal(way.0, way.1));
                }
            }
        }
    }

    fn stop(&mut self, host: usize) {
        let lasts = 200 + self.random.below(4000);
        let is_running = self.is_running(host);
        if let Some((process, _)) = self.any_process(host).filter(|_| is_running) {
            let boot = process.boot;
            self.seen.stops += 1;
            self.hosts[host].is_stopped = true;
            self.after(lasts, Event::Continue { host, boot });
        }
    }

    fn kill(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            self.seen.kills += 1;
            self.end(host);
            let after = self.random.below(3) * self.random.below(2500);
            self.after(after, Event::Start(host));
        }
    }

    fn drain(&mut self, host: usize) -> Checked {
        if !self.is_running(host) {
            return Ok(());
        }
        if let Some((process, now_ms)) = self.any_process(host) {
            process.node.drain(now_ms);
        }
        self.seen.drains += 1;
        self.act_on(host)
    }

    /// The wall clock is set, back as likely as forward.
    fn step_clock(&mut self, host: usize) {
        self.hosts[host].wall_off_ms = self.random.below(1_000_000);
    }
}
