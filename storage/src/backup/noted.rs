//! Which rows were written since a backup began. Held by the storage thread, which alone writes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// Rows that may be noted at once. They are taken far faster than rows are written; beyond it
/// something is wrong with whoever takes the backup, and it fails.
const MOST: usize = 1 << 20;

/// A tree, by its place among all, and a key in it.
pub(super) type Place = (u8, Vec<u8>);

/// The rows, while there is a backup.
#[derive(Default)]
pub(crate) struct Noted(RefCell<Option<Notes>>);

struct Notes {
    places: BTreeSet<Place>,
    /// Gone with whoever takes the backup.
    wanted: Weak<()>,
    is_full: bool,
}

impl Noted {
    /// Begins to note, unless somebody else has a backup taken.
    pub(super) fn begin(&self, wanted: &Arc<()>) -> bool {
        let mut notes = self.0.borrow_mut();
        if notes.as_ref().is_some_and(Notes::is_wanted) {
            return false;
        }
        *notes = Some(Notes {
            places: BTreeSet::new(),
            wanted: Arc::downgrade(wanted),
            is_full: false,
        });
        true
    }

    /// Whether rows must be noted now.
    pub(crate) fn is_on(&self) -> bool {
        let mut notes = self.0.borrow_mut();
        if notes.as_ref().is_some_and(|notes| !notes.is_wanted()) {
            *notes = None;
        }
        notes.is_some()
    }

    /// A row is being written.
    pub(crate) fn note(&self, tree: u8, key: &[u8]) {
        if let Some(notes) = self.0.borrow_mut().as_mut() {
            if notes.places.len() < MOST {
                notes.places.insert((tree, key.to_vec()));
            } else {
                notes.is_full = true;
            }
        }
    }

    /// Takes some rows that were written, and says whether these are all. Nothing if not all rows
    /// could be noted.
    pub(super) fn take(&self, most: usize) -> Option<(Vec<Place>, bool)> {
        let mut notes = self.0.borrow_mut();
        let notes = notes.as_mut().filter(|notes| !notes.is_full)?;
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(place) = notes.places.pop_first()
        {
            taken.push(place);
        }
        Some((taken, notes.places.is_empty()))
    }

    /// The backup has all.
    pub(super) fn end(&self) {
        *self.0.borrow_mut() = None;
    }
}

impl Notes {
    fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }
}
