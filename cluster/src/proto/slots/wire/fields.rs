//! How each type of field is written and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::proto::slots::ids::MAX_SEQ;
use crate::proto::slots::{
    After, Basis, Body, Chain, Eid, Entry, Home, Kept, NodeId, Position, Record, Reign, Rest,
};

/// What is still to be read.
pub(in crate::proto::slots) struct Input(pub(in crate::proto::slots) Bytes);

/// Something that can be written and read again.
pub(in crate::proto::slots) trait Field: Sized {
    /// The bytes that each takes at least.
    const LEAST: usize = 1;

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

impl Field for u32 {
    const LEAST: usize = 4;

    fn put(&self, out: &mut BytesMut) {
        out.put_u32(*self);
    }

    fn take(input: &mut Input) -> Option<Self> {
        input.0.try_get_u32().ok()
    }
}

impl Field for u64 {
    const LEAST: usize = 8;

    fn put(&self, out: &mut BytesMut) {
        out.put_u64(*self);
    }

    /// Something that is counted, so that sums cannot overflow.
    fn take(input: &mut Input) -> Option<Self> {
        let number = input.0.try_get_u64().ok()?;
        (number <= MAX_SEQ).then_some(number)
    }
}

/// A number that is only compared.
struct Name(u64);

impl Field for Name {
    const LEAST: usize = 8;

    fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.0);
    }

    fn take(input: &mut Input) -> Option<Self> {
        input.0.try_get_u64().ok().map(Self)
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
    const LEAST: usize = 4;

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

    /// A count that the rest has no room for is refused before anything is allocated.
    fn take(input: &mut Input) -> Option<Self> {
        let count = input.0.try_get_u32().ok()? as usize;
        if count > input.0.len() / T::LEAST {
            return None;
        }
        (0..count).map(|_| T::take(input)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    const LEAST: usize = A::LEAST + B::LEAST;

    fn put(&self, out: &mut BytesMut) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<A: Field, B: Field, C: Field> Field for (A, B, C) {
    const LEAST: usize = A::LEAST + B::LEAST + C::LEAST;

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
    const LEAST: usize = T::LEAST;

    fn put(&self, out: &mut BytesMut) {
        T::put(self, out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        T::take(input).map(Arc::new)
    }
}

/// Structures whose fields follow one another, and the bytes that they take at least.
macro_rules! fields {
    ($($of:ident $least:literal { $($field:ident),* })*) => {
        $(impl Field for $of {
            const LEAST: usize = $least;

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
    Position 24 { eid, seq }
    Reign 20 { eid, copies }
    Basis 32 { chain, end, low, entries, marks, records }
    Rest 13 { low, after }
    Record 42 { home, change, rooms, stale, gone_ms, data }
    Kept 50 { record, seq }
    Entry 38 { position, at_ms, body }
}

impl Field for NodeId {
    const LEAST: usize = 8;

    fn put(&self, out: &mut BytesMut) {
        Name(self.0).put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        Name::take(input).map(|name| Self(name.0))
    }
}

impl Field for Eid {
    const LEAST: usize = 16;

    fn put(&self, out: &mut BytesMut) {
        self.counter.put(out);
        Name(self.random).put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        let (counter, Name(random)) = Field::take(input)?;
        Some(Self { counter, random })
    }
}

impl Field for Home {
    fn put(&self, out: &mut BytesMut) {
        self.node.put(out);
        Name(self.boot).put(out);
        Name(self.connection).put(out);
    }

    fn take(input: &mut Input) -> Option<Self> {
        let (node, Name(boot), Name(connection)) = Field::take(input)?;
        Some(Self {
            node,
            boot,
            connection,
        })
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

impl Field for After {
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Entry(seq) => {
                out.put_u8(0);
                seq.put(out);
            }
            Self::Mark(room) => {
                out.put_u8(1);
                room.put(out);
            }
            Self::Record(pid) => {
                out.put_u8(2);
                pid.put(out);
            }
        }
    }

    fn take(input: &mut Input) -> Option<Self> {
        match u8::take(input)? {
            0 => Field::take(input).map(Self::Entry),
            1 => Field::take(input).map(Self::Mark),
            2 => Field::take(input).map(Self::Record),
            _ => None,
        }
    }
}
