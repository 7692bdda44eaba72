//! What the gateway does: connections come, subscribe, come back and go.

use std::collections::{BTreeMap, VecDeque};

use super::{ROOMS, Recovery, Socket, Stored, WINDOW_MS, World};
use crate::recovery::cursor::Cursor;
use crate::recovery::log::Invalid;
use crate::recovery::record::{NotRecoverable, Record};
use crate::recovery::replay::{Replay, replay};
use crate::recovery::sim::client::Frame;
use crate::recovery::slot::{self, Position};

impl World {
    pub(super) fn connect(&mut self, client: usize) {
        let offset = self.clients[client].present(&mut self.random);
        self.count += 1;
        let home = self.count;
        self.clients[client].home = Some(home);
        let stored = self.clients[client]
            .pid
            .as_ref()
            .and_then(|pid| self.records.get(pid))
            .cloned();
        let now_ms = self.now_ms;
        let socket = Socket {
            client,
            pid: String::new(),
            cursor: Cursor::new(),
            joins: BTreeMap::new(),
            skip: BTreeMap::new(),
            recovery: None,
            held: Vec::new(),
            subscribing: VecDeque::new(),
            is_cut: false,
        };
        self.sockets.insert(home, socket);
        match stored {
            Some(stored) if stored.expires_ms.is_none_or(|end| end >= now_ms) => {
                self.take(home, stored, offset);
            }
            _ => self.begin(home, offset),
        }
    }

    /// A socket comes back: its rooms are joined before anything is asked.
    fn take(&mut self, home: u64, mut stored: Stored, offset: Option<String>) {
        self.sockets.remove(&stored.record.home);
        stored.record.home = home;
        stored.record.version += 1;
        stored.expires_ms = None;
        self.records
            .insert(stored.record.pid.clone(), stored.clone());
        if let Some(socket) = self.sockets.get_mut(&home) {
            socket.pid = stored.record.pid.clone();
            socket.joins = stored.joins.clone();
            socket.recovery = Some(Recovery {
                stored,
                offset,
                outcome: None,
            });
        }
    }

    /// A new pid.
    fn begin(&mut self, home: u64, stale: Option<String>) {
        let pid = self.name("pid");
        let Some(socket) = self.sockets.get_mut(&home) else {
            return;
        };
        socket.pid = pid.clone();
        socket.joins.clear();
        socket.held.clear();
        let record = Record {
            pid: pid.clone(),
            sid: self.clients[socket.client].sid.clone(),
            user: "u".into(),
            session: "s".into(),
            namespace: "/".into(),
            rooms: Vec::new(),
            start: BTreeMap::new(),
            home,
            version: 1,
            stale,
            data: serde_json::Value::Null,
        };
        let branch = self.truth.branch;
        let stored = Stored {
            record,
            expires_ms: None,
            branch,
            joins: BTreeMap::new(),
        };
        self.records.insert(pid.clone(), stored);
        self.send(
            home,
            Frame::Connect {
                pid,
                recovered: None,
            },
        );
    }

    pub(super) fn subscribe_or_leave(&mut self, client: usize, home: u64) {
        let room = *self.random.pick(&ROOMS);
        let Some(socket) = self.sockets.get_mut(&home) else {
            return;
        };
        if socket.recovery.is_some() || socket.is_cut {
            return;
        }
        if socket.subscribing.iter().any(|(name, _)| name == room) {
            return;
        }
        if socket.joins.contains_key(room) && self.random.percent(70) {
            return;
        }
        self.clients[client].asked += 1;
        if socket.joins.remove(room).is_some() {
            if let Some(stored) = self.records.get_mut(&socket.pid) {
                stored.joins.remove(room);
                stored.record.start.remove(room);
                stored.record.rooms.retain(|name| name != room);
            }
            self.send(
                home,
                Frame::Left {
                    room: room.to_owned(),
                },
            );
        } else {
            // Live from here on; from where on it is owed is asked for next.
            self.count += 1;
            socket.joins.insert(room.to_owned(), self.count);
            socket.subscribing.push_back((room.to_owned(), None));
        }
    }

    pub(super) fn is_busy(&self, home: u64) -> bool {
        let socket = &self.sockets[&home];
        socket.recovery.is_some() || !socket.subscribing.is_empty()
    }

