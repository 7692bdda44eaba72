//! What this node wants of slots' owners, wherever they are.

use super::entry::RENEW;
use super::listen::Listening;
use super::{Action, Answer, Message, NodeId, Position, Request, Room, SlotNo, Slots};

/// How long an owner is looked for.
const PATIENCE_MS: u64 = 3000;
/// When a request is sent again, to the same owner or another.
const AGAIN_MS: u64 = 500;
/// When one that was turned away is sent again.
const SOON_MS: u64 = 100;

/// A request without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The edge's name for it.
    rid: u64,
    slot: SlotNo,
    request: Request,
    until_ms: u64,
    next_ms: u64,
}

impl Slots {
    /// Asks a slot's owner, again and again; [`Action::Answer`] comes within three seconds.
    ///
    /// A record that is put may say where rooms were joined long ago: what is stored is the same
    /// place as far as the member is concerned, named so that it can still be proved after many
    /// epochs.
    pub fn ask(&mut self, rid: u64, slot: SlotNo, mut request: Request, now: super::Now) {
        self.context.pass(now);
        if let Request::Put { record, .. } = &mut request {
            for (room, (slot, start)) in &mut record.rooms {
                let listening = self.listening.get(slot);
                let renewed = listening.and_then(|it| it.renewed(room, *start));
                *start = renewed.unwrap_or(*start);
            }
        }
        let asked = Asked {
            rid,
            slot,
            request,
            until_ms: now.ms + PATIENCE_MS,
            next_ms: now.ms,
        };
        // Never used before: a late answer may be for an earlier boot.
        let rid = self.numbers.fresh();
        self.due.insert((asked.next_ms, rid));
        self.asked.insert(rid, asked);
        self.ask_now(rid);
    }

    fn ask_now(&mut self, rid: u64) {
        let Some(asked) = self.asked.get(&rid) else {
            return;
        };
        let slot = asked.slot;
        let machine = self.machines.get(usize::from(slot));
        let owner = machine.and_then(|machine| machine.owner(&self.context));
        let Some((_, owner)) = owner else {
            return self.ask_at(rid, self.context.now.ms + SOON_MS);
        };
        let request = asked.request.clone();
        self.ask_at(rid, self.context.now.ms + AGAIN_MS);
        self.context
            .send(owner, slot, Message::Ask { rid, request });
    }

    /// If a slot has another owner, as far as is known, nobody waits for the next tick: not who
    /// listens, nor who has asked for something.
    pub(super) fn meet(&mut self, slot: SlotNo) {
        let machine = &self.machines[usize::from(slot)];
        let owner = machine.owner(&self.context).map(|(eid, _)| eid);
        let told = &mut self.epochs[usize::from(slot)];
        // Not only a higher one: that of a branch that is dropped may be higher.
        let Some(eid) = owner.filter(|eid| *told != Some(*eid)) else {
            return;
        };
        *told = Some(eid);
        self.context.actions.push(Action::Epoch { slot, eid });
        let renewed = self.renewed[usize::from(slot)].get_or_insert(eid.counter);
        if eid.counter.abs_diff(*renewed) >= RENEW {
            *renewed = eid.counter;
            self.context.actions.push(Action::Renew { slot });
        }
        if let Some(listening) = self.listening.get_mut(&slot) {
            listening.meet(machine, &mut self.numbers, &mut self.context);
        }
        let asked = self.asked.iter().filter(|(_, asked)| asked.slot == slot);
        let rids: Vec<u64> = asked.map(|(rid, _)| *rid).collect();
        rids.into_iter().for_each(|rid| self.ask_now(rid));
    }

    /// When to look at it again.
    fn ask_at(&mut self, rid: u64, ms: u64) {
        if let Some(asked) = self.asked.get_mut(&rid) {
            self.due.remove(&(asked.next_ms, rid));
            asked.next_ms = ms.min(asked.until_ms);
            self.due.insert((asked.next_ms, rid));
        }
    }

