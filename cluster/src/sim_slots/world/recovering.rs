//! A client's way back, from its record to what it missed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::gateway::{Member, Phase, Wanted, names};
use super::{Checked, World};
use crate::proto::slots::{
    Answer, Cursor, Entry, Position, Presented, Recovery, Request, Room, Rule, SlotNo, Step,
};
use crate::sim_slots::client::{Frame, Offset};

impl World {
    pub(super) fn taken(
        &mut self,
        host: usize,
        conn: u64,
        (slot, pid): (SlotNo, Bytes),
        answer: Answer,
    ) -> Checked {
        let rules = self.rules;
        let home = self.home(host, conn);
        let Some(socket) = self.socket(host, conn) else {
            if let Answer::Taken { .. } = answer {
                // Its client has gone meanwhile.
                self.ask(host, slot, Request::Leave { pid, home }, Wanted::Nothing);
            }
            return Ok(());
        };
        let (record, position, kept) = match answer {
            Answer::Taken {
                record,
                position,
                kept,
            } => (record, position, kept),
            Answer::Lost => {
                self.seen.refused += 1;
                self.begin(host, conn);
                return Ok(());
            }
            _ => {
                self.close(host, conn);
                return Ok(());
            }
        };
        assert_eq!(record.home, home);
        let offset = socket.offset.clone();
        let presented = match &offset {
            None => Presented::Nothing,
            Some(Offset {
                text,
                cursor: Some(cursor),
                ..
            }) => Presented::Offset(text, cursor),
            Some(Offset { text, .. }) => Presented::Unreadable(text),
        };
        let Some(mut recovery) = Recovery::with_rules(&record, presented, rules) else {
            if record.stale.as_ref() == offset.as_ref().map(|offset| &offset.text) {
                return Err(format!("told false for {offset:?}, which says nothing"));
            }
            return self.step(host, conn, Step::Refused);
        };
        let names = names(&record);
        for (room, (slot, start)) in &record.rooms {
            let member = Member {
                slot: *slot,
                start: names.get(room).copied(),
                seen: *start,
                is_leaving: false,
            };
            socket.members.insert(room.clone(), member);
        }
        (socket.taken, socket.last) = (Some(position), Some(position));
        socket.is_kept = kept;
        socket.record = record;
        let rooms = recovery.rooms();
        let end = recovery.end();
        socket.phase = Phase::Recovering(Box::new(recovery));
        for (slot, room) in rooms {
            self.join_room(host, conn, slot, &room);
        }
        self.step(host, conn, end)
    }

    pub(super) fn step(&mut self, host: usize, conn: u64, step: Step) -> Checked {
        match step {
            Step::Wait => {}
            Step::Failed => self.close(host, conn),
            Step::Refused => {
                self.seen.refused += 1;
                // The record is of no use to anybody.
                let home = self.home(host, conn);
                if let Some(socket) = self.socket(host, conn) {
                    let (slot, pid) = (socket.slot, socket.pid.clone());
                    self.ask(host, slot, Request::Delete { pid, home }, Wanted::Nothing);
                }
                self.begin(host, conn);
            }
            Step::Read(slot) => {
                let Some(process) = &mut self.hosts[host].process else {
                    return Ok(());
                };
                let Some(socket) = process.sockets.get_mut(&conn) else {
                    return Ok(());
                };
                let rooms = socket
                    .members
                    .iter()
                    .filter(|(_, member)| member.slot == slot);
                let fed: Vec<_> = rooms
                    .map(|(room, _)| process.core.fed_upto(slot, room))
                    .collect();
                let (Phase::Recovering(recovery), Some(Some(upto))) =
                    (&mut socket.phase, fed.first())
                else {
                    // Cut meanwhile.
                    self.close(host, conn);
                    return Ok(());
                };
                let request = recovery.request(slot, *upto);
                self.ask(host, slot, request, Wanted::Read(conn, slot));
            }
            Step::Recovered {
                entries,
                before,
                after,
                seen,
                rooms,
            } => {
                if let Some(socket) = self.socket(host, conn) {
                    socket.record.rooms = rooms;
                }
                self.recovered(host, conn, &entries, (before, after), &seen)?;
            }
        }
        Ok(())
    }

    /// CONNECT, what was missed, what was held.
    fn recovered(
        &mut self,
        host: usize,
        conn: u64,
        entries: &[Arc<Entry>],
        (before, after): (Cursor, Cursor),
        seen: &BTreeMap<Room, Position>,
    ) -> Checked {
        self.seen.recovered += 1;
        self.seen.replayed += entries.len() as u64;
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        socket.phase = Phase::Live;
        socket.cursor = before;
        let held = std::mem::take(&mut socket.held);
        let (pid, client, kept) = (socket.pid.clone(), socket.client, socket.is_kept);
        let recovered = Some(names(&socket.record));
        let frame = Frame::Connect {
            pid,
            recovered,
            kept,
        };
        self.frame(host, conn, client, frame);
        for entry in entries {
            let slot = self.slot_in(host, conn, entry);
            let socket = self.socket(host, conn);
            let members = socket.into_iter().flat_map(|socket| &socket.members);
            let mut of_room = members.filter(|(room, _)| entry.is_of(room));
            if of_room.any(|(_, member)| member.seen >= entry.position) {
                // It is for nobody else to filter.
                return Err(format!(
                    "5: {entry:?} is replayed, and is not after its place"
                ));
            }
            self.event(host, conn, slot, entry);
        }
        if let Some(socket) = self.socket(host, conn) {
            socket.cursor = after;
            for (room, member) in &mut socket.members {
                member.seen = member.seen.max(seen.get(room).copied().unwrap_or_default());
            }
        }
        for (slot, entry) in held {
            self.event(host, conn, slot, &entry);
        }
        if self.rules.keep(Rule::PutAgain) {
            self.write(host, conn);
        }
        Ok(())
    }
}
