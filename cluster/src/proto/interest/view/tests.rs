use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};

use super::*;
use crate::proto::Frame;
use crate::proto::interest::feed::Feed;
use crate::proto::interest::own::{Own, Sizes};

fn view() -> View {
    View::new(0, Rules::default())
}

fn keys(rooms: &[u64]) -> Vec<RoomKey> {
    rooms.iter().copied().map(RoomKey).collect()
}

/// The mark after joins of these rooms.
fn mark(rooms: &[u64]) -> Mark {
    let joins = rooms.iter().map(|room| Change::Join(RoomKey(*room)));
    joins.fold(Mark::default(), Mark::after)
}

fn take(view: &mut View, frame: Frame, now_ms: u64) {
    match frame {
        Frame::Snapshot {
            seq,
            total,
            first,
            last,
            rooms,
        } => {
            view.snapshot((seq, total), (first, last), &rooms, now_ms);
        }
        Frame::Delta { from, changes } => view.delta(from, &changes, now_ms),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_takes_effect_with_its_last_part() {
    let mut view = view();
    view.snapshot((5, 3), (true, false), &keys(&[1, 2]), 0);
    assert_eq!((view.is_in_step(), view.acknowledgeable()), (false, None));
    view.snapshot((5, 3), (false, true), &keys(&[3]), 0);
    assert_eq!((view.is_in_step(), view.acknowledgeable()), (true, Some(5)));
    assert!(view.wants(&keys(&[9, 3])) && !view.wants(&keys(&[9])));
    // A second one replaces it, and until it is whole the first stays.
    view.snapshot((8, 2), (true, false), &keys(&[4]), 0);
    assert_eq!(view.acknowledgeable(), Some(5));
    view.snapshot((8, 2), (false, true), &keys(&[5]), 0);
    assert_eq!(view.acknowledgeable(), Some(8));
    assert!(view.wants(&keys(&[4])) && !view.wants(&keys(&[1])));
}

#[test]
fn parts_that_do_not_fit_are_no_snapshot() {
    let parts: [(u64, u32, &[u64]); 4] = [
        (6, 3, &[3]),    // of another snapshot
        (5, 4, &[3]),    // of another size
        (5, 3, &[2]),    // a room twice
        (5, 3, &[3, 4]), // a room too many
    ];
    for (seq, total, rooms) in parts {
        let mut view = view();
        view.snapshot((5, 3), (true, false), &keys(&[1, 2]), 0);
        view.snapshot((seq, total), (false, true), &keys(rooms), 0);
        assert!(!view.is_in_step() && view.asks(0), "{rooms:?}");
        view.snapshot((7, 0), (false, true), &[], 0);
        assert!(!view.is_in_step(), "the rest of a snapshot is none");
    }
}

#[test]
fn what_does_not_follow_opens_the_view() {
    let joins: [(u64, u64); 3] = [
        (2, 9), // a change is missing
        (0, 9), // a change came twice
        (1, 1), // joins what is joined
    ];
    for (from, room) in joins {
        let mut view = view();
        view.snapshot((1, 1), (true, true), &keys(&[1]), 0);
        view.delta(from, &[Change::Join(RoomKey(room))], 0);
        assert!(!view.is_in_step() && view.asks(0), "{from} {room}");
    }
    let mut view = view();
    view.snapshot((1, 1), (true, true), &keys(&[1]), 0);
    view.delta(1, &[Change::Leave(RoomKey(2))], 0);
    assert!(!view.is_in_step(), "leaves what is not joined");
}

#[test]
fn it_asks_once_a_second_at_most() {
    let mut view = view();
    view.lose();
    assert!(view.asks(0));
    view.asked(0);
    view.lose();
    assert!(!view.asks(999) && view.asks(1000));
    view.asked(1000);
    // Nothing comes of it.
    view.tick(3999);
    assert!(!view.asks(3999));
    view.tick(4000);
    assert!(view.asks(4000));
}

#[test]
fn a_first_snapshot_is_not_awaited_for_ever() {
    let mut view = view();
    view.tick(2999);
    assert!(!view.asks(2999));
    view.snapshot((1, 2), (true, false), &keys(&[1]), 2999);
    view.tick(5000);
    assert!(!view.asks(5000), "it makes progress");
    view.tick(5999);
    assert!(view.asks(5999));
}

#[test]
fn a_digest_that_differs_opens_the_view() {
    let wrong = Mark { seq: 2, digest: 7 };
    let mut view = view();
    view.snapshot((1, 1), (true, true), &keys(&[1]), 0);
    view.gossiped(wrong, 0);
    assert!(view.is_in_step(), "it is ahead of the stream");
    view.delta(1, &[Change::Join(RoomKey(2))], 0);
    assert!(!view.is_in_step(), "now it is not");
    view.snapshot((2, 2), (true, true), &keys(&[1, 2]), 0);
    assert!(!view.is_in_step(), "a snapshot is compared as well");
}

#[test]
fn gossip_that_is_late_is_compared_with_what_was() {
    let mut view = view();
    view.snapshot((1, 1), (true, true), &keys(&[1]), 0);
    view.delta(1, &[2, 3, 4].map(|room| Change::Join(RoomKey(room))), 0);
    for seq in 1..=4_u64 {
        let rooms: Vec<u64> = (1..=seq).collect();
        view.gossiped(mark(&rooms), 0);
        assert!(view.is_in_step());
    }
    view.gossiped(Mark { seq: 0, digest: 9 }, 0);
    assert!(view.is_in_step(), "before the snapshot nothing is known");
    view.gossiped(mark(&[1, 5]), 0);
    assert!(!view.is_in_step());
}

#[test]
fn a_stream_that_stands_still_opens_the_view() {
    let mut view = view();
    view.snapshot((1, 1), (true, true), &keys(&[1]), 0);
    view.gossiped(mark(&[1, 2, 3]), 1000);
    view.tick(3999);
    assert!(view.is_in_step());
    view.delta(1, &[Change::Join(RoomKey(2))], 3999);
    view.tick(6998);
    assert!(view.is_in_step(), "it has moved");
    view.tick(6999);
    assert!(!view.is_in_step() && view.asks(6999));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is joined and left between whatever is read, a view that has read everything is
    /// exact, and one that acknowledges something has just that.
    #[test]
    fn a_view_follows_its_feed(steps in collection::vec((0..4_u8, 0..8_u64), 1..200)) {
        let mut own = Own::new(3, Sizes::SMALL, Rules::default());
        let (mut feed, mut view) = (Feed::new(), view());
        for (now_ms, (step, room)) in steps.into_iter().enumerate() {
            let now_ms = now_ms as u64;
            match step {
                0 => _ = own.join(RoomKey(room)),
                1 => own.leave(RoomKey(room), now_ms),
                2 => _ = own.expire(now_ms),
                _ => {
                    if let Some(frame) = feed.next(&mut own) {
                        take(&mut view, frame, now_ms);
                    }
                    own.trim(feed.told(&own));
                }
            }
        }
        while let Some(frame) = feed.next(&mut own) {
            take(&mut view, frame, 0);
        }
        prop_assert!(view.is_in_step());
        prop_assert_eq!(view.rooms(), own.rooms());
        prop_assert_eq!(view.mark, own.mark());
    }

    /// No frame that decodes makes a view panic, and none makes it claim to be in step with what
    /// nobody sent as a whole.
    #[test]
    fn any_frames_are_borne(
        frames in collection::vec((any::<bool>(), any::<[bool; 2]>(), 0..6_u64, 0..6_u32), 0..40),
    ) {
        let mut view = view();
        for (is_snapshot, [first, last], seq, total) in frames {
            let rooms: Vec<RoomKey> = (0..u64::from(total)).map(RoomKey).collect();
            if is_snapshot {
                view.snapshot((seq, total), (first, last), &rooms, 0);
            } else {
                let changes: Vec<Change> = rooms.into_iter().map(Change::Join).collect();
                view.delta(seq, &changes, 0);
            }
            prop_assert!(view.is_in_step() || view.acknowledgeable().is_none());
            prop_assert!(view.is_in_step() || view.rooms.is_empty());
        }
    }
}
