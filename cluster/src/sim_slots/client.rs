//! A client as it is written by others: it keeps the last offset, and trusts what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::truth::Truth;
use crate::proto::slots::{Cursor, Position, Room, SlotNo};
use crate::sim::random::Random;

/// What a client returns; without a cursor it is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) text: Bytes,
    pub(super) cursor: Option<Cursor>,
    /// Where the socket's record was written last when this was sent.
    pub(super) written: Position,
}

impl Offset {
    pub(super) fn of(cursor: &Cursor, written: Position) -> Self {
        Self {
            text: Bytes::from(format!("{written:?} {cursor:?}")),
            cursor: Some(cursor.clone()),
            written,
        }
    }
}

/// What travels to the client, in order, until the connection breaks.
#[derive(Debug)]
pub(super) enum Frame {
    Connect {
        pid: Bytes,
        recovered: Option<BTreeMap<Room, Position>>,
        kept: bool,
    },
    /// A room was joined, and whether that is kept.
    Joined {
        room: Room,
        start: Position,
        kept: bool,
    },
    Left {
        room: Room,
        kept: bool,
    },
    Event {
        room: Room,
        slot: SlotNo,
        /// Where the membership began: names it.
        start: Position,
        position: Position,
        offset: Offset,
    },
}

/// What the client has processed: by room, in which membership and up to where.
type Processed = BTreeMap<Room, (Position, Position)>;

#[derive(Default)]
pub(super) struct Client {
    pub(super) pid: Option<Bytes>,
    /// Outlives the pid that it came with.
    pub(super) offset: Option<Offset>,
    /// On its way.
    pub(super) pipe: VecDeque<Frame>,
    /// Host, boot and connection that it uses, if any.
    pub(super) home: Option<(usize, u64, u64)>,
    /// The rooms it was told it is in, and where it came in.
    pub(super) rooms: BTreeMap<Room, Position>,
    /// Requests without an answer yet.
    pub(super) asked: usize,
    /// Which rooms it is in is for the server to say: something went unanswered, or was not kept.
    pub(super) is_unsure: bool,
    pub(super) is_connected: bool,
    /// Its home was turned away, though it had not come back elsewhere.
    pub(super) is_forked: bool,
    /// Its offset came after all that it was told it is in, and names the write of that.
    is_proved: bool,
    /// Memberships that it left. It may be in them again where that is not known, on a side of a
    /// partition that keeps nothing or as that side's change was lost; then they promise nothing.
    pub(super) left: BTreeSet<(Room, Position)>,
    processed: Processed,
    /// What had been processed at each offset since it came back.
    earlier: Vec<(Option<Offset>, Processed)>,
}

impl Client {
    /// Processes the next frame; none if there is none.
    pub(super) fn read(&mut self, truths: &[Truth]) -> Result<bool, String> {
        let Some(frame) = self.pipe.pop_front() else {
            return Ok(false);
        };
        match frame {
            Frame::Connect {
                pid,
                recovered,
                kept,
            } => {
                self.connected(pid, recovered, kept)?;
                self.is_unsure = !kept;
            }
            Frame::Joined { room, start, kept } => {
                self.rooms.insert(room, start);
                self.changed(kept);
            }
            Frame::Left { room, kept } => {
                self.rooms.remove(&room);
                self.changed(kept);
            }
            Frame::Event {
                room,
                slot,
                start,
                position,
                offset,
            } => {
                let truth = &truths[usize::from(slot)];
                self.event(&room, start, position, truth)?;
                self.offset = Some(offset);
                self.is_proved = self.asked == 0;
                self.earlier
                    .push((self.offset.clone(), self.processed.clone()));
            }
        }
        Ok(true)
    }

    fn changed(&mut self, kept: bool) {
        self.is_proved = false;
        self.asked -= 1;
        if !kept {
            self.is_unsure = true;
        } else if self.asked == 0 {
            self.is_unsure = false;
        }
    }

