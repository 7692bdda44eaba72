//! What one outbound link has been told, and is told next, of this node's rooms.

use std::sync::Arc;

use super::own::Own;
use crate::proto::{Frame, RoomKey};

/// A snapshot, then changes; pulled, so a slow link is told more at once.
#[derive(Debug)]
pub(crate) struct Feed(State);

#[derive(Debug)]
enum State {
    /// A snapshot is to be sent.
    Due,
    /// A snapshot is being sent.
    Snapshot {
        rooms: Arc<[RoomKey]>,
        sent: usize,
        seq: u64,
    },
    /// Everything up to this change has been sent.
    Told(u64),
}

impl Feed {
    /// Of a link that has been told nothing.
    pub(crate) fn new() -> Self {
        Self(State::Due)
    }

    /// Starts again with a snapshot.
    pub(crate) fn restart(&mut self) {
        self.0 = State::Due;
    }

    /// Whether there is something to send.
    pub(crate) fn is_pending(&self, own: &Own) -> bool {
        !matches!(self.0, State::Told(seq) if seq == own.mark().seq)
    }

    /// Up to which change the link does not need the log.
    pub(crate) fn told(&self, own: &Own) -> u64 {
        match self.0 {
            State::Due => own.mark().seq,
            State::Snapshot { seq, .. } | State::Told(seq) => seq,
        }
    }

    /// The next frame.
    pub(crate) fn next(&mut self, own: &mut Own) -> Option<Frame> {
        if let State::Told(from) = self.0 {
            if from == own.mark().seq {
                return None;
            }
            if let Some(changes) = own.changes_after(from, own.sizes().changes) {
                self.0 = State::Told(from + changes.len() as u64);
                return Some(Frame::Delta { from, changes });
            }
            self.0 = State::Due;
        }
        if let State::Due = self.0 {
            self.0 = State::Snapshot {
                rooms: own.snapshot(),
                sent: 0,
                seq: own.mark().seq,
            };
        }
        let State::Snapshot { rooms, sent, seq } = &mut self.0 else {
            return None;
        };
        let seq = *seq;
        let part = &rooms[*sent..rooms.len().min(*sent + own.sizes().rooms)];
        let first = *sent == 0;
        *sent += part.len();
        let last = *sent == rooms.len();
        let frame = Frame::Snapshot {
            seq,
            total: u32::try_from(rooms.len()).unwrap_or(u32::MAX),
            first,
            last,
            rooms: part.to_vec(),
        };
        if last {
            self.0 = State::Told(seq);
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Change;
    use crate::proto::interest::own::Sizes;
    use crate::proto::rules::Rules;

    fn own(rooms: u64) -> Own {
        let mut own = Own::new(10, Sizes::SMALL, Rules::default());
        (0..rooms).for_each(|room| {
            own.join(RoomKey(room));
        });
        own
    }

    #[test]
    fn an_empty_snapshot_is_one_frame() {
        let (mut own, mut feed) = (own(0), Feed::new());
        let frame = feed.next(&mut own);
        let expected = Frame::Snapshot {
            seq: 0,
            total: 0,
            first: true,
            last: true,
            rooms: Vec::new(),
        };
        assert_eq!(frame, Some(expected));
        assert_eq!(feed.next(&mut own), None);
    }

    #[test]
    fn a_snapshot_stays_as_it_was_when_it_began() {
        let (mut own, mut feed) = (own(Sizes::SMALL.rooms as u64 + 1), Feed::new());
        let first = feed.next(&mut own);
        own.join(RoomKey(u64::MAX));
        let last = feed.next(&mut own);
        let part = |frame| match frame {
            Some(Frame::Snapshot {
                seq,
                first,
                last,
                rooms,
                ..
            }) => (seq, first, last, rooms.len()),
            other => panic!("{other:?}"),
        };
        let seq = Sizes::SMALL.rooms as u64 + 1;
        assert_eq!(part(first), (seq, true, false, Sizes::SMALL.rooms));
        assert_eq!(part(last), (seq, false, true, 1));
        let changes = vec![Change::Join(RoomKey(u64::MAX))];
        assert_eq!(
            feed.next(&mut own),
            Some(Frame::Delta { from: seq, changes })
        );
        assert!(!feed.is_pending(&own));
    }

    #[test]
    fn a_link_far_behind_gets_a_snapshot() {
        let (mut own, mut feed) = (own(0), Feed::new());
        feed.next(&mut own);
        for room in 0..=Sizes::SMALL.log as u64 {
            own.join(RoomKey(room));
        }
        let frame = feed.next(&mut own);
        assert!(
            matches!(frame, Some(Frame::Snapshot { first: true, .. })),
            "{frame:?}"
        );
    }
}
