//! Rate-limit windows, written behind so that they survive a restart.

use crate::embedded::codec::{Reader, Writer};
use crate::embedded::expiry::{self, Envelope, Kind};
use crate::embedded::trees::{Change, Trees};
use crate::error::StoreError;

const TREE: &str = "counters";

/// One counter to save: key, value, and when it may be forgotten (unix milliseconds).
pub type Counter = (Vec<u8>, Vec<u8>, u64);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

pub(crate) fn save(trees: &Trees, counters: &[Counter]) -> Result<(), StoreError> {
    for (key, value, expires_ms) in counters {
        let old = trees.row(&trees.counters, key)?;
        let body = encode(value);
        let mut change = Change::new();
        expiry::put(
            &mut change,
            trees,
            Kind::Counter,
            key,
            old.as_deref(),
            (*expires_ms, &body),
        );
        change.apply(trees)?;
    }
    Ok(())
}

pub(crate) fn all(trees: &Trees) -> Result<Vec<Pair>, StoreError> {
    let rows = trees.rows(trees.counters.iter());
    rows.map(|row| {
        let (key, value) = row?;
        let value = decode(Envelope::decode(TREE, &value)?.body)?;
        Ok((key.to_vec(), value.to_vec()))
    })
    .collect()
}

fn encode(value: &[u8]) -> Vec<u8> {
    Writer::new().rest(value)
}

fn decode(body: &[u8]) -> Result<&[u8], StoreError> {
    Ok(Reader::new(TREE, body)?.rest())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_counter_comes_back(value: Vec<u8>) {
            assert_eq!(decode(&encode(&value)).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = decode(&bytes);
        }
    }
}
