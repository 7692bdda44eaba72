//! Windows by key, in stripes that are locked one at a time, never more than [`MAX_KEYS`] of them.

use super::exchange::{Told, heard};
use crate::app::window::{Elsewhere, SlidingWindow, elsewhere};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_storage::Counter;

/// How many keys one table holds, some 30 MB. When full, a key makes room that has been quiet for
/// longer than others: who makes keys up forgets others' counts, but gains no memory.
pub(super) const MAX_KEYS: usize = 1 << 18;
const STRIPES: usize = 16;
const KEYS_PER_STRIPE: usize = MAX_KEYS / STRIPES;
/// How many keys a full stripe looks at to choose the one that makes room.
const SAMPLE: usize = 8;

/// A key as it is kept, looked up by its borrowed form, and stored.
pub(super) trait Key: Borrow<Self::Borrowed> + Clone + Debug + Eq + Hash {
    /// What a look-up needs, so that the hot path does not allocate.
    type Borrowed: ?Sized + Eq + Hash;
    fn own(borrowed: &Self::Borrowed) -> Self;
    fn as_bytes(&self) -> &[u8];
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// The windows of one kind of key.
#[derive(Debug)]
pub(super) struct Table<K> {
    /// The first byte of every stored key, which tells the tables apart.
    kind: u8,
    /// Keyed at random, so that nobody can aim at one stripe or one bucket.
    hasher: RandomState,
    stripes: [Mutex<Stripe<K>>; STRIPES],
    /// Which stripe is searched for idle keys next.
    next_sweep: AtomicUsize,
}

#[derive(Debug)]
struct Stripe<K> {
    windows: HashMap<K, Entry>,
    /// The keys whose entry says `changed`.
    changed: Vec<K>,
    /// The keys whose entry says `untold`; none where there are no other nodes to be told.
    untold: Option<Vec<K>>,
}

#[derive(Debug, Default)]
struct Entry {
    window: SlidingWindow,
    /// What other nodes have counted, in the order in which it ends.
    others: Box<[Elsewhere]>,
    /// Whether the window differs from what was last handed out to be stored.
    changed: bool,
    /// Whether it differs from what was last handed out for the other nodes.
    untold: bool,
    /// Whether the other nodes may have been told of hits that are in the window.
    told: bool,
}

impl<K: Key> Table<K> {
    pub(super) fn new(kind: u8) -> Self {
        Self {
            kind,
            hasher: RandomState::new(),
            stripes: std::array::from_fn(|_| Mutex::new(Stripe::default())),
            next_sweep: AtomicUsize::new(0),
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    /// Runs `act` on the key's window and what others have counted; it says whether it changed the
    /// window.
    pub(super) fn update<T>(
        &self,
        key: &K::Borrowed,
        act: impl FnOnce(&mut SlidingWindow, &[Elsewhere]) -> (T, bool),
    ) -> T {
        let mut guard = self.stripe(key);
        let stripe = &mut *guard;
        if let Some(entry) = stripe.windows.get_mut(key) {
            let (answer, changed) = act(&mut entry.window, &entry.others);
            if changed && !entry.changed {
                entry.changed = true;
                stripe.changed.push(K::own(key));
            }
            if let Some(untold) = stripe.untold.as_mut().filter(|_| changed && !entry.untold) {
                entry.untold = true;
                untold.push(K::own(key));
            }
            return answer;
        }
        let mut window = SlidingWindow::default();
        let (answer, changed) = act(&mut window, &[]);
        if window.last_hit_ms().is_some() {
            stripe.insert(K::own(key), window, changed);
        }
        answer
    }

    /// Puts a window in place that needs no storing.
    pub(super) fn insert(&self, key: K, window: SlidingWindow) {
        self.stripe(key.borrow()).insert(key, window, false);
    }

    /// Has a key handed out again, if it is still there.
    pub(super) fn mark(&self, key: K) -> bool {
        let mut guard = self.stripe(key.borrow());
        let stripe = &mut *guard;
        let Some(entry) = stripe.windows.get_mut(key.borrow()) else {
            return false;
        };
        if !entry.changed {
            entry.changed = true;
            stripe.changed.push(key);
        }
        true
    }

    /// Adds each changed window to `rows`, then forgets the idle keys of one stripe.
    pub(super) fn take_changes(&self, now_ms: u64, rows: &mut Vec<Counter>) {
        for stripe in &self.stripes {
            lock(stripe).take_changes(self.kind, rows);
        }
        let turn = self.next_sweep.fetch_add(1, Ordering::Relaxed);
        lock(&self.stripes[turn % STRIPES]).sweep(now_ms);
    }

    /// There are other nodes from here on, to be told of every window, kept ones included.
    pub(super) fn share(&self) {
        for stripe in &self.stripes {
            let mut guard = lock(stripe);
            let Stripe {
                windows, untold, ..
            } = &mut *guard;
            windows.values_mut().for_each(|entry| entry.untold = true);
            *untold = Some(windows.keys().cloned().collect());
        }
    }

    /// Adds what the other nodes do not know yet of each window.
    pub(super) fn take_untold(&self, now_ms: u64, told: &mut Vec<Told>) {
        for stripe in &self.stripes {
            lock(stripe).take_untold(self.kind, now_ms, told);
        }
    }

    /// Takes up what the other nodes have counted, if the key is still there.
    pub(super) fn hear(&self, key: &K::Borrowed, parts: &[(u32, u32)], now_ms: u64) {
        if let Some(entry) = self.stripe(key).windows.get_mut(key) {
            entry.others = heard(parts, now_ms);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| lock(stripe).windows.len())
            .sum()
    }

    fn stripe(&self, key: &K::Borrowed) -> MutexGuard<'_, Stripe<K>> {
        // The map inside uses the low bits and the top seven.
        let hash = self.hasher.hash_one(key) >> 32;
        lock(&self.stripes[hash as usize % STRIPES])
    }
}

impl<K: Key> Stripe<K> {
    fn insert(&mut self, key: K, window: SlidingWindow, changed: bool) {
        if self.windows.len() >= KEYS_PER_STRIPE {
            self.make_room();
        }
        if changed {
            self.changed.push(key.clone());
        }
        let untold = self.untold.is_some();
        if let Some(untold) = &mut self.untold {
            untold.push(key.clone());
        }
        let entry = Entry {
            window,
            changed,
            untold,
            ..Entry::default()
        };
        self.windows.insert(key, entry);
    }

