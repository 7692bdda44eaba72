//! What is written is read again; nothing else is, and nothing makes it panic.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, proptest};
use proptest::{collection, option, prop_assert_eq, prop_oneof};

use super::*;
use crate::proto::slots::samples::{
    chains, counts, eids, entries, homes, kepts, marks, nodes, positions, records, reigns, texts,
};
use crate::proto::slots::{After, Basis, Reign, Rest};

fn bases() -> impl Strategy<Value = Basis> {
    let records = collection::vec((texts(), kepts()), 0..3);
    let parts = (chains(), [counts(), counts()], entries(), marks(), records);
    parts.prop_map(|(chain, [end, low], entries, marks, records)| Basis {
        chain,
        end,
        low,
        entries,
        marks,
        records,
    })
}

fn rests() -> impl Strategy<Value = Option<Rest>> {
    let after = prop_oneof![
        counts().prop_map(After::Entry),
        texts().prop_map(After::Mark),
        texts().prop_map(After::Record),
    ];
    option::of((counts(), after).prop_map(|(low, after)| Rest { low, after }))
}

fn openings() -> impl Strategy<Value = Message> {
    let numbers = ([counts(), counts(), counts()], any::<bool>());
    let sealed = (eids(), option::of(reigns()), chains(), numbers);
    prop_oneof![
        eids().prop_map(|eid| Message::Seal { eid }),
        sealed.prop_map(
            |(eid, record, chain, ([end, from, size], suspect))| Message::Sealed {
                eid,
                sealed: Sealed {
                    record,
                    chain,
                    end,
                    from,
                    suspect,
                    size
                },
            }
        ),
        (eids(), eids()).prop_map(|(eid, promise)| Message::Refused { eid, promise }),
        (eids(), chains(), counts(), rests()).prop_map(|(eid, chain, end, rest)| {
            Message::Fetch {
                eid,
                chain,
                end,
                rest,
            }
        }),
        (eids(), rests(), bases(), rests()).prop_map(|(eid, asked, basis, rest)| {
            Message::Fetched {
                eid,
                asked,
                basis,
                rest,
            }
        }),
        (eids(), nodes()).prop_map(|(eid, sources)| Message::Follow { eid, sources }),
        (eids(), nodes()).prop_map(|(eid, copies)| Message::Install {
            reign: Reign { eid, copies }
        }),
    ]
}

fn copying() -> impl Strategy<Value = Message> {
    prop_oneof![
        (eids(), counts(), entries()).prop_map(|(eid, prev, entries)| Message::Copy {
            eid,
            prev,
            entries
        }),
        (eids(), counts()).prop_map(|(eid, seq)| Message::Copied { eid, seq }),
        collection::vec((any::<u8>(), eids()), 0..4).prop_map(|slots| Message::Holding { slots }),
        (chains(), [counts(), counts()]).prop_map(|(chain, [end, below])| Message::Fill {
            chain,
            end,
            below
        }),
        (eids(), [counts(), counts()], entries(), marks()).prop_map(
            |(eid, [low, below], entries, marks)| Message::Filled {
                eid,
                low,
                below,
                entries,
                marks
            }
        ),
    ]
}

