//! What a node does for the clients that are connected to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::host::Process;
use super::{Checked, World};
use crate::proto::slots::{
    Answer, Cursor, Eid, Entry, Home, Position, Record, Recovery, Request, Room, Rule, SlotNo,
};
use crate::sim_slots::client::{Client, Frame, Offset};

/// A socket's membership of a room.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) slot: SlotNo,
    /// Where it began, as the client was told: names it. None until the room is fed.
    pub(super) start: Option<Position>,
    /// Up to where it has everything.
    pub(super) seen: Position,
    /// It has left, but that is not written. Until then it gets everything: if it comes back
    /// before, it is in the room, and its cursor must be true of it.
    pub(super) is_leaving: bool,
}

/// How far a socket has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its record is being taken, or written for the first time.
    Opening,
    Recovering(Box<Recovery>),
    Live,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) client: usize,
    pub(super) pid: Bytes,
    /// The slot of its record.
    pub(super) slot: SlotNo,
    pub(super) record: Record,
    pub(super) offset: Option<Offset>,
    pub(super) phase: Phase,
    pub(super) members: BTreeMap<Room, Member>,
    pub(super) cursor: Cursor,
    pub(super) held: Vec<(SlotNo, Arc<Entry>)>,
    /// A write of the record is under way, another must follow.
    pub(super) is_writing: bool,
    pub(super) again: bool,
    /// Where it took its record over, or wrote it first.
    pub(super) taken: Option<Position>,
    /// Where the last write was.
    pub(super) last: Option<Position>,
    /// Whether its record was taken, or last written, in a kept epoch.
    pub(super) is_kept: bool,
    /// Joined and left rooms whose acknowledgement waits for a write, and which change it is.
    pub(super) acks: Vec<(u64, Room, Option<Position>)>,
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
    pub(super) fn socket(&mut self, host: usize, conn: u64) -> Option<&mut Socket> {
        self.hosts[host].process.as_mut()?.sockets.get_mut(&conn)
    }

    pub(super) fn ask(&mut self, host: usize, slot: SlotNo, request: Request, wanted: Wanted) {
        let now = self.now(host);
        if let Some(process) = &mut self.hosts[host].process {
            let rid = process.fresh();
            process.wanted.insert(rid, wanted);
            process.core.ask(rid, slot, request, now);
        }
    }

    pub(super) fn home(&self, host: usize, conn: u64) -> Home {
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
            is_kept: false,
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
    pub(super) fn begin(&mut self, host: usize, conn: u64) {
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

    pub(super) fn leave_all(&mut self, host: usize, conn: u64) {
        let members = self
            .socket(host, conn)
            .map(|it| std::mem::take(&mut it.members));
        for (room, member) in members.into_iter().flatten() {
            self.leave_room(host, member.slot, &room);
        }
    }

    /// The last socket that leaves a room ends its feed.
    pub(super) fn leave_room(&mut self, host: usize, slot: SlotNo, room: &Room) {
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

    pub(super) fn join_room(&mut self, host: usize, conn: u64, slot: SlotNo, room: &Room) {
        let now = self.now(host);
        if let Some(process) = &mut self.hosts[host].process {
            let rid = process.fresh();
            process.joins.insert(rid, (conn, room.clone()));
            process.core.join(rid, slot, room, now);
        }
    }

    /// Writes the record as it is; one write at a time.
    pub(super) fn write(&mut self, host: usize, conn: u64) {
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        if socket.is_writing {
            socket.again = true;
            return;
        }
        (socket.is_writing, socket.again) = (true, false);
        socket.note_names();
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

    fn written(&mut self, host: usize, conn: u64, change: u64, answer: Answer) -> Checked {
        let Some(socket) = self.socket(host, conn) else {
            return Ok(());
        };
        socket.is_writing = false;
        let Answer::Done { position, kept, .. } = answer else {
            if answer == Answer::Lost {
                self.lost(host, conn);
            }
            self.close(host, conn);
            return Ok(());
        };
        socket.is_kept = kept;
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

    /// If it still has its client, that has not been elsewhere since: what it was told it is in was
    /// lost with a branch.
    fn lost(&mut self, host: usize, conn: u64) {
        if let Some(client) = self.client_of(host, conn) {
            client.is_forked = client.asked == 0;
        }
        self.void(host, conn);
    }

    /// A feed does not go on. If its record was not kept, that may be lost, too, and it is not
    /// waited for what comes of it.
    pub(super) fn cut_socket(&mut self, host: usize, conn: u64) {
        let is_kept = self.socket(host, conn).is_none_or(|it| it.is_kept);
        if let Some(client) = self.client_of(host, conn).filter(|_| !is_kept) {
            client.is_forked = client.asked == 0;
        }
        self.void(host, conn);
        self.close(host, conn);
    }

    /// If what was written last was not kept, the record may be found on another branch as it was
    /// before, by which time nobody may be left who knows better: so what the client presents must
    /// be worth nothing. It takes any string for an offset; this one is new, as a stale one would
    /// be ignored.
    fn void(&mut self, host: usize, conn: u64) {
        let Some(socket) = self.socket(host, conn) else {
            return;
        };
        let (pid, is_kept) = (socket.pid.clone(), socket.is_kept);
        if is_kept || !self.rules.keep(Rule::VoidOffset) {
            return;
        }
        if let Some(client) = self.client_of(host, conn) {
            client.take_void(Bytes::from([b"void ", &pid[..]].concat()));
        }
    }

    /// The client of a socket that is connected there.
    fn client_of(&mut self, host: usize, conn: u64) -> Option<&mut Client> {
        let here = Some((host, self.hosts[host].boot, conn));
        let client = self.socket(host, conn)?.client;
        let client = &mut self.clients[client];
        (client.home == here && client.is_connected).then_some(client)
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
}

impl Socket {
    /// What names each membership goes with the record: places in it change.
    pub(super) fn note_names(&mut self) {
        let rooms = self.record.rooms.keys();
        let named = rooms.filter_map(|room| Some((room, self.members.get(room)?.start?)));
        let line = |(room, Position { eid, seq }): (&Room, Position)| {
            let room = String::from_utf8_lossy(room);
            format!("{room} {} {} {seq}\n", eid.counter, eid.random)
        };
        self.record.data = named.map(line).collect::<String>().into();
    }
}

/// What names the memberships of a record.
pub(super) fn names(record: &Record) -> BTreeMap<Room, Position> {
    let text = String::from_utf8_lossy(&record.data);
    let name = |line: &str| {
        let mut words = line.split(' ');
        let room = Bytes::from(words.next()?.to_owned());
        let mut number = || words.next()?.parse().ok();
        let (counter, random, seq) = (number()?, number()?, number()?);
        let eid = Eid { counter, random };
        Some((room, Position { eid, seq }))
    };
    text.lines().filter_map(name).collect()
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