    /// Removes the quietest of a few keys.
    fn make_room(&mut self) {
        let sample = self.windows.iter().take(SAMPLE);
        let quietest = sample.min_by_key(|(_, entry)| entry.window.last_hit_ms());
        if let Some(key) = quietest.map(|(key, _)| key.clone()) {
            self.windows.remove(key.borrow());
        }
    }

    fn take_changes(&mut self, kind: u8, rows: &mut Vec<Counter>) {
        for key in std::mem::take(&mut self.changed) {
            let Some(entry) = self.windows.get_mut(key.borrow()) else {
                continue;
            };
            // A key that was evicted and came back is listed twice.
            if !std::mem::take(&mut entry.changed) {
                continue;
            }
            let name = [&[kind], key.as_bytes()].concat();
            rows.push((name, entry.window.to_bytes(), entry.window.expires_ms()));
        }
    }

    fn take_untold(&mut self, kind: u8, now_ms: u64, told: &mut Vec<Told>) {
        for key in self.untold.as_mut().map(std::mem::take).unwrap_or_default() {
            let Some(entry) = self.windows.get_mut(key.borrow()) else {
                continue;
            };
            if !std::mem::take(&mut entry.untold) {
                continue;
            }
            let parts: Vec<(u32, u32)> = entry.window.parts(now_ms).collect();
            let was_told = std::mem::replace(&mut entry.told, !parts.is_empty());
            // What came and was taken back before anybody heard of it is not worth a word.
            if was_told || entry.told {
                told.push(([&[kind], key.as_bytes()].concat(), parts));
            }
        }
    }

    fn sweep(&mut self, now_ms: u64) {
        // A changed window is stored once more first: a refund may have emptied it.
        self.windows.retain(|_, entry| {
            entry.changed || !entry.window.is_idle(now_ms) || elsewhere(&entry.others, now_ms) > 0
        });
        let spare = self.windows.capacity() / 4 > self.windows.len();
        if spare {
            self.windows.shrink_to_fit();
        }
    }
}

impl<K> Default for Stripe<K> {
    fn default() -> Self {
        Self {
            windows: HashMap::new(),
            changed: Vec::new(),
            untold: None,
        }
    }
}

/// A panic while a stripe was locked leaves counts that are at most one hit off: worth going on
/// with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
