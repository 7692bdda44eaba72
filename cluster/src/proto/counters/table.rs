//! Values by key, each with an end; bounded, and those that end first go first.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

#[derive(Debug)]
pub(super) struct Table<V> {
    most: usize,
    rows: HashMap<Bytes, (u64, V)>,
    /// The same keys by their ends.
    ends: BTreeSet<(u64, Bytes)>,
}

impl<V> Table<V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            rows: HashMap::new(),
            ends: BTreeSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<&V> {
        Some(&self.rows.get(key)?.1)
    }

    pub(super) fn get_mut(&mut self, key: &Bytes) -> Option<&mut V> {
        Some(&mut self.rows.get_mut(key)?.1)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Bytes, &mut V)> {
        self.rows.iter_mut().map(|(key, row)| (key, &mut row.1))
    }

    /// When a key's value ends.
    pub(super) fn ends_ms(&self, key: &Bytes) -> Option<u64> {
        Some(self.rows.get(key)?.0)
    }

    /// The value of a key, which is made if there is none, and ends then.
    pub(super) fn entry(&mut self, key: Bytes, ends_ms: u64, make: impl FnOnce() -> V) -> &mut V {
        if !self.rows.contains_key(&key) && self.rows.len() >= self.most {
            self.drop_first();
        }
        let row = self.rows.entry(key.clone()).or_insert_with(|| (0, make()));
        if row.0 != ends_ms {
            self.ends.remove(&(row.0, key.clone()));
            self.ends.insert((ends_ms, key));
            row.0 = ends_ms;
        }
        &mut row.1
    }

    pub(super) fn remove(&mut self, key: &Bytes) {
        if let Some((ends_ms, _)) = self.rows.remove(key) {
            self.ends.remove(&(ends_ms, key.clone()));
        }
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while self.ends.first().is_some_and(|first| first.0 <= now_ms) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, key)) = self.ends.pop_first() {
            self.rows.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    #[test]
    fn what_ends_first_goes_first() {
        let mut table = Table::new(2);
        table.entry(key("a"), 30, || 1);
        table.entry(key("b"), 20, || 2);
        table.entry(key("b"), 40, || 9);
        table.entry(key("c"), 50, || 3);
        assert_eq!(table.get(&key("a")), None);
        assert_eq!(table.get(&key("b")), Some(&2));
        table.expire(40);
        assert_eq!((table.rows.len(), table.ends.len()), (1, 1));
        table.remove(&key("c"));
        assert_eq!((table.rows.len(), table.ends.len()), (0, 0));
    }
}
