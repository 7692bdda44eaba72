//! Feeding committed entries to nodes that have listeners: the owner's side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::Context;
use super::machine::{Machine, Role};
use super::rules::Rule;
use super::{Body, Eid, Entry, Message, NodeId, Position, Room};

/// One node that listens.
#[derive(Debug)]
struct Feed {
    stream: u64,
    /// How many messages were sent.
    sent: u64,
    /// How many changes of its rooms were made.
    changes: u64,
    rooms: BTreeSet<Room>,
}

/// All nodes that listen to a slot.
#[derive(Debug, Default)]
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
        let (commit, position) = self.committed();
        let (mut cut, mut entries) = (Vec::new(), Vec::new());
        for room in rooms
            .iter()
            .filter(|(_, is_new)| !**is_new)
            .map(|(room, _)| room)
        {
            match after.map(|after| (after, self.check(room, after, commit, context))) {
                Some((after, Ok(()))) => entries.extend(self.log.read(room, after.seq, commit)),
                _ if !context.rules.keep(Rule::FeedResumes) => {}
                Some((_, Err(super::log::Invalid::NotYet))) if self.fill.is_some() => return,
                _ => cut.push(room.clone()),
            }
        }
        entries.sort_by_key(|entry| entry.position.seq);
        let rooms = rooms.into_keys().filter(|room| !cut.contains(room));
        let feed = Feed {
            stream,
            sent: 1,
            changes: 0,
            rooms: rooms.collect(),
        };
        if let Role::Open(owned) = &mut self.role {
            owned.feeder.feeds.insert(from, feed);
        }
        let message = Message::Fed {
            stream,
            nth: 0,
            cut,
            entries,
            added: None,
            position,
        };
        context.send(from, self.slot, message);
    }

    pub(super) fn on_feed_change(
        &mut self,
        from: NodeId,
        (stream, nth): (u64, u64),
        room: Room,
        wanted: bool,
        context: &mut Context,
    ) {
        let (_, position) = self.committed();
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
        let message = Message::Fed {
            stream,
            nth: feed.sent,
            cut: Vec::new(),
            entries: Vec::new(),
            added: Some(room),
            position,
        };
        feed.sent += 1;
        context.send(from, slot, message);
    }

    pub(super) fn on_feed_end(&mut self, from: NodeId, stream: u64) {
        if let Role::Open(owned) = &mut self.role {
            owned
                .feeder
                .feeds
                .retain(|node, feed| *node != from || feed.stream != stream);
        }
    }

    /// Feeds what was committed after a number.
    pub(super) fn feed(&mut self, before: u64, context: &mut Context) {
        let (mut commit, position) = self.committed();
        if !context.rules.keep(Rule::FeedCommitted) {
            commit = self.log.end;
        }
        let entries: Vec<Arc<Entry>> = self.log.range(before, commit).cloned().collect();
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        for (node, feed) in &mut owned.feeder.feeds {
            let wants = |entry: &&Arc<Entry>| match &entry.body {
                Body::Event { room, .. } => feed.rooms.contains(room),
                Body::Record { .. } => false,
            };
            let wanted: Vec<_> = entries.iter().filter(wants).cloned().collect();
            if wanted.is_empty() {
                continue;
            }
            let message = Message::Fed {
                stream: feed.stream,
                nth: feed.sent,
                cut: Vec::new(),
                entries: wanted,
                added: None,
                position,
            };
            feed.sent += 1;
            context.send(*node, self.slot, message);
        }
    }

    /// Up to where this owner's log can be read.
    fn committed(&self) -> (u64, Position) {
        match &self.role {
            Role::Open(owned) => {
                let position = Position {
                    eid: owned.eid,
                    seq: owned.commit,
                };
                (owned.commit, position)
            }
            _ => (0, Position::default()),
        }
    }
}
