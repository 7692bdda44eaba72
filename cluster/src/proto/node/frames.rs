//! What comes in on links, and what goes out.

use super::links::{Inbound, Outbound};
use super::{Broken, Node};
use crate::proto::{Action, Frame, LinkId};

impl Node {
    /// A frame came in on a link that was let in.
    pub fn frame(&mut self, link: LinkId, frame: Frame, now_ms: u64) -> Result<(), Broken> {
        let known = self.inbound.iter_mut().find(|it| it.link == link);
        let Inbound { hello, view, .. } = known.ok_or(Broken::Link)?;
        match frame {
            Frame::Snapshot {
                seq,
                total,
                first,
                last,
                rooms,
            } => view.snapshot((seq, total), (first, last), &rooms, now_ms),
            Frame::Delta { from, changes } => view.delta(from, &changes, now_ms),
            Frame::Ack { generation, seq } => {
                let last = self.own.mark().seq;
                // One that was meant for an earlier start of this node says nothing of this one.
                if generation == self.settings.generation {
                    if seq > last {
                        return Err(Broken::Ack { seq, last });
                    }
                    if let Some(outbound) = own_link(&mut self.outbound, hello) {
                        outbound.acked = outbound.acked.max(Some(seq));
                    }
                }
            }
            Frame::Resync => {
                if let Some(outbound) = own_link(&mut self.outbound, hello) {
                    outbound.feed.restart();
                }
            }
            Frame::Report { entries } => {
                let name = hello.name.clone();
                self.counters.reported(&name, entries, now_ms);
            }
            Frame::Answer { entries } => {
                for entry in entries {
                    if self.counters.heeds(&hello.name, &entry.key) {
                        let (key, parts) = (entry.key, entry.parts);
                        self.actions.push(Action::Others { key, parts });
                    }
                }
            }
        }
        self.settle(now_ms);
        Ok(())
    }

    /// The next frame for an outbound link, to be asked for when the link can write. After `None`
    /// a wake says when there is something again.
    pub fn next_frame(&mut self, link: LinkId, now_ms: u64) -> Option<Frame> {
        let at = self.outbound.iter().position(|it| it.link == link)?;
        let outbound = &mut self.outbound[at];
        if let Some(inbound) = its_inbound(&mut self.inbound, outbound) {
            if inbound.view.asks(now_ms) {
                inbound.view.asked(now_ms);
                return Some(Frame::Resync);
            }
            let ack = inbound.ack().filter(|ack| outbound.ack_sent != Some(*ack));
            if let Some((_, seq)) = ack {
                outbound.ack_sent = ack;
                let generation = inbound.hello.generation;
                return Some(Frame::Ack { generation, seq });
            }
        }
        outbound.counts_next = !outbound.counts_next;
        let name = outbound.hello.name.clone();
        let frame = if outbound.counts_next {
            let counts = self.counters.next(&name, now_ms);
            counts.or_else(|| outbound.feed.next(&mut self.own))
        } else {
            let rooms = outbound.feed.next(&mut self.own);
            rooms.or_else(|| self.counters.next(&name, now_ms))
        };
        outbound.is_awake = frame.is_some();
        frame
    }

    /// Wakes links for a change of this node's rooms: done for each join, so there is no settling.
    pub(super) fn wake_for_interest(&mut self) {
        for outbound in self.outbound.iter_mut().filter(|it| !it.is_awake) {
            outbound.is_awake = true;
            self.actions.push(Action::Wake(outbound.link));
        }
    }

    /// Wakes links that there is something for.
    pub(super) fn wake(&mut self, now_ms: u64) {
        for outbound in self.outbound.iter_mut().filter(|it| !it.is_awake) {
            let reply = its_inbound(&mut self.inbound, outbound).is_some_and(|inbound| {
                let ack = inbound.ack();
                inbound.view.asks(now_ms) || (ack.is_some() && ack != outbound.ack_sent)
            });
            let is_pending = reply
                || outbound.feed.is_pending(&self.own)
                || self.counters.is_pending(&outbound.hello.name);
            if is_pending {
                outbound.is_awake = true;
                self.actions.push(Action::Wake(outbound.link));
            }
        }
    }
}

/// This node's link to the node that said a hello.
fn own_link<'a>(
    outbound: &'a mut [Outbound],
    hello: &crate::proto::Hello,
) -> Option<&'a mut Outbound> {
    let mut links = outbound.iter_mut();
    links.find(|it| it.hello.name == hello.name && it.hello.generation == hello.generation)
}

/// The link from the node that an outbound link goes to.
fn its_inbound<'a>(inbound: &'a mut [Inbound], outbound: &Outbound) -> Option<&'a mut Inbound> {
    let hello = &outbound.hello;
    let mut links = inbound.iter_mut().filter(|it| !it.is_lost);
    links.find(|it| it.hello.name == hello.name && it.hello.generation == hello.generation)
}
