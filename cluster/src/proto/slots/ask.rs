//! What this node wants of slots' owners, wherever they are.

use super::listen::Listening;
use super::{Action, Answer, Message, NodeId, Position, Request, Room, SlotNo, Slots};

/// How long an owner is looked for.
const PATIENCE_MS: u64 = 3000;
/// When a request is sent again, to the same owner or another.
const AGAIN_MS: u64 = 500;
/// When one that was turned away is sent again.
const SOON_MS: u64 = 100;

/// A request without an answer yet.
#[derive(Debug)]
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
    pub fn ask(&mut self, rid: u64, slot: SlotNo, request: Request, now: super::Now) {
        self.context.now = now;
        let asked = Asked {
            rid,
            slot,
            request,
            until_ms: now.ms + PATIENCE_MS,
            next_ms: now.ms,
        };
        // Never used before: a late answer may be for an earlier boot.
        let rid = self.fresh();
        self.asked.insert(rid, asked);
        self.ask_now(rid);
    }

    /// A number that no earlier boot of this node has used, nor this one.
    pub(super) fn fresh(&mut self) -> u64 {
        self.last_number += 1;
        (self.boot << 32) + self.last_number
    }

    fn ask_now(&mut self, rid: u64) {
        let Some(asked) = self.asked.get_mut(&rid) else {
            return;
        };
        let owner = self.machines[usize::from(asked.slot)].owner(&self.context);
        let Some((_, owner)) = owner else {
            asked.next_ms = self.context.now.ms + SOON_MS;
            return;
        };
        asked.next_ms = self.context.now.ms + AGAIN_MS;
        let (slot, request) = (asked.slot, asked.request.clone());
        self.context
            .send(owner, slot, Message::Ask { rid, request });
    }

    pub(super) fn ask_again(&mut self) {
        let now_ms = self.context.now.ms;
        let rids: Vec<u64> = self.asked.keys().copied().collect();
        for wire in rids {
            let asked = &self.asked[&wire];
            if now_ms >= asked.until_ms {
                let rid = asked.rid;
                self.asked.remove(&wire);
                let answer = Answer::Unavailable;
                self.context.actions.push(Action::Answer { rid, answer });
            } else if now_ms >= asked.next_ms {
                self.ask_now(wire);
            }
        }
    }

    pub(super) fn told(&mut self, rid: u64, answer: Answer) {
        let Some(asked) = self.asked.get_mut(&rid) else {
            return;
        };
        if answer == Answer::NotOwner {
            asked.next_ms = asked.next_ms.min(self.context.now.ms + SOON_MS);
            return;
        }
        let name = asked.rid;
        self.asked.remove(&rid);
        let rid = name;
        self.context.actions.push(Action::Answer { rid, answer });
    }

    /// A local socket joins a room; [`Action::Joined`] says from where on it is fed, unless the
    /// room is left or cut before.
    pub fn join(&mut self, rid: u64, slot: SlotNo, room: &Room, now: super::Now) {
        self.context.now = now;
        let listening = self.listening.entry(slot).or_default();
        listening.join(slot, room, rid, &mut self.context);
    }

    /// No local socket is in a room any more.
    pub fn leave(&mut self, slot: SlotNo, room: &Room, now: super::Now) {
        self.context.now = now;
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
        let stream = self.fresh();
        if let Some(listening) = self.listening.get_mut(&slot) {
            listening.reopen(slot, stream, &mut self.context);
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