    fn connected(
        &mut self,
        pid: Bytes,
        recovered: Option<BTreeMap<Room, Position>>,
        kept: bool,
    ) -> Result<(), String> {
        self.is_connected = true;
        let is_forked = std::mem::take(&mut self.is_forked);
        let is_proved = std::mem::take(&mut self.is_proved);
        let Some(rooms) = recovered else {
            self.pid = Some(pid);
            self.rooms.clear();
            self.processed.clear();
            self.left.clear();
            self.earlier = vec![(self.offset.clone(), Processed::new())];
            return Ok(());
        };
        if self.pid.as_ref() != Some(&pid) {
            return Err("a recovery changes the pid".into());
        }
        // A side that keeps nothing may lack what another kept; at the heal the client is told.
        if kept && !self.is_unsure && self.rooms != rooms {
            return Err(format!(
                "10: {pid:?} is in {:?}, restored is {rooms:?}",
                self.rooms
            ));
        }
        if kept && is_forked && self.rooms != rooms {
            return Err(format!(
                "6: {pid:?} was in {:?}, restored is {rooms:?}",
                self.rooms
            ));
        }
        if kept && is_proved && self.rooms != rooms {
            return Err(format!(
                "6: the offset of {pid:?} is of {:?}, restored is {rooms:?}",
                self.rooms
            ));
        }
        self.rooms = rooms;
        Ok(())
    }

    fn event(
        &mut self,
        room: &Room,
        start: Position,
        position: Position,
        truth: &Truth,
    ) -> Result<(), String> {
        let pid = &self.pid;
        if !truth.is_committed(position) {
            return Err(format!(
                "4: {pid:?} gets {position:?}, which is not committed"
            ));
        }
        let after = self.has_up_to(room, start);
        if self.left.contains(&(room.clone(), start)) {
            return Ok(());
        }
        if position <= after {
            return Err(format!(
                "5: {pid:?} gets {position:?} of {room:?} after {after:?}"
            ));
        }
        let Some(owed) = truth.between(room, after, position) else {
            return Err(format!(
                "5: {pid:?} in {room:?}: {after:?} is not before {position:?}"
            ));
        };
        if owed != [position] {
            return Err(format!(
                "5: {pid:?} in {room:?} after {after:?}: {position:?}, not {owed:?}"
            ));
        }
        self.processed.insert(room.clone(), (start, position));
        Ok(())
    }

    /// Up to where it has everything of a room.
    pub(super) fn has_up_to(&self, room: &Room, start: Position) -> Position {
        match self.processed.get(room) {
            Some((known, seen)) if *known == start => start.max(*seen),
            _ => start,
        }
    }

    /// An event that is nothing but its name arrives, before the connection is closed. No handler
    /// can leave an earlier offset.
    pub(super) fn take_void(&mut self, text: Bytes) {
        self.offset = Some(Offset {
            text,
            cursor: None,
            written: Position::default(),
        });
        self.earlier = vec![(self.offset.clone(), self.processed.clone())];
        self.is_proved = false;
    }

    /// The connection breaks; what was on its way is lost.
    pub(super) fn lose(&mut self) {
        self.pipe.clear();
        self.home = None;
        self.is_connected = false;
        self.is_unsure |= self.asked > 0;
        self.is_proved &= self.asked == 0;
        self.asked = 0;
    }

    /// It comes back, with the offset that it has. Now and then a handler threw, and that is one of
    /// an earlier event; but never earlier than what it came with the last time.
    pub(super) fn present(&mut self, random: &mut Random) -> Option<Offset> {
        if !self.earlier.is_empty() && random.percent(10) {
            let at = random.below(self.earlier.len() as u64) as usize;
            (self.offset, self.processed) = self.earlier[at].clone();
            self.is_proved = false;
        }
        if random.percent(2) {
            // An event from elsewhere ended in a string, and the client took that for an offset.
            self.is_proved = false;
            self.offset = Some(Offset {
                text: Bytes::from(format!("broken{}", random.next())),
                cursor: None,
                written: Position::default(),
            });
        }
        self.earlier = vec![(self.offset.clone(), self.processed.clone())];
        self.offset.clone()
    }
}
