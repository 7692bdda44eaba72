//! PURE: an event as it stands in the log, with the rooms whose members do not get it.

use bytes::Bytes;

use crate::event::{Event, put_list, take_list};

/// An event of the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// Rooms and socket ids whose sockets do not get it.
    pub(crate) except: Vec<String>,
    pub(crate) event: Event,
}

/// The log holds what cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history holds an event that cannot be read")]
pub(crate) struct Unreadable;

impl Logged {
    /// The exceptions, each behind its length, behind their count (32 bits, big-endian); then the
    /// event, whose first byte is its version.
    pub(crate) fn encode<'a>(
        except: impl ExactSizeIterator<Item = &'a str>,
        event: &Event,
    ) -> Bytes {
        let mut bytes = Vec::new();
        put_list(&mut bytes, except.map(str::as_bytes));
        event.put(&mut bytes);
        bytes.into()
    }

    /// Reads what [`Logged::encode`] wrote; shares its memory.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, Unreadable> {
        let mut rest = bytes.clone();
        let names = take_list(&mut rest).map_err(|_| Unreadable)?.into_iter();
        let except = names.map(|name| String::from_utf8(name.into()));
        let except = except.collect::<Result<_, _>>().map_err(|_| Unreadable)?;
        let event = Event::from_bytes(&rest).map_err(|_| Unreadable)?;
        Ok(Self { except, event })
    }
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
        fn events_come_back(except in vec("\\PC{0,9}", 0..4), name in "\\PC{1,9}") {
            let event = Event { name, args: Vec::new(), attachments: vec![Bytes::from_static(b"x")] };
            let bytes = Logged::encode(except.iter().map(String::as_str), &event);
            let back = Logged::decode(&bytes).unwrap();
            prop_assert_eq!(back.except, except);
            prop_assert_eq!(format!("{:?}", back.event), format!("{event:?}"));
            for len in 0..bytes.len() {
                prop_assert_eq!(Logged::decode(&bytes.slice(..len)).err(), Some(Unreadable));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..80)) {
            let _ = Logged::decode(&bytes.into());
        }
    }
}
