//! The keys that this node owns: who counts how much, and who must be told.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::parts::{self, Part, Until};
use super::table::Table;
use crate::proto::room::hash;

#[derive(Debug)]
pub(super) struct Owned {
    keys: Table<Key>,
    /// Keys of which somebody must be told.
    changed: VecDeque<Bytes>,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    by: Vec<By>,
    is_queued: bool,
}

/// What one node counts. By its name and not its start: what it counts after a restart takes the
/// place of what it counted before.
#[derive(Debug)]
struct By {
    name: Arc<str>,
    parts: Vec<Until>,
    /// Whether it must be told what the others count.
    must_tell: bool,
    /// Whether an answer to it waits for its link already, and will say the latest.
    is_waiting: bool,
}

impl Owned {
    pub(super) fn new(most: usize) -> Self {
        Self {
            keys: Table::new(most),
            changed: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A node counts this. The others must be told; it itself, if this is the first of it or if it
    /// asks.
    pub(super) fn report(&mut self, from: &Arc<str>, key: Bytes, parts: Vec<Until>, anew: bool) {
        let ends_ms = parts::ends_ms(&parts).unwrap_or_default();
        let ends_ms = ends_ms.max(self.keys.ends_ms(&key).unwrap_or_default());
        if ends_ms == 0 {
            // It is withdrawn, and nobody knew of it.
            return;
        }
        let hash = hash(&key);
        let row = self.keys.entry(key.clone(), ends_ms, || Key {
            hash,
            by: Vec::new(),
            is_queued: false,
        });
        let known = row.by.iter().position(|by| by.name == *from);
        for by in row.by.iter_mut().filter(|by| by.name != *from) {
            by.must_tell = true;
        }
        match known {
            Some(at) if parts.is_empty() => {
                row.by.swap_remove(at);
            }
            Some(at) => {
                row.by[at].parts = parts;
                row.by[at].must_tell |= anew;
            }
            None if parts.is_empty() => {}
            None => row.by.push(By {
                name: from.clone(),
                parts,
                must_tell: true,
                is_waiting: false,
            }),
        }
        if row.by.is_empty() {
            self.keys.remove(&key);
        } else if !row.is_queued {
            row.is_queued = true;
            self.changed.push_back(key);
        }
    }

    /// One node, or every node, must be told of all that it counts. If it is one, what waited for
    /// its link is gone.
    pub(super) fn tell_all(&mut self, name: Option<&Arc<str>>) {
        for (key, row) in self.keys.iter_mut() {
            let mut is_meant = false;
            for by in &mut row.by {
                if name.is_none_or(|name| *name == by.name) {
                    by.must_tell = true;
                    by.is_waiting &= name.is_none();
                    is_meant = true;
                }
            }
            if is_meant && !row.is_queued {
                row.is_queued = true;
                self.changed.push_back(key.clone());
            }
        }
    }

    /// Takes who must be told of which key, if it can be now; of keys that are another's by now,
    /// nobody is.
    pub(super) fn take_untold(
        &mut self,
        is_own: impl Fn(u64) -> bool,
        can_tell: impl Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Bytes)> {
        let mut untold = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let Some(row) = self.keys.get_mut(&key) else {
                continue;
            };
            row.is_queued = false;
            if !is_own(row.hash) {
                continue;
            }
            for by in row.by.iter_mut().filter(|by| by.must_tell) {
                by.must_tell = false;
                if !by.is_waiting && can_tell(&by.name) {
                    by.is_waiting = true;
                    untold.push((by.name.clone(), key.clone()));
                }
            }
        }
        untold
    }

    /// Tells one what all the others count; none if it is not known any more that this one counts the key.
    pub(super) fn tell(&mut self, key: &Bytes, name: &str, now_ms: u64) -> Option<Vec<Part>> {
        let row = self.keys.get_mut(key)?;
        row.by.iter_mut().find(|by| *by.name == *name)?.is_waiting = false;
        let others = row.by.iter().filter(|by| *by.name != *name);
        let all = others.flat_map(|by| by.parts.iter().copied());
        let counting = all.filter(|(until_ms, _)| *until_ms > now_ms).collect();
        Some(parts::left(&parts::few(counting), now_ms))
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.keys.expire(now_ms);
    }
}
