//! How each type of field is written and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::proto::slots::{
    Basis, Body, Chain, Eid, Entry, Home, Kept, NodeId, Position, Record, Reign,
};

/// What is still to be read.
pub(in crate::proto::slots) struct Input(pub(in crate::proto::slots) Bytes);

/// Something that can be written and read again.
pub(in crate::proto::slots) trait Field: Sized {
    fn put(&self, out: &mut BytesMut);
    fn take(input: &mut Input) -> Option<Self>;
}

impl Field for u8 {
    fn put(&self, out: &mut BytesMut) {
        out.put_u8(*self);
    }

    fn take(input: &mut Input) -> Option<Self> {
        input.0.try_get_u8().ok()
    }
}

impl Field for u64 {
    fn put(&self, out: &mut BytesMut) {
        out.put_u64(*self);
    }

    fn take(input: &mut Input) -> Option<Self> {
        input.0.try_get_u64().ok()
    }
}

impl Field for bool {
    fn put(&self, out: &mut BytesMut) {
        out.put_u8((*self).into());
    }

    fn take(input: &mut Input) -> Option<Self> {
        match u8::take(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.len() as u32);
        out.put_slice(self);
    }

    fn take(input: &mut Input) -> Option<Self> {
        let length = input.0.try_get_u32().ok()? as usize;
        (length <= input.0.len()).then(|| input.0.split_to(length))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut BytesMut) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Input) -> Option<Self> {
        match bool::take(input)? {
            true => T::take(input).map(Some),
            false => Some(None),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.len() as u32);
        self.iter().for_each(|value| value.put(out));
    }

    /// Each takes at least a byte, so what is allocated stays in proportion to what was sent.
    fn take(input: &mut Input) -> Option<Self> {
        let count = input.0.try_get_u32().ok()? as usize;
        if count > input.0.len() {
            return None;
        }
        (0..count).map(|_| T::take(input)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut BytesMut) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<A: Field, B: Field, C: Field> Field for (A, B, C) {
    fn put(&self, out: &mut BytesMut) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?, C::take(input)?))
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.len() as u32);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    /// Keys rise: there is one way to write a map.
    fn take(input: &mut Input) -> Option<Self> {
        let pairs = Vec::<(K, V)>::take(input)?;
        let rises = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        rises.then(|| pairs.into_iter().collect())
    }
}

impl<T: Field> Field for Arc<T> {
    fn put(&self, out: &mut BytesMut) {
        T::put(self, out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        T::take(input).map(Arc::new)
    }
}

/// Structures whose fields follow one another.
macro_rules! fields {
    ($($of:ident { $($field:ident),* })*) => {
        $(impl Field for $of {
            fn put(&self, out: &mut BytesMut) {
                $(self.$field.put(out);)*
            }

            fn take(input: &mut Input) -> Option<Self> {
                Some(Self { $($field: Field::take(input)?),* })
            }
        })*
    };
}

fields! {
    Eid { counter, random }
    Position { eid, seq }
    Reign { eid, copies }
    Basis { chain, end, low, entries, stubs, marks, records }
    Home { node, boot, connection }
    Record { home, change, rooms, stale, gone_ms, data }
    Kept { record, seq }
    Entry { position, at_ms, body }
}

impl Field for NodeId {
    fn put(&self, out: &mut BytesMut) {
        self.0.put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        u64::take(input).map(Self)
    }
}

impl Field for Chain {
    fn put(&self, out: &mut BytesMut) {
        self.0.put(out);
    }

    /// Epochs and their starts rise, and start at 1: whatever is worked out from a chain relies on
    /// it.
    fn take(input: &mut Input) -> Option<Self> {
        let epochs = Vec::<(Eid, u64)>::take(input)?;
        let rises = |pair: &[(Eid, u64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        let valid = epochs.first().is_none_or(|first| first.1 > 0);
        (valid && epochs.windows(2).all(rises)).then_some(Self(epochs))
    }
}

impl Field for Body {
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Event { room, id, payload } => {
                false.put(out);
                room.put(out);
                id.put(out);
                payload.put(out);
            }
            Self::Record { pid, record } => {
                true.put(out);
                pid.put(out);
                record.put(out);
            }
        }
    }

    fn take(input: &mut Input) -> Option<Self> {
        if bool::take(input)? {
            let (pid, record) = Field::take(input)?;
            return Some(Self::Record { pid, record });
        }
        let (room, id, payload) = Field::take(input)?;
        Some(Self::Event { room, id, payload })
    }
}
