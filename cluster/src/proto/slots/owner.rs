//! A slot's owner: puts appends in order, has them copied, commits, answers, feeds.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::context::{Context, Then};
use super::copying::Copying;
use super::entry::{MAX_EVENT, MAX_NAME};
use super::feed::Feeder;
use super::follow::put_record;
use super::machine::{Machine, Role};
use super::rules::Rule;
use super::{
    Answer, Body, Eid, Home, Message, NodeId, Pid, Position, Record, Request, Room, SlotNo, Write,
};

/// How long the follower may take until another epoch is opened without it.
const LATE_MS: u64 = 1000;

/// Names no client, as theirs are longer: an entry that is to change nothing says that its record is
/// gone.
const NOBODY: &[u8] = b"nobody";

/// What an answer says once an entry is committed.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    /// The record was taken over from a home.
    Taken(Record, Option<(Pid, Home)>),
    /// There is no such record here.
    Lost,
    /// What followed a position is not known here.
    Invalid,
}

/// Who is to be answered once an entry is committed.
#[derive(Clone, Debug)]
struct Waiting {
    to: NodeId,
    rid: u64,
    outcome: Outcome,
}

/// An epoch that this node owns.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    pub(super) eid: Eid,
    pub(super) copies: Vec<NodeId>,
    pub(super) kept: bool,
    /// For how large a cluster it was opened.
    pub(super) size: u64,
    /// Up to here the log can be read.
    pub(super) commit: u64,
    /// Up to here it is stored by the owner, and by the follower.
    flushed: u64,
    pub(super) copied: u64,
    /// Up to here it has been given to the disk, and may go to the follower.
    pub(super) sent: u64,
    /// When the follower last made progress or had nothing to do.
    pub(super) copied_ms: u64,
    pub(super) copying: Copying,
    waiting: BTreeMap<u64, Vec<Waiting>>,
    /// Who is to be told that something is not known here, once that is proved; and the entry that
    /// proves it for those before.
    denied: BTreeMap<(NodeId, u64), Outcome>,
    proof: u64,
    pub(super) feeder: Feeder,
    /// Since when homes are seen to be gone.
    pub(super) gone: BTreeMap<(NodeId, u64), u64>,
    pub(super) swept_ms: u64,
}

impl Ownership {
    pub(super) fn new(
        eid: Eid,
        copies: Vec<NodeId>,
        (kept, size): (bool, u64),
        end: u64,
        context: &Context,
    ) -> Self {
        Self {
            eid,
            copies,
            kept,
            size,
            commit: end,
            flushed: end,
            copied: end,
            sent: end,
            copied_ms: context.now.ms,
            copying: Copying::new(end),
            waiting: BTreeMap::new(),
            denied: BTreeMap::new(),
            proof: 0,
            feeder: Feeder::default(),
            gone: BTreeMap::new(),
            swept_ms: context.now.ms,
        }
    }

    pub(super) fn follower(&self) -> Option<NodeId> {
        self.copies.get(1).copied()
    }

    /// Whether the follower has had something to do for too long.
    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        self.copies.len() > 1 && self.copied < self.sent && now_ms >= self.copied_ms + LATE_MS
    }

    /// Tells all that wait that the outcome is unknown.
    pub(super) fn turn_away(self, slot: SlotNo, context: &mut Context) {
        let waiting = self.waiting.into_values().flatten();
        let waiting = waiting.map(|it| (it.to, it.rid));
        for (to, rid) in waiting.chain(self.denied.into_keys()) {
            let answer = Answer::NotOwner;
            context.send(to, slot, Message::Told { rid, answer });
        }
    }
}

impl Machine {
    pub(super) fn on_ask(
        &mut self,
        from: NodeId,
        rid: u64,
        request: Request,
        context: &mut Context,
    ) {
        if !matches!(self.role, Role::Open(_)) {
            let answer = Answer::NotOwner;
            return context.send(from, self.slot, Message::Told { rid, answer });
        }
        match request {
            Request::Emit { room, id, payload }
                if room.len() > MAX_NAME || id.len() + payload.len() > MAX_EVENT =>
            {
                // What the store could not take would make it refuse all that comes with it.
                let answer = Answer::Invalid;
                context.send(from, self.slot, Message::Told { rid, answer });
            }
            Request::Emit { room, id, payload } => {
                self.emit((from, rid), (room, id, payload), context);
            }
            Request::Read { rooms, known, upto } => {
                let answer = self.read(&rooms, &known, upto, context);
                self.tell_read((from, rid), answer, context);
            }
            Request::History { room, after, limit } => {
                let answer = self.history(&room, after, limit, context);
                self.tell_read((from, rid), answer, context);
            }
            other => {
                if let Some(answer) = self.change_record((from, rid), other, context) {
                    context.send(from, self.slot, Message::Told { rid, answer });
                }
            }
        }
    }

    fn tell_read(&mut self, asker: (NodeId, u64), answer: Answer, context: &mut Context) {
        if matches!(answer, Answer::Invalid) {
            return self.deny(asker, Outcome::Invalid, context);
        }
        let (to, rid) = asker;
        context.send(to, self.slot, Message::Told { rid, answer });
    }

