use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};

use super::*;

fn parts() -> impl Strategy<Value = Vec<Part>> {
    collection::vec(any::<Part>(), 0..=MAX_PARTS)
}

fn keys() -> impl Strategy<Value = Bytes> {
    collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn frames() -> impl Strategy<Value = Frame> {
    let rooms = || collection::vec(any::<u64>().prop_map(RoomKey), 0..50);
    let change = (any::<bool>(), any::<u64>()).prop_map(|(is_join, room)| match is_join {
        true => Change::Join(RoomKey(room)),
        false => Change::Leave(RoomKey(room)),
    });
    let reported = (keys(), any::<bool>(), parts());
    let reported = reported.prop_map(|(key, anew, parts)| Reported { key, anew, parts });
    let answered = (keys(), parts()).prop_map(|(key, parts)| Answered { key, parts });
    prop_oneof![
        (any::<(u64, u32, bool, bool)>(), rooms()).prop_map(
            |((seq, total, first, last), rooms)| {
                Frame::Snapshot {
                    seq,
                    total,
                    first,
                    last,
                    rooms,
                }
            }
        ),
        (0..u64::MAX / 2, collection::vec(change, 0..50))
            .prop_map(|(from, changes)| Frame::Delta { from, changes }),
        any::<(u64, u64)>().prop_map(|(generation, seq)| Frame::Ack { generation, seq }),
        proptest::strategy::Just(Frame::Resync),
        collection::vec(reported, 0..20).prop_map(|entries| Frame::Report { entries }),
        collection::vec(answered, 0..20).prop_map(|entries| Frame::Answer { entries }),
    ]
}

/// Roughly how many bytes a frame takes in memory, beside what it shares with its bytes.
fn held(frame: &Frame) -> usize {
    let parts = |parts: &Vec<Part>| parts.capacity() * size_of::<Part>();
    match frame {
        Frame::Snapshot { rooms, .. } => rooms.capacity() * 8,
        Frame::Delta { changes, .. } => changes.capacity() * size_of::<Change>(),
        Frame::Report { entries } => {
            let each = entries.iter().map(|it| parts(&it.parts)).sum::<usize>();
            each + entries.capacity() * size_of::<Reported>()
        }
        Frame::Answer { entries } => {
            let each = entries.iter().map(|it| parts(&it.parts)).sum::<usize>();
            each + entries.capacity() * size_of::<Answered>()
        }
        Frame::Ack { .. } | Frame::Resync => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn frames_come_back(frame in frames()) {
        let bytes = frame.encode();
        prop_assert_eq!(Frame::decode(bytes), Ok(Some(frame)));
    }

    #[test]
    fn a_cut_frame_is_refused_or_another(frame in frames(), cut in 1..60_usize) {
        let bytes = frame.encode();
        let cut = bytes.slice(..bytes.len().saturating_sub(cut));
        if let Ok(Some(other)) = Frame::decode(cut.clone()) {
            prop_assert!(other != frame);
            prop_assert_eq!(other.encode(), cut);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_take_much(
        kind in 0..8_u8, bytes in collection::vec(any::<u8>(), 0..400), zeros in 0..2000_usize,
    ) {
        let bytes = [&[kind], &bytes[..], &vec![0; zeros]].concat();
        let length = bytes.len();
        if let Ok(Some(frame)) = Frame::decode(bytes.into()) {
            // Entries of three bytes take the most; a vector may hold twice what it needs.
            prop_assert!(held(&frame) <= 64 * length + 512, "{} for {length}", held(&frame));
        }
    }
}

#[test]
fn the_bytes_are_stable() {
    let delta = Frame::Delta {
        from: 258,
        changes: vec![Change::Join(RoomKey(1)), Change::Leave(RoomKey(2))],
    };
    let bytes = b"\x02\0\0\0\0\0\0\x01\x02\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x02";
    assert_eq!(&delta.encode()[..], bytes);
    let report = Frame::Report {
        entries: vec![Reported {
            key: Bytes::from_static(b"k"),
            anew: true,
            parts: vec![(3, 4)],
        }],
    };
    assert_eq!(
        &report.encode()[..],
        b"\x05\x01\0\x01k\x01\0\0\0\x03\0\0\0\x04"
    );
}

#[test]
fn an_unknown_kind_is_skipped() {
    assert_eq!(Frame::decode(Bytes::from_static(&[77, 1, 2])), Ok(None));
    assert_eq!(Frame::decode(Bytes::new()), Err(Malformed { kind: 0 }));
}

#[test]
fn too_much_is_refused() {
    let rooms = vec![RoomKey(1); MAX_ROOMS + 1];
    let snapshot = Frame::Snapshot {
        seq: 1,
        total: 1,
        first: true,
        last: true,
        rooms,
    };
    assert_eq!(
        Frame::decode(snapshot.encode()),
        Err(Malformed { kind: SNAPSHOT })
    );
    let entry = Answered {
        key: Bytes::new(),
        parts: Vec::new(),
    };
    let entries = vec![entry; MAX_ENTRIES + 1];
    let answer = Frame::Answer { entries };
    assert_eq!(
        Frame::decode(answer.encode()),
        Err(Malformed { kind: ANSWER })
    );
    // The last of these changes would have no number.
    let delta = Frame::Delta {
        from: u64::MAX,
        changes: vec![Change::Join(RoomKey(1))],
    };
    assert_eq!(
        Frame::decode(delta.encode()),
        Err(Malformed { kind: DELTA })
    );
}
