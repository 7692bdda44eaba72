//! What a node does for the clients that are connected to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::host::Process;
use super::{Checked, World};
use crate::proto::slots::{
    Answer, Body, Cursor, Entry, Home, Position, Presented, Record, Recovery, Request, Room, Rule,
    SlotNo, Step,
};
use crate::sim_slots::client::{Frame, Offset};

/// A socket's membership of a room.
#[derive(Clone, Debug)]
pub(super) struct Member {
    slot: SlotNo,
    /// Where it began; none until the room is fed.
    start: Option<Position>,
    /// Up to where it has everything.
    seen: Position,
    /// It has left, but that is not written. Until then it gets everything: if it comes back
    /// before, it is in the room, and its cursor must be true of it.
    is_leaving: bool,
}

/// How far a socket has come.
#[derive(Debug)]
enum Phase {
    /// Its record is being taken, or written for the first time.
    Opening,
    Recovering(Recovery),
    Live,
}

#[derive(Debug)]
pub(super) struct Socket {
    client: usize,
    pub(super) pid: Bytes,
    /// The slot of its record.
    pub(super) slot: SlotNo,
    record: Record,
    offset: Option<Offset>,
    phase: Phase,
    members: BTreeMap<Room, Member>,
    cursor: Cursor,
    held: Vec<(SlotNo, Arc<Entry>)>,
    /// A write of the record is under way, another must follow.
    is_writing: bool,
    again: bool,
    /// Where it took its record over, or wrote it first.
    taken: Option<Position>,
    /// Where the last write was.
    last: Option<Position>,
    /// Whether its record was taken in a kept epoch.
    is_taken_kept: bool,
    /// Joined and left rooms whose acknowledgement waits for a write, and which change it is.
    acks: Vec<(u64, Room, Option<Position>)>,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Wanted {
    Take(u64, SlotNo, Bytes),
    Write(u64, u64),
    Read(u64, SlotNo),
    /// Nobody waits for it.
    Nothing,
}

impl World {
    fn socket(&mut self, host: usize, conn: u64) -> Option<&mut Socket> {
        self.hosts[host].process.as_mut()?.sockets.get_mut(&conn)
    }

    fn ask(&mut self, host: usize, slot: SlotNo, request: Request, wanted: Wanted) {
        let now = self.now(host);
        if let Some(process) = &mut self.hosts[host].process {
            let rid = process.fresh();
            process.wanted.insert(rid, wanted);
            process.core.ask(rid, slot, request, now);
        }
    }

    fn home(&self, host: usize, conn: u64) -> Home {
        Home {
            node: self.hosts[host].id,
            boot: self.hosts[host].boot,
            connection: conn,
        }
    }

    /// A client connects.
    pub(super) fn connect(&mut self, client: usize, host: usize) -> Checked {
        let offset = self.clients[client].present(&mut self.random);
        self.trace(|| format!("client{client} comes to host{host} with {offset:?}"));
        let Some(process) = &mut self.hosts[host].process else {
            return Ok(());
        };
        let (boot, conn) = (process.boot, process.fresh());
        self.clients[client].home = Some((host, boot, conn));
        let slot = (client % 2) as SlotNo;
        let pid = self.clients[client].pid.clone();
        let known = offset.as_ref().filter(|offset| offset.cursor.is_some());
        let known = known.map(|offset| (offset.text.clone(), offset.written));
        let socket = Socket {
            client,
            pid: pid.clone().unwrap_or_default(),
            slot,
            record: Record::default(),
            offset,
            phase: Phase::Opening,
            members: BTreeMap::new(),
            cursor: Cursor::new(),
            held: Vec::new(),
            is_writing: false,
            again: false,
            taken: None,
            last: None,
            is_taken_kept: false,
            acks: Vec::new(),
        };
        process.sockets.insert(conn, socket);
        match pid {
            Some(pid) => {
                let home = self.home(host, conn);
                let wanted = Wanted::Take(conn, slot, pid.clone());
                let request = Request::Take {
                    pid,
                    home,
                    offset: known,
                };
                self.ask(host, slot, request, wanted);
            }
            None => self.begin(host, conn),
        }
        self.act_on(host)
    }

    /// A new pid.
    fn begin(&mut self, host: usize, conn: u64) {
        self.count += 1;
        let (pid, home) = (
            Bytes::from(format!("pid{}", self.count)),
            self.home(host, conn),
        );
        self.leave_all(host, conn);
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        socket.pid = pid;
        socket.phase = Phase::Opening;
        socket.held.clear();
        (socket.taken, socket.last) = (None, None);
        socket.record = Record {
            home,
            stale: socket.offset.as_ref().map(|offset| offset.text.clone()),
            ..Record::default()
        };
        self.write(host, conn);
    }