    /// Says that something is not known here once an entry is committed that changes nothing: a node
    /// that was stopped for a while does not know at once that others have opened the slot without
    /// it, and what it lacks is not lost.
    pub(super) fn deny(&mut self, asker: (NodeId, u64), outcome: Outcome, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let (to, rid) = asker;
        let mut under_way = owned.waiting.get(&owned.proof).into_iter().flatten();
        if !under_way.any(|it| (it.to, it.rid) == (to, rid)) {
            owned.denied.insert(asker, outcome);
            self.prove(context);
        }
    }

    /// One entry at a time proves it to all who wait, so that many who ask cost no more than one. An
    /// entry that is on its way says nothing of those who ask after it.
    fn prove(&mut self, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        if owned.proof > owned.commit || owned.denied.is_empty() {
            return;
        }
        let denied = std::mem::take(&mut owned.denied);
        let pid = Pid::from_static(NOBODY);
        let seq = self.append(Body::Record { pid, record: None }, context);
        if let Role::Open(owned) = &mut self.role {
            owned.proof = seq;
        }
        for (asker, outcome) in denied {
            self.answer_at(seq, asker, outcome, context);
        }
    }

    fn emit(
        &mut self,
        (from, rid): (NodeId, u64),
        (room, id, payload): (Room, Bytes, Bytes),
        context: &mut Context,
    ) {
        let known_ms = context.settings.limits.known_ms;
        let own = self.open_eid();
        let known = self.log.known(&room, &id).filter(|entry| {
            context.now.wall_ms.saturating_sub(entry.at_ms) <= known_ms
                && (context.rules.keep(Rule::KnownIds) || Some(entry.position.eid) == own)
        });
        let known = known.map(|entry| entry.position.seq);
        let seq = known.unwrap_or_else(|| {
            let payload = Some(payload);
            self.append(Body::Event { room, id, payload }, context)
        });
        self.answer_at(seq, (from, rid), Outcome::Done, context);
    }

    /// Adds an entry; it goes to the disk and to the follower with what else is added this turn.
    pub(super) fn append(&mut self, body: Body, context: &Context) -> u64 {
        let eid = self.open_eid().unwrap_or_default();
        self.log.append(eid, context.now.wall_ms, body).position.seq
    }

    /// Answers once the entry is committed.
    pub(super) fn answer_at(
        &mut self,
        seq: u64,
        (to, rid): (NodeId, u64),
        outcome: Outcome,
        context: &mut Context,
    ) {
        let waiting = Waiting { to, rid, outcome };
        if let Role::Open(owned) = &mut self.role {
            owned.waiting.entry(seq).or_default().push(waiting);
        }
        self.answer_committed(context);
    }

    /// Gives new entries to the disk and to the follower.
    pub(super) fn pump(&mut self, context: &mut Context) {
        let Role::Open(owned) = &self.role else {
            return;
        };
        let (eid, sent, end) = (owned.eid, owned.sent, self.log.end);
        if sent == end {
            return;
        }
        let mut writes = Vec::new();
        for entry in self.log.range(sent, end) {
            put_record(entry, &mut writes);
            writes.push(Write::Put(entry.clone()));
        }
        context.store(self.slot, writes, Some(Then::Flushed(self.slot, eid, end)));
        if let Role::Open(owned) = &mut self.role {
            if owned.copied == owned.sent {
                owned.copied_ms = context.now.ms;
            }
            owned.sent = end;
        }
        self.copy(context);
    }

    pub(super) fn on_flushed(&mut self, eid: Eid, seq: u64, context: &mut Context) {
        if let Role::Open(owned) = &mut self.role
            && owned.eid == eid
        {
            owned.flushed = owned.flushed.max(seq);
            self.commit(context);
        }
    }

    pub(super) fn commit(&mut self, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let mut upto = owned.flushed;
        if owned.copies.len() > 1 && context.rules.keep(Rule::AwaitFollower) {
            upto = upto.min(owned.copied);
        }
        if upto > owned.commit {
            owned.commit = upto;
            context.actions.push(super::Action::Committed {
                slot: self.slot,
                position: Position {
                    eid: owned.eid,
                    seq: upto,
                },
                kept: owned.kept,
            });
            self.answer_committed(context);
            self.prove(context);
            self.feed(context);
        }
    }

    fn answer_committed(&mut self, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let later = owned.waiting.split_off(&(owned.commit + 1));
        let (copies, kept, eid) = (owned.copies.len() as u8, owned.kept, owned.eid);
        for (seq, waiting) in std::mem::replace(&mut owned.waiting, later) {
            let eid = self.log.chain.name(seq).unwrap_or(eid);
            let position = Position { eid, seq };
            for Waiting { to, rid, outcome } in waiting {
                let (answer, evict) = match outcome {
                    Outcome::Done => {
                        let done = Answer::Done {
                            position,
                            copies,
                            kept,
                        };
                        (done, None)
                    }
                    Outcome::Taken(record, evict) => {
                        let taken = Answer::Taken {
                            record,
                            position,
                            kept,
                        };
                        (taken, evict)
                    }
                    Outcome::Lost => (Answer::Lost, None),
                    Outcome::Invalid => (Answer::Invalid, None),
                };
                context.send(to, self.slot, Message::Told { rid, answer });
                if let Some((pid, home)) = evict {
                    context.send(home.node, self.slot, Message::Evict { pid, home });
                }
            }
        }
    }
}
