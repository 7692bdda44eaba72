//! Who is to handle what.

use super::{Action, Message, NodeId, SlotNo, Slots};

impl Slots {
    /// Says to itself what there is to say, and hands on what was appended.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some((slot, message)) = self.context.local.pop_front() {
                self.handle(self.context.id, slot, message);
            }
            for slot in std::mem::take(&mut self.touched) {
                self.machines[usize::from(slot)].pump(&mut self.context);
            }
            for slot in std::mem::take(&mut self.context.opened) {
                self.meet(slot);
            }
            if self.context.local.is_empty() {
                return;
            }
        }
    }

    pub(super) fn handle(&mut self, from: NodeId, slot: SlotNo, message: Message) {
        let Some(machine) = self.machines.get_mut(usize::from(slot)) else {
            return;
        };
        self.touched.insert(slot);
        let context = &mut self.context;
        match message {
            Message::Seal { eid } => machine.on_seal(from, eid, context),
            Message::Sealed { eid, sealed } => machine.on_sealed(from, eid, sealed, context),
            Message::Refused { eid, promise } => machine.on_refused(eid, promise, context),
            Message::Fetch {
                eid,
                chain,
                end,
                rest,
            } => machine.on_fetch(from, eid, (&chain, end), rest, context),
            Message::Fetched {
                eid,
                asked,
                basis,
                rest,
            } => machine.on_fetched(from, eid, (asked, basis, rest), context),
            Message::Follow { eid, sources } => machine.on_follow(from, eid, sources, context),
            Message::Followed { eid } => machine.on_followed(from, eid, context),
            Message::Install { reign } => machine.on_install(from, reign, context),
            Message::Installed { eid } => machine.on_installed(from, eid, context),
            Message::Copy { eid, prev, entries } => {
                machine.on_copy(from, eid, prev, entries, context);
            }
            Message::Copied { eid, seq } => machine.on_copied(from, eid, seq, context),
            Message::CopyRefused { eid, promise } => machine.on_copy_refused(eid, promise, context),
            Message::Fill { chain, end, below } => {
                machine.on_fill(from, &chain, end, below, context);
            }
            filled @ Message::Filled { .. } => machine.on_filled(from, filled, context),
            Message::Holding { slots } => self.holding(from, slots),
            Message::Ask { rid, request } => machine.on_ask(from, rid, request, context),
            Message::Told { rid, answer } => self.told(rid, answer),
            Message::Feed {
                eid,
                stream,
                rooms,
                after,
            } => machine.on_feed(from, (eid, stream), rooms, after, context),
            Message::FeedChange {
                stream,
                nth,
                room,
                wanted,
            } => machine.on_feed_change(from, (stream, nth), room, wanted, context),
            Message::FeedMore { stream, nth } => machine.on_feed_more(from, stream, nth, context),
            Message::FeedEnd { stream } => machine.on_feed_end(from, stream),
            fed @ Message::Fed { .. } => self.fed(from, slot, fed),
            Message::Feeding { streams } => self.feeding(from, streams),
            Message::Evict { pid, home } => context.actions.push(Action::Evicted { pid, home }),
        }
    }
}
