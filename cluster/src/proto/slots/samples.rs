//! Arbitrary values of what is written as bytes.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::{Strategy, any};
use proptest::{collection, option, prop_oneof};

use super::ids::MAX_SEQ;
use super::{Body, Chain, Eid, Entry, Home, Kept, NodeId, Position, Record, Reign};

/// Something that is counted.
pub(super) fn counts() -> impl Strategy<Value = u64> {
    0..=MAX_SEQ
}

pub(super) fn eids() -> impl Strategy<Value = Eid> {
    (counts(), any::<u64>()).prop_map(|(counter, random)| Eid { counter, random })
}

pub(super) fn positions() -> impl Strategy<Value = Position> {
    (eids(), counts()).prop_map(|(eid, seq)| Position { eid, seq })
}

pub(super) fn texts() -> impl Strategy<Value = Bytes> {
    collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

pub(super) fn chains() -> impl Strategy<Value = Chain> {
    let steps = collection::vec((1..5_u64, any::<u64>(), 0..9_u64), 0..5);
    steps.prop_map(|steps| {
        let (mut counter, mut start) = (0, 1);
        let epochs = steps.into_iter().map(|(up, random, length)| {
            (counter, start) = (counter + up, start + length);
            (Eid { counter, random }, start)
        });
        Chain(epochs.collect())
    })
}

pub(super) fn homes() -> impl Strategy<Value = Home> {
    any::<(u64, u64, u64)>().prop_map(|(node, boot, connection)| Home {
        node: NodeId(node),
        boot,
        connection,
    })
}

pub(super) fn records() -> impl Strategy<Value = Record> {
    let rooms = collection::btree_map(texts(), (any::<u8>(), positions()), 0..4);
    let stale = option::of(texts());
    let parts = (
        homes(),
        counts(),
        rooms,
        stale,
        option::of(counts()),
        texts(),
    );
    parts.prop_map(|(home, change, rooms, stale, gone_ms, data)| Record {
        home,
        change,
        rooms,
        stale,
        gone_ms,
        data,
    })
}

pub(super) fn entries() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    let event = (texts(), texts(), option::of(texts()));
    let event = event.prop_map(|(room, id, payload)| Body::Event { room, id, payload });
    let record = (texts(), option::of(records()));
    let record = record.prop_map(|(pid, record)| Body::Record { pid, record });
    let entry = (positions(), counts(), prop_oneof![event, record]);
    let entry = entry.prop_map(|(position, at_ms, body)| {
        Arc::new(Entry {
            position,
            at_ms,
            body,
        })
    });
    collection::vec(entry, 0..4)
}

pub(super) fn marks() -> impl Strategy<Value = Vec<(Bytes, u64)>> {
    collection::vec((texts(), counts()), 0..3)
}

pub(super) fn kepts() -> impl Strategy<Value = Kept> {
    let kept = (records(), counts());
    kept.prop_map(|(record, seq)| Kept { record, seq })
}

pub(super) fn nodes() -> impl Strategy<Value = Vec<NodeId>> {
    collection::vec(any::<u64>().prop_map(NodeId), 0..4)
}

pub(super) fn reigns() -> impl Strategy<Value = Reign> {
    (eids(), nodes()).prop_map(|(eid, copies)| Reign { eid, copies })
}
