//! PURE: an emit on its way between nodes. The receiver does with it what it would do with one of
//! its own, but that it goes no further.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::event::{EmitRequest, Event, put_list, take_list};

/// The form of what follows.
const VERSION: u8 = 1;
const VOLATILE: u8 = 1;
const CALL: u8 = 2;

/// An emit from a peer.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) request: EmitRequest,
    /// Present if acknowledgements are collected.
    pub(super) call: Option<Call>,
}

/// The acknowledgements of one emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Names it between two nodes.
    pub(super) id: u64,
    /// How long they are waited for.
    pub(super) patience: Duration,
}

/// A peer sent what cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a forwarded emit is damaged or of another version")]
pub(super) struct Damaged;

/// Writes an emit down: version, flags, the call if any (id and milliseconds), then namespace,
/// id, rooms, exceptions and event, each with its length or count (32 bits, big-endian).
pub(super) fn encode(request: &EmitRequest, id: &str, call: Option<Call>) -> Bytes {
    let event = request.event.to_bytes();
    let mut bytes = BytesMut::with_capacity(64 + event.len());
    bytes.put_u8(VERSION);
    let flags = if request.volatile { VOLATILE } else { 0 };
    bytes.put_u8(flags | if call.is_some() { CALL } else { 0 });
    if let Some(call) = call {
        bytes.put_u64(call.id);
        bytes.put_u64(call.patience.as_millis() as u64);
    }
    put(&mut bytes, request.namespace.as_bytes());
    put(&mut bytes, id.as_bytes());
    for list in [&request.rooms, &request.except] {
        put_list(&mut bytes, list.iter().map(String::as_bytes));
    }
    put(&mut bytes, &event);
    bytes.freeze()
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(mut bytes: Bytes) -> Result<Forwarded, Damaged> {
    let rest = &mut bytes;
    if rest.try_get_u8() != Ok(VERSION) {
        return Err(Damaged);
    }
    let flags = rest.try_get_u8().map_err(|_| Damaged)?;
    let call = if flags & CALL == 0 {
        None
    } else {
        Some(Call {
            id: rest.try_get_u64().map_err(|_| Damaged)?,
            patience: Duration::from_millis(rest.try_get_u64().map_err(|_| Damaged)?),
        })
    };
    let request = EmitRequest {
        namespace: text(rest)?,
        id: Some(text(rest)?),
        rooms: texts(rest)?,
        except: texts(rest)?,
        event: Event::from_bytes(&take(rest)?).map_err(|_| Damaged)?,
        volatile: flags & VOLATILE != 0,
        local: true,
    };
    Ok(Forwarded { request, call })
}

fn put(bytes: &mut BytesMut, item: &[u8]) {
    bytes.put_u32(item.len() as u32);
    bytes.put_slice(item);
}

fn take(rest: &mut Bytes) -> Result<Bytes, Damaged> {
    let len = rest.try_get_u32().map_err(|_| Damaged)? as usize;
    if rest.len() < len {
        return Err(Damaged);
    }
    Ok(rest.split_to(len))
}

fn text(rest: &mut Bytes) -> Result<String, Damaged> {
    String::from_utf8(take(rest)?.into()).map_err(|_| Damaged)
}

fn texts(rest: &mut Bytes) -> Result<Vec<String>, Damaged> {
    let items = take_list(rest).map_err(|_| Damaged)?.into_iter();
    let texts = items.map(|item| String::from_utf8(item.into()));
    texts.collect::<Result<_, _>>().map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert_eq, proptest},
    };

    use super::*;

    proptest! {
        #[test]
        fn emits_come_back(
            rooms in vec(".{0,9}", 0..4),
            except in vec(".{0,9}", 0..3),
            attachment in vec(any::<u8>(), 0..20),
            volatile: bool,
            call in proptest::option::of((any::<u64>(), 0..100_000_u64)),
        ) {
            let request = EmitRequest {
                namespace: "/".into(),
                rooms,
                except,
                event: Event { name: "e".into(), args: Vec::new(), attachments: vec![attachment.into()] },
                volatile,
                id: Some("i 1".into()),
                local: true,
            };
            let call = call.map(|(id, ms)| Call { id, patience: Duration::from_millis(ms) });
            let bytes = encode(&request, "i 1", call);
            let back = decode(bytes.clone()).unwrap();
            prop_assert_eq!(back.call, call);
            prop_assert_eq!(format!("{:?}", back.request), format!("{request:?}"));
            for len in 0..bytes.len() {
                prop_assert_eq!(decode(bytes.slice(..len)).err(), Some(Damaged));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..80)) {
            let _ = decode(bytes.into());
        }
    }
}