fn asking() -> impl Strategy<Value = Message> {
    let read = collection::vec((texts(), positions()), 0..3);
    let known = collection::vec(positions(), 0..3);
    let offset = option::of((texts(), positions()));
    let request = prop_oneof![
        (texts(), texts(), texts()).prop_map(|(room, id, payload)| Request::Emit {
            room,
            id,
            payload
        }),
        (
            texts(),
            records(),
            option::of(positions()),
            option::of(positions())
        )
            .prop_map(|(pid, record, taken, last)| Request::Put {
                pid,
                record,
                taken,
                last
            }),
        (texts(), homes(), offset).prop_map(|(pid, home, offset)| Request::Take {
            pid,
            home,
            offset
        }),
        (texts(), homes()).prop_map(|(pid, home)| Request::Leave { pid, home }),
        (texts(), homes()).prop_map(|(pid, home)| Request::Delete { pid, home }),
        (read, known, option::of(positions())).prop_map(|(rooms, known, upto)| Request::Read {
            rooms,
            known,
            upto
        }),
        (texts(), option::of(positions()), any::<u32>())
            .prop_map(|(room, after, limit)| { Request::History { room, after, limit } }),
    ];
    let answer = prop_oneof![
        (positions(), any::<u8>(), any::<bool>()).prop_map(|(position, copies, kept)| {
            Answer::Done {
                position,
                copies,
                kept,
            }
        }),
        (records(), positions(), any::<bool>()).prop_map(|(record, position, kept)| {
            Answer::Taken {
                record,
                position,
                kept,
            }
        }),
        (entries(), positions()).prop_map(|(entries, upto)| Answer::Entries { entries, upto }),
        Just(Answer::Lost),
        Just(Answer::Invalid),
        Just(Answer::NotOwner),
        Just(Answer::Unavailable),
    ];
    prop_oneof![
        (counts(), request).prop_map(|(rid, request)| Message::Ask { rid, request }),
        (counts(), answer).prop_map(|(rid, answer)| Message::Told { rid, answer }),
        (texts(), homes()).prop_map(|(pid, home)| Message::Evict { pid, home }),
    ]
}

fn feeding() -> impl Strategy<Value = Message> {
    let rooms = collection::btree_map(texts(), any::<bool>(), 0..4);
    let rooms = rooms.prop_map(|rooms: BTreeMap<_, _>| rooms);
    let cut = collection::vec(texts(), 0..3);
    prop_oneof![
        (eids(), counts(), rooms, option::of(positions())).prop_map(
            |(eid, stream, rooms, after)| Message::Feed {
                eid,
                stream,
                rooms,
                after
            }
        ),
        ([counts(), counts()], texts(), any::<bool>()).prop_map(|([stream, nth], room, wanted)| {
            Message::FeedChange {
                stream,
                nth,
                room,
                wanted,
            }
        }),
        counts().prop_map(|stream| Message::FeedEnd { stream }),
        (
            [counts(), counts()],
            cut,
            entries(),
            option::of(texts()),
            positions(),
            any::<bool>()
        )
            .prop_map(|([stream, nth], cut, entries, added, position, more)| {
                Message::Fed {
                    stream,
                    nth,
                    cut,
                    entries,
                    added,
                    position,
                    more,
                }
            }),
        [counts(), counts()].prop_map(|[stream, nth]| Message::FeedMore { stream, nth }),
        collection::vec((any::<u8>(), counts(), counts()), 0..4)
            .prop_map(|streams| Message::Feeding { streams }),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![openings(), copying(), asking(), feeding()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn messages_round_trip(slot in any::<u8>(), message in messages()) {
        prop_assert_eq!(Message::decode(message.encode(slot)), Ok(Some((slot, message))));
    }

    #[test]
    fn no_part_of_a_message_is_one(message in messages(), cut in any::<usize>()) {
        let bytes = message.encode(1);
        let part = bytes.slice(..cut % bytes.len());
        assert!(Message::decode(part).is_err());
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        assert!(Message::decode(longer).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(kind in 0..30_u8, bytes in collection::vec(any::<u8>(), 0..60)) {
        let read = Message::decode([&[0, kind], &bytes[..]].concat().into());
        // One way to write each: what is read is written the same.
        if let Ok(Some((slot, message))) = read {
            prop_assert_eq!(&message.encode(slot)[2..], &bytes[..]);
        }
    }
}

#[test]
fn a_kind_of_a_later_version_is_skipped() {
    assert_eq!(Message::decode(Bytes::from_static(&[7, 200, 1])), Ok(None));
    assert_eq!(Message::decode(Bytes::new()), Err(Malformed { kind: 0 }));
}
