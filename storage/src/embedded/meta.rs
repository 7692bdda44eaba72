//! Single values by name, and the store's own format number.

use crate::embedded::codec::{Reader, Writer};
use crate::embedded::trees::Trees;
use crate::error::StoreError;

const TREE: &str = "meta";

/// The newest format of the trees that this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const FORMAT_KEY: &[u8] = b"format";

pub(crate) fn one(trees: &Trees, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = trees.row(&trees.meta, key.as_bytes())?;
    row.map(|row| Ok(Reader::new(TREE, &row)?.rest().to_vec()))
        .transpose()
}

pub(crate) fn put(trees: &Trees, key: &str, value: &[u8]) -> Result<(), StoreError> {
    trees.insert(&trees.meta, key.as_bytes(), Writer::new().rest(value))
}

/// The format that the trees were written in; `None` if nothing was ever written.
pub(crate) fn format(trees: &Trees) -> Result<Option<u64>, StoreError> {
    let row = trees.row(&trees.store, FORMAT_KEY)?;
    row.map(|row| Reader::new("store", &row)?.u64()).transpose()
}

pub(crate) fn put_format(trees: &Trees, format: u32) -> Result<(), StoreError> {
    let row = Writer::new().u64(u64::from(format)).done();
    trees.insert(&trees.store, FORMAT_KEY, row)
}
