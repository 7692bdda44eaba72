//! Links: dials, frames under way, and losses that each end notices for itself.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::host::address;
use super::{Checked, Event, Kind, World};
use crate::proto::{Change, Frame, Hello, LinkId, Refused, RoomKey};

/// How often a link is looked at.
const BEAT_MS: u64 = 500;
/// How long the edge waits for an answer to a dial.
const DIAL_MS: u64 = 2000;

pub(super) struct Wire {
    /// Who dialled, host and boot.
    pub(super) from: (usize, u64),
    /// Who was reached; the boot is 0 until then.
    pub(super) to: (usize, u64),
    frames: VecDeque<Frame>,
    /// When the last frame under way arrives.
    arrives_ms: u64,
    /// Whether the dialler has it.
    pub(super) is_out_up: bool,
    /// Whether the one that was dialled has it.
    pub(super) is_in_up: bool,
    /// Whether the dialler has heard what came of its dial, as it always does.
    is_answered: bool,
    /// Whether nothing passes on it any more, noticed or not.
    pub(super) is_lost: bool,
    /// Since when the ends do not hear each other, and how long they bear that.
    silent_since_ms: Option<u64>,
    patience_ms: u64,
}

/// What a dialler hears.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Up(Hello),
    Refused(Refused),
    Nothing,
}

impl World {
    pub(super) fn begin_dial(&mut self, host: usize, to: SocketAddr) {
        let goal = (0..self.hosts.len()).find(|host| address(*host) == to);
        let Some((goal, boot)) = goal.zip(self.any_process(host).map(|it| it.0.boot)) else {
            return;
        };
        self.count += 1;
        let link = LinkId(self.count);
        let wire = Wire {
            from: (host, boot),
            to: (goal, 0),
            frames: VecDeque::new(),
            arrives_ms: 0,
            is_out_up: false,
            is_in_up: false,
            is_answered: false,
            is_lost: false,
            silent_since_ms: None,
            patience_ms: 1000 + self.random.below(5000),
        };
        self.wires.insert(link, wire);
        let slow = if self.random.percent(15) { 1500 } else { 1 };
        let delay = self.delay() + self.random.below(slow);
        if self.passes(host, goal) && self.passes(goal, host) && !self.hosts[goal].is_stopped {
            self.after(delay, Event::Dialled(link));
        } else {
            self.after(DIAL_MS, Event::Answered(link, Answer::Nothing));
        }
    }

    pub(super) fn dialled(&mut self, link: LinkId) -> Checked {
        let Some(wire) = self.wires.get(&link) else {
            return Ok(());
        };
        let (from, goal) = (wire.from, wire.to.0);
        let delay = self.delay();
        let hello = self.process(from.0, from.1).map(|it| it.0.node.hello());
        let Some((hello, (process, now_ms))) = hello.zip(self.any_process(goal)) else {
            self.after(delay, Event::Answered(link, Answer::Nothing));
            return Ok(());
        };
        let boot = process.boot;
        let answer = match process.node.hello_in(link, hello, now_ms) {
            Ok(()) => Answer::Up(process.node.hello()),
            Err(refused) => Answer::Refused(refused),
        };
        if let (Answer::Up(_), Some(wire)) = (&answer, self.wires.get_mut(&link)) {
            wire.to.1 = boot;
            wire.is_in_up = true;
            self.after(BEAT_MS, Event::Beat(link));
        }
        self.after(delay, Event::Answered(link, answer));
        self.act_on(goal)
    }