    /// Forgets it, and says by which name the edge knows it.
    fn asked_for(&mut self, rid: u64) -> Option<u64> {
        let asked = self.asked.remove(&rid)?;
        self.due.remove(&(asked.next_ms, rid));
        Some(asked.rid)
    }

    /// Looks at what is due.
    pub(super) fn ask_again(&mut self) {
        let now_ms = self.context.now.ms;
        let after = (now_ms + 1, 0);
        let due: Vec<u64> = self.due.range(..after).map(|(_, rid)| *rid).collect();
        for wire in due {
            let is_over = |asked: &Asked| now_ms >= asked.until_ms;
            if !self.asked.get(&wire).is_some_and(is_over) {
                self.ask_now(wire);
            } else if let Some(rid) = self.asked_for(wire) {
                let answer = Answer::Unavailable;
                self.context.actions.push(Action::Answer { rid, answer });
            }
        }
    }

    pub(super) fn told(&mut self, rid: u64, answer: Answer) {
        let Some(asked) = self.asked.get(&rid) else {
            return;
        };
        if answer == Answer::NotOwner {
            let soon_ms = self.context.now.ms + SOON_MS;
            return self.ask_at(rid, asked.next_ms.min(soon_ms));
        }
        if let Some(rid) = self.asked_for(rid) {
            self.context.actions.push(Action::Answer { rid, answer });
        }
    }

    /// A local socket joins a room; [`Action::Joined`] says from where on it is fed, unless the
    /// room is left or cut before.
    pub fn join(&mut self, rid: u64, slot: SlotNo, room: &Room, now: super::Now) {
        self.context.pass(now);
        let Some(machine) = self.machines.get(usize::from(slot)) else {
            return;
        };
        let listening = self.listening.entry(slot).or_default();
        listening.join(slot, room, rid, &mut self.context);
        listening.meet(machine, &mut self.numbers, &mut self.context);
    }

    /// No local socket is in a room any more.
    pub fn leave(&mut self, slot: SlotNo, room: &Room, now: super::Now) {
        self.context.pass(now);
        if let Some(listening) = self.listening.get_mut(&slot) {
            listening.leave(slot, room, &mut self.context);
            self.forget_empty(slot);
        }
    }

    fn forget_empty(&mut self, slot: SlotNo) {
        if self.listening.get(&slot).is_some_and(Listening::is_empty) {
            self.listening.remove(&slot);
        }
    }

    /// Up to where everything of a joined room was delivered here; none while it is not fed.
    pub fn fed_upto(&self, slot: SlotNo, room: &Room) -> Option<Position> {
        let listening = self.listening.get(&slot)?;
        listening.position().filter(|_| listening.is_ready(room))
    }

    pub(super) fn fed(&mut self, from: NodeId, slot: SlotNo, fed: Message) {
        let Message::Fed { stream, .. } = &fed else {
            return;
        };
        let stream = *stream;
        let Some(listening) = self.listening.get_mut(&slot) else {
            return self.context.send(from, slot, Message::FeedEnd { stream });
        };
        let is_gap = listening.fed(slot, fed, &mut self.context);
        let is_empty = listening.is_empty();
        if is_gap {
            self.listen_again(slot);
        } else if is_empty {
            self.context.send(from, slot, Message::FeedEnd { stream });
            self.listening.remove(&slot);
        }
    }

    fn listen_again(&mut self, slot: SlotNo) {
        if let Some(listening) = self.listening.get_mut(&slot) {
            listening.reopen(slot, &mut self.numbers, &mut self.context);
        }
    }

    pub(super) fn feeding(&mut self, from: NodeId, streams: Vec<(SlotNo, u64, u64)>) {
        for (slot, stream, sent) in streams {
            let listening = self.listening.get_mut(&slot);
            match listening.and_then(|it| it.told(from, stream, sent)) {
                Some(true) => self.listen_again(slot),
                Some(false) => {}
                None => self.context.send(from, slot, Message::FeedEnd { stream }),
            }
        }
    }
}
