//! A client as it is written by others: it keeps the last offset, and trusts what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::random::Random;
use super::truth::Truth;

/// One membership of a room: a second join is another one.
pub(super) type Join = u64;

/// What travels to the client, in order, until the connection breaks.
#[derive(Debug)]
pub(super) enum Frame {
    Connect {
        pid: String,
        recovered: Option<BTreeSet<String>>,
    },
    Joined {
        room: String,
    },
    Left {
        room: String,
    },
    Event {
        room: String,
        join: Join,
        seq: u64,
        id: String,
        offset: String,
    },
}

/// What the client has processed: by room, in which membership and up to where.
type Processed = BTreeMap<String, (Join, u64)>;

#[derive(Default)]
pub(super) struct Client {
    pub(super) sid: String,
    pub(super) pid: Option<String>,
    /// Outlives the pid that it came with.
    pub(super) offset: Option<String>,
    /// On its way.
    pub(super) pipe: VecDeque<Frame>,
    /// The connection it uses, if it has one.
    pub(super) home: Option<u64>,
    /// The rooms it was told it is in.
    pub(super) rooms: BTreeSet<String>,
    /// Requests without an answer yet: where it is then is for the server to say.
    pub(super) asked: usize,
    /// A request went unanswered into a broken connection.
    pub(super) is_unsure: bool,
    processed: Processed,
    /// What had been processed at each offset since it came back.
    earlier: Vec<(Option<String>, Processed)>,
}

impl Client {
    pub(super) fn new(index: usize) -> Self {
        Self {
            sid: format!("sid{index}"),
            ..Self::default()
        }
    }

    /// Processes the next frame. `starts` tells of each membership where it began.
    pub(super) fn read(&mut self, truth: &Truth, starts: &BTreeMap<Join, u64>) -> bool {
        let Some(frame) = self.pipe.pop_front() else {
            return false;
        };
        match frame {
            Frame::Connect {
                pid,
                recovered: None,
            } => {
                self.pid = Some(pid);
                self.rooms.clear();
                self.processed.clear();
                self.is_unsure = false;
                self.earlier = vec![(self.offset.clone(), Processed::new())];
            }
            Frame::Connect {
                pid,
                recovered: Some(rooms),
            } => {
                assert_eq!(self.pid.as_ref(), Some(&pid), "a recovery keeps the pid");
                if !self.is_unsure {
                    assert_eq!(self.rooms, rooms, "a recovery restores the rooms");
                }
                self.is_unsure = false;
                self.rooms = rooms;
            }
            Frame::Joined { room } => {
                self.asked -= 1;
                self.rooms.insert(room);
            }
            Frame::Left { room } => {
                self.asked -= 1;
                self.rooms.remove(&room);
            }
            Frame::Event { ref room, join, .. } => {
                let Some(start) = starts.get(&join) else {
                    // Where it starts is not known yet: it is too early to say what is owed.
                    self.pipe.push_front(frame);
                    return false;
                };
                let after = self.has_up_to(room, join, *start);
                self.handle_event(event(&frame), after, truth);
            }
        }
        true
    }

    fn handle_event(&mut self, event: Event<'_>, after: u64, truth: &Truth) {
        let Event {
            room,
            join,
            seq,
            id,
            offset,
        } = event;
        assert!(
            truth.has(room, seq, id),
            "{room} {seq} was never committed on this branch"
        );
        if seq > after {
            let next = truth.next(room, after, &self.sid).map(|fact| fact.seq);
            assert_eq!(next, Some(seq), "{} in {room} after {after}", self.sid);
        } else {
            // Before its start is fine, between the join and the answer; a repeat is not.
            let up_to = self.has_up_to(room, join, 0);
            assert!(
                seq > up_to,
                "{} in {room} saw {seq} twice, at {up_to}",
                self.sid
            );
        }
        self.processed.insert(room.to_owned(), (join, seq));
        self.offset = Some(offset.to_owned());
        self.earlier
            .push((self.offset.clone(), self.processed.clone()));
    }

    /// Up to where it has everything in a room.
    pub(super) fn has_up_to(&self, room: &str, join: Join, start: u64) -> u64 {
        match self.processed.get(room) {
            Some((known, seq)) if *known == join => start.max(*seq),
            _ => start,
        }
    }

    /// The connection breaks; what was on its way is lost.
    pub(super) fn lose(&mut self) {
        self.pipe.clear();
        self.home = None;
        self.is_unsure |= self.asked > 0;
        self.asked = 0;
    }

    /// It comes back, with the offset that it has. Now and then a handler threw, and that is one of an
    /// earlier event; but never earlier than what it came with the last time.
    pub(super) fn present(&mut self, random: &mut Random) -> Option<String> {
        if !self.earlier.is_empty() && random.percent(10) {
            let at = random.below(self.earlier.len());
            (self.offset, self.processed) = self.earlier[at].clone();
        }
        if random.percent(3) {
            // An event from elsewhere ended in a string, and the client took that for an offset.
            self.offset = Some(format!("broken{}", random.next()));
        }
        self.earlier = vec![(self.offset.clone(), self.processed.clone())];
        self.offset.clone()
    }
}

struct Event<'a> {
    room: &'a str,
    join: Join,
    seq: u64,
    id: &'a str,
    offset: &'a str,
}

fn event(frame: &Frame) -> Event<'_> {
    match frame {
        Frame::Event {
            room,
            join,
            seq,
            id,
            offset,
        } => Event {
            room,
            join: *join,
            seq: *seq,
            id,
            offset,
        },
        other => unreachable!("{other:?} is no event"),
    }
}