    pub(super) fn advance_one(&mut self) {
        let busy: Vec<u64> = self
            .sockets
            .keys()
            .copied()
            .filter(|home| self.is_busy(*home))
            .collect();
        if !busy.is_empty() {
            let home = *self.random.pick(&busy);
            self.advance(home);
        }
    }

    /// The next step of a recovery or a subscription: to ask, or to act on the answer.
    pub(super) fn advance(&mut self, home: u64) {
        let Some(socket) = self.sockets.get_mut(&home) else {
            return;
        };
        if let Some(recovery) = socket.recovery.take() {
            self.advance_recovery(home, recovery);
        } else if let Some((room, position)) = socket.subscribing.pop_front() {
            self.advance_subscription(home, room, position);
        }
    }

    fn advance_recovery(&mut self, home: u64, recovery: Recovery) {
        let Recovery {
            stored,
            offset,
            outcome,
        } = recovery;
        match outcome {
            None => {
                let outcome = replay(&self.log, &stored.record, offset.as_deref());
                self.judge(&stored, offset.as_deref(), &outcome);
                let outcome = Some(outcome);
                if let Some(socket) = self.sockets.get_mut(&home) {
                    socket.recovery = Some(Recovery {
                        stored,
                        offset,
                        outcome,
                    });
                }
            }
            Some(Ok(replay)) => self.recover(home, replay),
            Some(Err(_)) => self.begin(home, offset),
        }
    }

    fn advance_subscription(&mut self, home: u64, room: String, position: Option<Position>) {
        let Some(socket) = self.sockets.get_mut(&home) else {
            return;
        };
        let Some(start) = position else {
            let position = self.log.head(slot::slot(&room));
            socket.subscribing.push_front((room, Some(position)));
            return;
        };
        let join = socket.joins[&room];
        self.starts.insert(join, start.seq);
        if let Some(stored) = self.records.get_mut(&socket.pid) {
            stored.joins.insert(room.clone(), join);
            stored.record.rooms.push(room.clone());
            stored.record.start.insert(room.clone(), start);
        }
        self.send(home, Frame::Joined { room });
    }

    fn judge(
        &mut self,
        stored: &Stored,
        offset: Option<&str>,
        outcome: &Result<Replay, NotRecoverable>,
    ) {
        let is_past = stored.branch != self.truth.branch && !stored.record.start.is_empty();
        let head = self.log.head(0);
        let must = self
            .truth
            .must_recover(&stored.record, offset, head, self.now_ms);
        match outcome {
            Ok(_) => {
                assert!(!is_past, "nothing of another branch can be proved");
                self.seen.recovered += 1;
            }
            Err(error) => {
                assert!(
                    is_past || !must,
                    "told false without need ({error}): {:?}",
                    stored.record
                );
                self.seen.refused += 1;
                match error {
                    NotRecoverable::Position(Invalid::Trimmed) => self.seen.trimmed += 1,
                    NotRecoverable::Position(Invalid::OtherBranch) => self.seen.other_branch += 1,
                    NotRecoverable::Offset(_) => {}
                }
            }
        }
    }

    /// CONNECT, what was missed, what was held.
    fn recover(&mut self, home: u64, replay: Replay) {
        let Some(mut socket) = self.sockets.remove(&home) else {
            return;
        };
        let Some(stored) = self.records.get_mut(&socket.pid) else {
            return;
        };
        stored.record.start = replay.start;
        stored.branch = self.truth.branch;
        let rooms = stored.record.rooms.iter().cloned().collect();
        let pid = socket.pid.clone();
        self.deliver(
            &socket,
            Frame::Connect {
                pid,
                recovered: Some(rooms),
            },
        );
        socket.cursor = replay.cursor;
        self.seen.replayed += replay.entries.len() as u64;
        for entry in replay.entries {
            self.event(&mut socket, &entry);
        }
        for (slot, position) in replay.position {
            socket.cursor.advance(slot, position.eid, position.seq);
            socket.skip.insert(slot, position.seq);
        }
        for entry in std::mem::take(&mut socket.held) {
            self.live(&mut socket, &entry);
        }
        self.sockets.insert(home, socket);
    }

    /// The drop is noticed.
    pub(super) fn close(&mut self, home: u64) {
        let Some(socket) = self.sockets.remove(&home) else {
            return;
        };
        if let Some(stored) = self.records.get_mut(&socket.pid)
            && stored.record.home == home
        {
            stored.expires_ms = Some(self.now_ms + WINDOW_MS);
        }
    }
}
