//! An owner's entries on their way to the follower: in pieces, and only so much at a time.

use std::collections::VecDeque;

use super::context::Context;
use super::machine::{Machine, Role};
use super::piece::Piece;
use super::{Eid, Message, NodeId};

/// How often entries that are not acknowledged are sent again.
const AGAIN_MS: u64 = 250;
/// How many full messages may be under way.
const UNDER_WAY: usize = 4;

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct Copying {
    /// Up to here it was sent.
    upto: u64,
    /// What was sent and is not acknowledged: up to where, and how many bytes.
    under_way: VecDeque<(u64, usize)>,
    bytes: usize,
    /// When it was last sent again.
    again_ms: u64,
}

impl Copying {
    pub(super) fn new(upto: u64) -> Self {
        Self {
            upto,
            under_way: VecDeque::new(),
            bytes: 0,
            again_ms: 0,
        }
    }

    /// All up to here is with the follower.
    fn acknowledged(&mut self, seq: u64) {
        while let Some((upto, bytes)) = self.under_way.front().copied()
            && upto <= seq
        {
            self.under_way.pop_front();
            self.bytes -= bytes;
        }
        self.upto = self.upto.max(seq);
    }
}

impl Machine {
    /// Sends the follower what comes next, as far as there is room.
    pub(super) fn copy(&mut self, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let Some(follower) = owned.follower() else {
            return;
        };
        let most = UNDER_WAY * context.settings.fetch_bytes;
        let (eid, copying) = (owned.eid, &mut owned.copying);
        while copying.upto < owned.sent && (copying.bytes < most || copying.under_way.is_empty()) {
            let prev = copying.upto;
            let (mut entries, mut bytes) = (Vec::new(), 0);
            let mut piece = Piece::new(&context.settings);
            for entry in self.log.range(prev, owned.sent) {
                if !piece.fits(entry.size()) {
                    break;
                }
                bytes += entry.size();
                copying.upto = entry.position.seq;
                entries.push(entry.clone());
            }
            if entries.is_empty() {
                return;
            }
            copying.under_way.push_back((copying.upto, bytes));
            copying.bytes += bytes;
            context.send(follower, self.slot, Message::Copy { eid, prev, entries });
        }
    }

    /// Sends again what the follower has not acknowledged.
    pub(super) fn copy_again(&mut self, context: &mut Context) {
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let since_ms = owned.copied_ms.max(owned.copying.again_ms);
        if owned.copied < owned.sent && context.now.ms >= since_ms + AGAIN_MS {
            owned.copying = Copying {
                again_ms: context.now.ms,
                ..Copying::new(owned.copied)
            };
            self.copy(context);
        }
    }

    pub(super) fn on_copied(&mut self, from: NodeId, eid: Eid, seq: u64, context: &mut Context) {
        if let Role::Open(owned) = &mut self.role
            && owned.eid == eid
            && owned.follower() == Some(from)
            && owned.copied < seq
        {
            owned.copied = seq;
            owned.copied_ms = context.now.ms;
            owned.copying.acknowledged(seq);
            self.commit(context);
            self.copy(context);
        }
    }

    pub(super) fn on_copy_refused(&mut self, eid: Eid, promise: Eid, context: &mut Context) {
        self.see(promise);
        if self.open_eid() == Some(eid) {
            self.close(context);
        }
    }
}
