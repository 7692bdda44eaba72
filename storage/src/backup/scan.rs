//! What the storage thread reads for a backup, a little in each call.

use std::ops::Bound::{Excluded, Unbounded};

use super::format::Row;
use super::noted::Place;
use crate::embedded::trees::Trees;
use crate::error::StoreError;
use crate::files::{self, Files};

/// Rows and bytes that one call reads: what calls behind it wait for is a few milliseconds.
const ROWS: usize = 1024;
const BYTES: usize = 256 << 10;

/// Where reading goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    tree: usize,
    after: Option<Vec<u8>>,
}

/// Rows of one tree.
pub(super) struct Piece {
    pub(super) tree: &'static str,
    pub(super) rows: Vec<Row>,
}

/// What ends a backup.
pub(super) struct Last {
    pub(super) pieces: Vec<Piece>,
    /// Without the files if more was written than one call reads: then there is another one.
    pub(super) files: Option<Vec<(&'static str, Vec<u8>)>>,
}

/// Reads the next rows; says where to go on, if that is not the end.
pub(super) fn rows(
    trees: &Trees,
    cursor: Cursor,
) -> Result<(Option<Piece>, Option<Cursor>), StoreError> {
    let Some((name, tree)) = trees.named().into_iter().nth(cursor.tree) else {
        return Ok((None, None));
    };
    let from = cursor.after.as_deref().map_or(Unbounded, Excluded);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in trees.rows(tree.range::<&[u8], _>((from, Unbounded))) {
        let (key, value) = row?;
        bytes += key.len() + value.len();
        rows.push((key.to_vec(), Some(value.to_vec())));
        if rows.len() == ROWS || bytes >= BYTES {
            let after = Some(key.to_vec());
            let piece = Piece { tree: name, rows };
            let tree = cursor.tree;
            return Ok((Some(piece), Some(Cursor { tree, after })));
        }
    }
    let next = Cursor {
        tree: cursor.tree + 1,
        after: None,
    };
    Ok((Some(Piece { tree: name, rows }), Some(next)))
}

/// Reads rows that were written since. If these are all, reads what lies beside the trees as well:
/// this is the moment that the backup is of.
pub(super) fn changes(trees: &Trees, files: &Files) -> Result<Last, StoreError> {
    let noted = trees.noted.take(ROWS);
    let (places, is_last) = noted.ok_or_else(|| StoreError::Failed {
        reason: "a backup was overtaken by what was written meanwhile".to_owned(),
    })?;
    let pieces = again(trees, places)?;
    let files = match is_last {
        true => Some(beside(files)?),
        false => None,
    };
    if is_last {
        trees.noted.end();
    }
    Ok(Last { pieces, files })
}

/// The rows at these places as they are now, tree by tree.
fn again(trees: &Trees, places: Vec<Place>) -> Result<Vec<Piece>, StoreError> {
    let named = trees.named();
    let mut pieces: Vec<Piece> = Vec::new();
    for (tree, key) in places {
        let (name, tree) = named[usize::from(tree)];
        let value = trees.row(tree, &key)?.map(|value| value.to_vec());
        match pieces.last_mut().filter(|piece| piece.tree == name) {
            Some(piece) => piece.rows.push((key, value)),
            None => pieces.push(Piece {
                tree: name,
                rows: vec![(key, value)],
            }),
        }
    }
    Ok(pieces)
}

/// What of a damaged file there is nobody can tell: then it is left out.
fn beside(files: &Files) -> Result<Vec<(&'static str, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    for (name, content) in [
        (super::take::SLOTS, files::read_slots(files)),
        (super::take::ROSTER, files::read_roster(files)),
    ] {
        match content {
            Ok(content) => found.extend(content.map(|content| (name, content))),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