    fn leave_all(&mut self, host: usize, conn: u64) {
        let members = self
            .socket(host, conn)
            .map(|it| std::mem::take(&mut it.members));
        for (room, member) in members.into_iter().flatten() {
            self.leave_room(host, member.slot, &room);
        }
    }

    /// The last socket that leaves a room ends its feed.
    fn leave_room(&mut self, host: usize, slot: SlotNo, room: &Room) {
        let now = self.now(host);
        if let Some(process) = &mut self.hosts[host].process
            && !process
                .sockets
                .values()
                .any(|it| it.members.contains_key(room))
        {
            process.core.leave(slot, room, now);
        }
    }

    fn join_room(&mut self, host: usize, conn: u64, slot: SlotNo, room: &Room) {
        let now = self.now(host);
        if let Some(process) = &mut self.hosts[host].process {
            let rid = process.fresh();
            process.joins.insert(rid, (conn, room.clone()));
            process.core.join(rid, slot, room, now);
        }
    }

    /// Writes the record as it is; one write at a time.
    fn write(&mut self, host: usize, conn: u64) {
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        if socket.is_writing {
            socket.again = true;
            return;
        }
        (socket.is_writing, socket.again) = (true, false);
        let (slot, change) = (socket.slot, socket.record.change);
        let request = Request::Put {
            pid: socket.pid.clone(),
            record: socket.record.clone(),
            taken: socket.taken,
            last: socket.last,
        };
        self.ask(host, slot, request, Wanted::Write(conn, change));
    }

    pub(super) fn gateway_answered(
        &mut self,
        host: usize,
        wanted: Wanted,
        answer: Answer,
    ) -> Checked {
        match wanted {
            Wanted::Nothing => Ok(()),
            Wanted::Take(conn, slot, pid) => self.taken(host, conn, (slot, pid), answer),
            Wanted::Write(conn, change) => self.written(host, conn, change, answer),
            Wanted::Read(conn, slot) => {
                let Some(Phase::Recovering(recovery)) =
                    self.socket(host, conn).map(|it| &mut it.phase)
                else {
                    return Ok(());
                };
                let step = recovery.read(slot, answer);
                self.step(host, conn, step)
            }
        }
    }

    fn taken(
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
        let Some(mut recovery) = Recovery::new(&record, presented, rules) else {
            if record.stale.as_ref() == offset.as_ref().map(|offset| &offset.text) {
                return Err(format!("told false for {offset:?}, which says nothing"));
            }
            return self.step(host, conn, Step::Refused);
        };
        for (room, (slot, start)) in &record.rooms {
            let member = Member {
                slot: *slot,
                start: Some(*start),
                seen: *start,
                is_leaving: false,
            };
            socket.members.insert(room.clone(), member);
        }
        (socket.taken, socket.last) = (Some(position), Some(position));
        socket.is_taken_kept = kept;
        socket.record = record;
        let rooms = recovery.rooms();
        let end = recovery.end();
        socket.phase = Phase::Recovering(recovery);
        for (slot, room) in rooms {
            self.join_room(host, conn, slot, &room);
        }
        self.step(host, conn, end)
    }

    fn written(&mut self, host: usize, conn: u64, change: u64, answer: Answer) -> Checked {
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        socket.is_writing = false;
        let Answer::Done { position, kept, .. } = answer else {
            // If it still has its client, that has not been elsewhere since: what it was told it is in
            // was lost with a branch.
            let (client, is_lost) = (socket.client, answer == Answer::Lost);
            let here = Some((host, self.hosts[host].boot, conn));
            if is_lost && self.clients[client].home == here && self.clients[client].asked == 0 {
                self.clients[client].is_forked = self.clients[client].is_connected;
            }
            self.close(host, conn);
            return Ok(());
        };
        socket.taken.get_or_insert(position);
        socket.last = Some(position);
        let acks = std::mem::take(&mut socket.acks);
        let (now, later) = acks.into_iter().partition(|(of, ..)| *of <= change);
        socket.acks = later;
        let (client, again) = (socket.client, socket.again);
        if matches!(socket.phase, Phase::Opening) {
            socket.phase = Phase::Live;
            let (pid, recovered) = (socket.pid.clone(), None);
            let frame = Frame::Connect {
                pid,
                recovered,
                kept,
            };
            self.frame(host, conn, client, frame);
        }
        let now: Vec<(u64, Room, Option<Position>)> = now;
        for (_, room, start) in now {
            let frame = match start {
                Some(start) => Frame::Joined { room, start, kept },
                None => {
                    let socket = self.socket(host, conn);
                    let member = socket.and_then(|socket| socket.members.remove(&room));
                    if let Some(member) = member {
                        if let Some(start) = member.start {
                            self.clients[client].left.insert((room.clone(), start));
                        }
                        self.leave_room(host, member.slot, &room);
                    }
                    Frame::Left { room, kept }
                }
            };
            self.frame(host, conn, client, frame);
        }
        if again {
            self.write(host, conn);
        }
        Ok(())
    }

