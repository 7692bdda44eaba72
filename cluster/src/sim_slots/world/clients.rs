//! What clients do.

use std::collections::BTreeMap;

use super::acts::{ROOMS, room};
use super::gateway::names;
use super::{Checked, Event, World};
use crate::proto::slots::{Pid, Position, Room, SlotNo};

impl World {
    pub(super) fn client(&mut self, client: usize) -> Checked {
        let after = 20 + self.random.below(150);
        self.after(after, Event::Client(client));
        if self.clients[client].home.is_none() {
            let offline = if self.is_quiet { 50 } else { 15 };
            if self.random.percent(offline) {
                let host = self.random.below(self.hosts.len() as u64) as usize;
                if !self.hosts[host].is_draining {
                    return self.connect(client, host);
                }
            }
            return Ok(());
        }
        let most = if self.is_quiet {
            1000
        } else {
            self.random.below(12)
        };
        for _ in 0..most {
            if !self.clients[client].read(&self.truths)? {
                break;
            }
        }
        if self.is_quiet || !self.clients[client].is_connected {
            return Ok(());
        }
        let (changes, breaks) = (self.odds.changes, self.odds.breaks);
        match self.random.below(100) {
            it if it < changes => {
                let (name, slot) = *self.random.pick(&ROOMS);
                self.change_rooms(client, &room(name), slot)
            }
            it if it < changes + breaks => {
                self.vanish(client);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The connection breaks; its node notices later.
    pub(super) fn vanish(&mut self, client: usize) {
        if let Some((host, boot, conn)) = self.clients[client].home {
            self.clients[client].lose();
            let after = self.random.below(4000);
            self.after(after, Event::Notice { host, boot, conn });
        }
    }

    pub(super) fn notice(&mut self, host: usize, boot: u64, conn: u64) -> Checked {
        if self.hosts[host]
            .process
            .as_ref()
            .is_some_and(|it| it.boot == boot)
        {
            self.close(host, conn);
        }
        self.act_on(host)
    }

    /// 6, 9 and 10: all clients are there, have everything, and each has one home.
    pub(super) fn clients_have_all(&self) -> Checked {
        for (index, client) in self.clients.iter().enumerate() {
            let (Some((host, _, conn)), Some(pid)) = (client.home, &client.pid) else {
                return Err(format!("client {index} is not connected"));
            };
            if !client.is_connected || client.asked > 0 || !client.pipe.is_empty() {
                return Err(format!("client {index} waits for answers"));
            }
            let mut homes = Vec::new();
            for (other, it) in self.hosts.iter().enumerate() {
                let live = it.process.iter().flat_map(|process| process.live());
                homes.extend(
                    live.filter(|(of, _)| *of == pid)
                        .map(|(_, conn)| (other, conn)),
                );
            }
            if homes != [(host, conn)] {
                return Err(format!("9: {pid:?} lives at {homes:?}, not {host} {conn}"));
            }
            self.is_written(index, pid, &client.rooms)?;
            for (room, start) in &client.rooms {
                if client.left.contains(&(room.clone(), *start)) {
                    continue;
                }
                let of_room = ROOMS.iter().find(|(name, _)| name.as_bytes() == room);
                let slot = of_room.map_or(0, |(_, slot)| *slot);
                let head = self.head(slot).ok_or("a slot has no owner")?;
                let after = client.has_up_to(room, *start);
                let owed = self.truths[usize::from(slot)].between(room, after, head);
                if owed.as_ref().is_none_or(|owed| !owed.is_empty()) {
                    return Err(format!(
                        "6: client {index} in {room:?} has up to {after:?}, of {head:?} lacks {owed:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// 10: what would be restored is what the client was told.
    fn is_written(&self, index: usize, pid: &Pid, rooms: &BTreeMap<Room, Position>) -> Checked {
        let slot = (index % 2) as SlotNo;
        let processes = self.hosts.iter().flat_map(|host| &host.process);
        let owner = processes.map(|process| &process.core);
        let owner = owner.filter(|core| core.peek(slot).open.is_some());
        let homes = owner
            .flat_map(|core| core.homes(slot))
            .find(|(of, _)| of == pid);
        let record = homes
            .map(|(_, record)| record)
            .ok_or("10: a record is lost")?;
        let written = names(&record);
        if !written.keys().eq(record.rooms.keys()) {
            return Err(format!("10: {written:?} is not {:?}", record.rooms));
        }
        if written != *rooms {
            return Err(format!(
                "10: {pid:?} is in {rooms:?}, {written:?} is written"
            ));
        }
        Ok(())
    }
}
