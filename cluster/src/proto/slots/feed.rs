//! Feeding committed entries to nodes that have listeners: the owner's side.
//!
//! What does not fit into one message is asked for piece by piece, so that a listener that is far
//! behind gets no more at a time than it takes, and the owner need not keep it: the log has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::Context;
use super::log::{Invalid, Log};
use super::machine::{Machine, Role};
use super::piece::Piece;
use super::rules::Rule;
use super::{Body, Eid, Entry, Message, NodeId, Position, Room, SlotNo};

/// One node that listens.
#[derive(Clone, Debug)]
struct Feed {
    stream: u64,
    /// How many messages were sent.
    sent: u64,
    /// How many changes of its rooms were made.
    changes: u64,
    rooms: BTreeSet<Room>,
    /// Everything of the rooms up to here was sent.
    position: Position,
    /// There is more, and the listener must ask for it.
    is_behind: bool,
}

impl Feed {
    /// Sends the next piece, if there is anything to say.
    fn go_on(
        &mut self,
        (node, slot): (NodeId, SlotNo),
        log: &Log,
        commit: Position,
        cut: Vec<Room>,
        context: &mut Context,
    ) {
        let mut piece = Piece::new(&context.settings);
        let mut entries = Vec::new();
        let is_answer = self.sent == 0 || self.is_behind;
        self.is_behind = false;
        let before = std::mem::replace(&mut self.position, commit);
        for entry in log.range(before.seq, commit.seq) {
            let Body::Event { room, .. } = &entry.body else {
                continue;
            };
            if !self.rooms.contains(room) || entry.is_stub() {
                continue;
            }
            if !piece.fits(entry.size()) {
                self.is_behind = true;
                break;
            }
            entries.push(Arc::clone(entry));
        }
        if let Some(last) = entries.last().filter(|_| self.is_behind) {
            self.position = last.position;
        }
        if !entries.is_empty() || is_answer {
            let more = self.is_behind;
            self.say((node, slot), (cut, entries), None, more, context);
        }
    }

    fn say(
        &mut self,
        (node, slot): (NodeId, SlotNo),
        (cut, entries): (Vec<Room>, Vec<Arc<Entry>>),
        added: Option<Room>,
        more: bool,
        context: &mut Context,
    ) {
        let message = Message::Fed {
            stream: self.stream,
            nth: self.sent,
            cut,
            entries,
            added,
            position: self.position,
            more,
        };
        self.sent += 1;
        context.send(node, slot, message);
    }
}

/// All nodes that listen to a slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Feeder {
    feeds: BTreeMap<NodeId, Feed>,
}

impl Feeder {
    /// Which streams there are, and how much was sent on each.
    pub(super) fn streams(&self) -> impl Iterator<Item = (NodeId, u64, u64)> + '_ {
        let feeds = self.feeds.iter();
        feeds.map(|(node, feed)| (*node, feed.stream, feed.sent))
    }
}

impl Machine {
    pub(super) fn on_feed(
        &mut self,
        from: NodeId,
        (eid, stream): (Eid, u64),
        rooms: BTreeMap<Room, bool>,
        after: Option<Position>,
        context: &mut Context,
    ) {
        let Role::Open(owned) = &self.role else {
            return;
        };
        if owned.eid != eid && context.rules.keep(Rule::FeedOfEpoch) {
            return;
        }
        if owned
            .feeder
            .feeds
            .get(&from)
            .is_some_and(|feed| feed.stream >= stream)
        {
            return;
        }
        let commit = self.committed();
        let (mut cut, mut old, mut new) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (room, is_new) in rooms {
            if is_new {
                new.insert(room);
                continue;
            }
            match after.map(|after| self.check(&room, after, commit.seq, context)) {
                Some(Ok(())) => drop(old.insert(room)),
                _ if !context.rules.keep(Rule::FeedResumes) => drop(new.insert(room)),
                Some(Err(Invalid::NotYet)) if self.fill.is_some() => return,
                _ => cut.push(room),
            }
        }
        // New rooms are fed from where the first piece ends.
        let position = after.filter(|_| !old.is_empty()).unwrap_or(commit);
        let mut feed = Feed {
            stream,
            sent: 0,
            changes: 0,
            rooms: old,
            position,
            is_behind: false,
        };
        feed.go_on((from, self.slot), &self.log, commit, cut, context);
        feed.rooms.append(&mut new);
        if let Role::Open(owned) = &mut self.role {
            owned.feeder.feeds.insert(from, feed);
        }
    }

    /// The listener has room for more.
    pub(super) fn on_feed_more(
        &mut self,
        from: NodeId,
        stream: u64,
        nth: u64,
        context: &mut Context,
    ) {
        let (commit, to) = (self.committed(), (from, self.slot));
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let Some(feed) = owned.feeder.feeds.get_mut(&from) else {
            return;
        };
        if feed.stream != stream || feed.sent != nth || !feed.is_behind {
            return;
        }
        // Trimmed before it was sent.
        let (log, after) = (&self.log, feed.position);
        let lacks = |room: &&Room| log.check(room, after, commit.seq).is_err();
        let cut: Vec<Room> = feed.rooms.iter().filter(lacks).cloned().collect();
        feed.rooms.retain(|room| !cut.contains(room));
        feed.go_on(to, log, commit, cut, context);
    }

    pub(super) fn on_feed_change(
        &mut self,
        from: NodeId,
        (stream, nth): (u64, u64),
        room: Room,
        wanted: bool,
        context: &mut Context,
    ) {
        let slot = self.slot;
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        let Some(feed) = owned.feeder.feeds.get_mut(&from) else {
            return;
        };
        if feed.stream != stream || feed.changes != nth {
            // Late, repeated, or after one that was lost; the listener notices.
            return;
        }
        feed.changes += 1;
        if !wanted {
            feed.rooms.remove(&room);
            return;
        }
        feed.rooms.insert(room.clone());
        let more = feed.is_behind;
        feed.say((from, slot), Default::default(), Some(room), more, context);
    }

    pub(super) fn on_feed_end(&mut self, from: NodeId, stream: u64) {
        if let Role::Open(owned) = &mut self.role {
            owned
                .feeder
                .feeds
                .retain(|node, feed| *node != from || feed.stream != stream);
        }
    }

    /// Feeds what was committed.
    pub(super) fn feed(&mut self, context: &mut Context) {
        let mut commit = self.committed();
        if !context.rules.keep(Rule::FeedCommitted) {
            commit.seq = self.log.end;
        }
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        for (node, feed) in &mut owned.feeder.feeds {
            if !feed.is_behind {
                feed.go_on((*node, self.slot), &self.log, commit, Vec::new(), context);
            }
        }
    }

    /// Up to where this owner's log can be read.
    fn committed(&self) -> Position {
        match &self.role {
            Role::Open(owned) => Position {
                eid: owned.eid,
                seq: owned.commit,
            },
            _ => Position::default(),
        }
    }
}