    pub(super) fn joined(&mut self, host: usize, rid: u64, at: Position) -> Checked {
        let Some(process) = &mut self.hosts[host].process else {
            return Ok(());
        };
        let Some((conn, room)) = process.joins.remove(&rid) else {
            return Ok(());
        };
        let Some(socket) = process.sockets.get_mut(&conn) else {
            return Ok(());
        };
        let Some(member) = socket.members.get_mut(&room) else {
            return Ok(());
        };
        let slot = member.slot;
        if let Phase::Recovering(recovery) = &mut socket.phase {
            let step = recovery.joined(slot, &room);
            return self.step(host, conn, step);
        }
        if member.start.is_none() {
            (member.start, member.seen) = (Some(at), at);
            socket.record.change += 1;
            socket.record.rooms.insert(room.clone(), (slot, at));
            socket.acks.push((socket.record.change, room, Some(at)));
            self.write(host, conn);
        }
        Ok(())
    }

    fn step(&mut self, host: usize, conn: u64, step: Step) -> Checked {
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
                let Some(socket) = process.sockets.get(&conn) else {
                    return Ok(());
                };
                let rooms = socket
                    .members
                    .iter()
                    .filter(|(_, member)| member.slot == slot);
                let fed: Vec<_> = rooms
                    .map(|(room, _)| process.core.fed_upto(slot, room))
                    .collect();
                let (Phase::Recovering(recovery), Some(Some(upto))) = (&socket.phase, fed.first())
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
            } => self.recovered(host, conn, &entries, (before, after), &seen)?,
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
        let (pid, client, kept) = (socket.pid.clone(), socket.client, socket.is_taken_kept);
        let rooms = socket.record.rooms.iter();
        let recovered = Some(
            rooms
                .map(|(room, (_, start))| (room.clone(), *start))
                .collect(),
        );
        let frame = Frame::Connect {
            pid,
            recovered,
            kept,
        };
        self.frame(host, conn, client, frame);
        for entry in entries {
            let slot = self.slot_in(host, conn, entry);
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

    fn slot_in(&mut self, host: usize, conn: u64, entry: &Entry) -> SlotNo {
        let Body::Event { room, .. } = &entry.body else {
            return 0;
        };
        let member = self.socket(host, conn).and_then(|it| it.members.get(room));
        member.map_or(0, |member| member.slot)
    }

    /// Entries for all local sockets.
    pub(super) fn deliver(&mut self, host: usize, slot: SlotNo, entries: &[Arc<Entry>]) -> Checked {
        for entry in entries {
            let truth = &self.truths[usize::from(slot)];
            if !truth.is_committed(entry.position) {
                return Err(format!("4: {entry:?} is fed and not committed"));
            }
            let process = self.hosts[host].process.as_ref();
            let conns = process.map(|it| it.sockets.keys().copied().collect::<Vec<_>>());
            for conn in conns.unwrap_or_default() {
                let Some(socket) = self.socket(host, conn) else {
                    continue;
                };
                if matches!(socket.phase, Phase::Live) {
                    self.event(host, conn, slot, entry);
                } else {
                    socket.held.push((slot, Arc::clone(entry)));
                }
            }
        }
        Ok(())
    }

    /// An entry on its way to one client, if it is for it and new.
    fn event(&mut self, host: usize, conn: u64, slot: SlotNo, entry: &Entry) {
        let Body::Event { room, .. } = &entry.body else {
            return;
        };
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        let Some(member) = socket.members.get_mut(room) else {
            return;
        };
        let Some(start) = member.start.filter(|_| entry.position > member.seen) else {
            return;
        };
        member.seen = entry.position;
        // Not the later of both: what it says of a slot may be of another branch.
        socket.cursor.insert(slot, entry.position);
        let written = socket.last.unwrap_or_default();
        let frame = Frame::Event {
            room: room.clone(),
            slot,
            start,
            position: entry.position,
            offset: Offset::of(&socket.cursor, written),
        };
        let client = socket.client;
        self.frame(host, conn, client, frame);
    }

    fn frame(&mut self, host: usize, conn: u64, client: usize, frame: Frame) {
        let boot = self.hosts[host].boot;
        self.trace(|| format!("host{host} to client{client} on {conn}: {frame:?}"));
        if self.clients[client].home == Some((host, boot, conn)) {
            self.clients[client].pipe.push_back(frame);
        }
    }

    /// What follows in a room cannot be proved.
    pub(super) fn cut_room(&mut self, host: usize, room: &Room) {
        let process = self.hosts[host].process.as_ref();
        let sockets = process.map(|it| it.sockets.iter());
        let of_room = sockets.into_iter().flatten();
        let of_room = of_room.filter(|(_, it)| it.members.contains_key(room));
        let conns: Vec<u64> = of_room.map(|(conn, _)| *conn).collect();
        self.seen.cut_sockets += conns.len() as u64;
        conns.into_iter().for_each(|conn| self.close(host, conn));
    }

    pub(super) fn evicted(&mut self, host: usize, home: Home) {
        if home.boot == self.hosts[host].boot {
            self.close(host, home.connection);
        }
    }

    /// Homes put their records again.
    pub(super) fn epoch(&mut self, host: usize, slot: SlotNo) {
        if !self.rules.keep(Rule::PutAgain) {
            return;
        }
        let process = self.hosts[host].process.as_ref();
        let sockets = process.map(|it| it.sockets.iter()).into_iter().flatten();
        // What is being written may go to an owner of before: it is written again then.
        let of_slot = sockets.filter(|(_, it)| it.slot == slot);
        let live = of_slot.filter(|(_, it)| it.is_writing || matches!(it.phase, Phase::Live));
        let conns: Vec<u64> = live.map(|(conn, _)| *conn).collect();
        conns.into_iter().for_each(|conn| self.write(host, conn));
    }

    /// The one place where a socket ends. The client notices at once if it is still there.
    pub(super) fn close(&mut self, host: usize, conn: u64) {
        self.leave_all(host, conn);
        let (home, boot) = (self.home(host, conn), self.hosts[host].boot);
        let process = self.hosts[host].process.as_mut();
        let Some(socket) = process.and_then(|it| it.sockets.remove(&conn)) else {
            return;
        };
        let (slot, pid) = (socket.slot, socket.pid);
        self.ask(host, slot, Request::Leave { pid, home }, Wanted::Nothing);
        let client = &mut self.clients[socket.client];
        if client.home == Some((host, boot, conn)) {
            client.lose();
        }
    }

    /// A client joins a room or leaves it.
    pub(super) fn change_rooms(&mut self, client: usize, room: &Room, slot: SlotNo) -> Checked {
        let Some((host, boot, conn)) = self.clients[client].home else {
            return Ok(());
        };
        if self.hosts[host]
            .process
            .as_ref()
            .is_none_or(|it| it.boot != boot)
        {
            return Ok(());
        }
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        if !matches!(socket.phase, Phase::Live) {
            return Ok(());
        }
        let early = !self.rules.keep(Rule::LeaveWhenWritten);
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        match socket.members.get_mut(room) {
            // Under way.
            Some(
                Member { start: None, .. }
                | Member {
                    is_leaving: true, ..
                },
            ) => return Ok(()),
            Some(member) => {
                member.is_leaving = true;
                if early {
                    socket.members.remove(room);
                }
                socket.record.change += 1;
                socket.record.rooms.remove(room);
                socket.acks.push((socket.record.change, room.clone(), None));
                if early {
                    self.leave_room(host, slot, room);
                }
                self.write(host, conn);
            }
            None => {
                let member = Member {
                    slot,
                    start: None,
                    seen: Position::default(),
                    is_leaving: false,
                };
                socket.members.insert(room.clone(), member);
                self.join_room(host, conn, slot, room);
            }
        }
        self.clients[client].asked += 1;
        self.act_on(host)
    }
}

impl Process {
    /// Live sockets, by pid.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Bytes, u64)> {
        let live = self
            .sockets
            .iter()
            .filter(|(_, it)| matches!(it.phase, Phase::Live));
        live.map(|(conn, socket)| (&socket.pid, *conn))
    }
}
