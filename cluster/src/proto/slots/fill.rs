//! Filling up: older entries come in the background, the newest first, from whoever has them.

use std::collections::VecDeque;

use super::context::Context;
use super::machine::Machine;
use super::piece::Piece;
use super::{Chain, Message, NodeId};

/// How long one node is waited for.
const WAIT_MS: u64 = 300;
/// How often one that does not answer is asked.
const TRIES: u32 = 3;

/// What is missing, perhaps.
#[derive(Clone, Debug)]
pub(super) struct Filling {
    /// Who may have it; the first is being asked.
    sources: VecDeque<NodeId>,
    asked_ms: Option<u64>,
    tries: u32,
}

impl Filling {
    pub(super) fn new(sources: impl IntoIterator<Item = NodeId>) -> Option<Self> {
        let sources: VecDeque<NodeId> = sources.into_iter().collect();
        (!sources.is_empty()).then_some(Self {
            sources,
            asked_ms: None,
            tries: 0,
        })
    }
}

impl Machine {
    pub(super) fn ask_fill(&mut self, context: &mut Context) {
        let now_ms = context.now.ms;
        let Some(fill) = &mut self.fill else {
            return;
        };
        if fill.asked_ms.is_some_and(|asked| now_ms < asked + WAIT_MS) {
            return;
        }
        if fill.asked_ms.is_some() {
            fill.tries += 1;
        }
        if fill.tries >= TRIES {
            // It may answer later, as long as it is there.
            let late = fill.sources.pop_front();
            fill.sources
                .extend(late.filter(|node| context.is_alive(*node)));
            (fill.asked_ms, fill.tries) = (None, 0);
        }
        let Some(source) = fill.sources.front().filter(|_| self.log.from > 0) else {
            self.fill = None;
            return;
        };
        fill.asked_ms = Some(now_ms);
        let message = Message::Fill {
            chain: self.log.chain.clone(),
            end: self.log.end,
            below: self.log.from,
        };
        context.send(*source, self.slot, message);
    }

    fn next_source(&mut self, context: &mut Context) {
        if let Some(fill) = &mut self.fill {
            fill.sources.pop_front();
            (fill.asked_ms, fill.tries) = (None, 0);
            self.ask_fill(context);
        }
    }

    pub(super) fn on_fill(
        &mut self,
        from: NodeId,
        chain: &Chain,
        end: u64,
        below: u64,
        context: &mut Context,
    ) {
        let Some(eid) = chain.last() else {
            return;
        };
        let common = self.log.chain.common(self.log.end, chain, end);
        let known = self
            .log
            .stretch(below)
            .filter(|_| common.is_some_and(|it| it >= below));
        let message = if let Some(from) = known {
            let mut piece = Piece::new(&context.settings);
            // There are only so many, and all of them matter above what is sent.
            let (mut marks, size) = self.log.marks(from);
            piece.reserve(size);
            let (low, entries) = self.log.newest(from, below, piece);
            marks.retain(|(_, mark)| *mark > low);
            Message::Filled {
                eid,
                low,
                below,
                entries,
                marks,
            }
        } else {
            let (entries, marks) = (Vec::new(), Vec::new());
            Message::Filled {
                eid,
                low: below,
                below,
                entries,
                marks,
            }
        };
        context.send(from, self.slot, message);
    }

    pub(super) fn on_filled(&mut self, from: NodeId, filled: Message, context: &mut Context) {
        let Message::Filled {
            eid,
            low,
            below,
            entries,
            marks,
        } = filled
        else {
            return;
        };
        let Some(fill) = &mut self.fill else {
            return;
        };
        let is_late = self.log.chain.last() != Some(eid) || below != self.log.from;
        if is_late || fill.sources.front() != Some(&from) {
            return;
        }
        let mut writes = Vec::new();
        if self.log.fill((low, below), entries, marks, &mut writes) {
            (fill.asked_ms, fill.tries) = (None, 0);
            self.ask_fill(context);
        } else {
            self.next_source(context);
        }
        context.store(self.slot, writes, None);
    }
}