    pub(super) fn answered(&mut self, link: LinkId, answer: Answer) -> Checked {
        let random = self.random.next();
        let Some(wire) = self.wires.get_mut(&link) else {
            return Ok(());
        };
        // The way may have been cut, or the other end gone, before the answer came.
        let answer = if wire.is_lost {
            Answer::Nothing
        } else {
            answer
        };
        wire.is_answered = true;
        wire.is_out_up = matches!(answer, Answer::Up(_));
        let ((host, boot), to) = (wire.from, address(wire.to.0));
        let is_up = wire.is_out_up;
        if let Some((process, now_ms)) = self.process(host, boot) {
            match answer {
                Answer::Up(hello) => process.node.link_out_up(link, to, hello, now_ms),
                Answer::Refused(refused) => {
                    process.node.dial_refused(to, refused, now_ms, random);
                }
                Answer::Nothing => {
                    process.node.dial_failed(to, now_ms, random);
                }
            }
        }
        if !is_up {
            self.lose(link);
        }
        self.act_on(host)
    }

    /// A link can write a few frames.
    pub(super) fn write(&mut self, link: LinkId) -> Checked {
        for _ in 0..1 + self.random.below(3) {
            let Some(wire) = self.wires.get(&link).filter(|wire| wire.is_out_up) else {
                return Ok(());
            };
            let (host, boot) = wire.from;
            let Some((process, now_ms)) = self.process(host, boot) else {
                return Ok(());
            };
            let Some(frame) = process.node.next_frame(link, now_ms) else {
                return self.act_on(host);
            };
            let read = Frame::decode(frame.encode());
            if read.as_ref() != Ok(&Some(frame)) {
                return Err(format!("a frame is read as {read:?}"));
            }
            if let Ok(Some(frame)) = read {
                self.send(link, frame);
            }
            self.act_on(host)?;
        }
        let after = self.random.below(20);
        self.after(after, Event::Write(link));
        Ok(())
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        let (delay, world_ms) = (self.delay(), self.now_ms);
        if let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.is_lost) {
            wire.frames.push_back(frame);
            wire.arrives_ms = wire.arrives_ms.max(world_ms + delay);
            let after = wire.arrives_ms - world_ms;
            self.after(after, Event::Arrive(link));
        }
    }

    pub(super) fn arrive(&mut self, link: LinkId) -> Checked {
        let Some(wire) = self.wires.get(&link).filter(|wire| wire.is_in_up) else {
            return Ok(());
        };
        let (from, (host, boot)) = (wire.from.0, wire.to);
        if !self.passes(from, host) {
            // Sent again, until the link is given up.
            self.after(100, Event::Arrive(link));
            return Ok(());
        }
        let frame = self
            .wires
            .get_mut(&link)
            .and_then(|wire| wire.frames.pop_front());
        let Some(frame) = frame.and_then(|frame| self.spoil(frame)) else {
            return Ok(());
        };
        self.seen.frame(&frame);
        let Some((process, now_ms)) = self.process(host, boot) else {
            return Ok(());
        };
        let read = process.node.frame(link, frame, now_ms);
        read.map_err(|why| format!("host{host} at {}: {why}", self.now_ms))?;
        self.act_on(host)
    }

    /// Loses or changes frames, in worlds that do.
    fn spoil(&mut self, mut frame: Frame) -> Option<Frame> {
        if self.is_quiet || self.kind == Kind::Plain || !self.random.percent(8) {
            return Some(frame);
        }
        let bit = 1 << self.random.below(64);
        match (&mut frame, self.kind) {
            (Frame::Snapshot { .. } | Frame::Delta { .. } | Frame::Resync, Kind::Dropping) => {
                self.seen.spoiled += 1;
                return None;
            }
            (Frame::Snapshot { rooms, .. }, Kind::Corrupting) => {
                if let Some(room) = rooms.first_mut() {
                    self.seen.spoiled += 1;
                    room.0 ^= bit;
                }
            }
            (Frame::Delta { changes, .. }, Kind::Corrupting) => {
                if let Some(change) = changes.first_mut() {
                    self.seen.spoiled += 1;
                    *change = Change::Join(RoomKey(change.room().0 ^ bit));
                }
            }
            _ => {}
        }
        Some(frame)
    }

    /// A link is given up when its ends have not heard each other for a while.
    pub(super) fn beat(&mut self, link: LinkId) {
        let Some(wire) = self.wires.get(&link).filter(|wire| !wire.is_lost) else {
            return;
        };
        let (from, to) = (wire.from.0, wire.to.0);
        let hears = self.passes(from, to) && self.passes(to, from);
        let is_silent = !hears || self.hosts[from].is_stopped || self.hosts[to].is_stopped;
        let world_ms = self.now_ms;
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        let since_ms = wire
            .silent_since_ms
            .filter(|_| is_silent)
            .unwrap_or(world_ms);
        wire.silent_since_ms = is_silent.then_some(since_ms);
        if world_ms >= since_ms + wire.patience_ms {
            self.seen.timeouts += 1;
            self.lose(link);
        } else {
            self.after(BEAT_MS, Event::Beat(link));
        }
    }

    /// Nothing passes any more; some of what is under way still arrives. Each end notices later.
    pub(super) fn lose(&mut self, link: LinkId) {
        let spread = if self.is_quiet { 200 } else { 3000 };
        let (out_after, in_after) = (self.random.below(spread), self.random.below(spread));
        let keep = self.random.next();
        if let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.is_lost) {
            wire.is_lost = true;
            let kept = keep % (wire.frames.len() as u64 + 1);
            wire.frames.truncate(kept as usize);
            self.after(out_after, Event::OutLost(link));
            self.after(in_after, Event::InLost(link));
        }
    }

    pub(super) fn out_lost(&mut self, link: LinkId) -> Checked {
        let random = self.random.next();
        let Some(wire) = self.wires.get_mut(&link) else {
            return Ok(());
        };
        let ((host, boot), was_up) = (wire.from, wire.is_out_up);
        wire.is_out_up = false;
        if let Some((process, now_ms)) = self.process(host, boot).filter(|_| was_up) {
            process.node.link_out_down(link, now_ms, random);
        }
        self.forget(link);
        self.act_on(host)
    }

    pub(super) fn in_lost(&mut self, link: LinkId) -> Checked {
        let Some(wire) = self.wires.get_mut(&link) else {
            return Ok(());
        };
        let ((host, boot), was_up) = (wire.to, wire.is_in_up);
        wire.is_in_up = false;
        if let Some((process, now_ms)) = self.process(host, boot).filter(|_| was_up) {
            process.node.link_in_down(link, now_ms);
        }
        self.forget(link);
        self.act_on(host)
    }

    /// A process closes a link; sometimes its edge says so again.
    pub(super) fn hang_up(&mut self, host: usize, link: LinkId) {
        self.seen.hangups += 1;
        self.lose(link);
        let (says_again, random) = (self.random.percent(50), self.random.next());
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        let is_out = wire.from.0 == host;
        let end = if is_out {
            &mut wire.is_out_up
        } else {
            &mut wire.is_in_up
        };
        *end = false;
        if let Some((process, now_ms)) = self.any_process(host).filter(|_| says_again) {
            if is_out {
                process.node.link_out_down(link, now_ms, random);
            } else {
                process.node.link_in_down(link, now_ms);
            }
        }
    }

    /// A host's own end of a link is gone, and nobody there is told.
    pub(super) fn drop_end(&mut self, host: usize, link: LinkId) {
        if let Some(wire) = self.wires.get_mut(&link) {
            wire.is_out_up &= wire.from.0 != host;
            wire.is_in_up &= wire.to.0 != host;
        }
        self.forget(link);
    }

    /// A link that neither end has is forgotten.
    fn forget(&mut self, link: LinkId) {
        let is_over = |it: &Wire| it.is_answered && it.is_lost && !it.is_out_up && !it.is_in_up;
        if self.wires.get(&link).is_some_and(is_over) {
            self.wires.remove(&link);
        }
    }

    /// All links that start or end at a host.
    pub(super) fn links_of(&self, host: usize) -> Vec<LinkId> {
        let its = self
            .wires
            .iter()
            .filter(|(_, it)| it.from.0 == host || it.to.0 == host);
        its.map(|(link, _)| *link).collect()
    }
}
