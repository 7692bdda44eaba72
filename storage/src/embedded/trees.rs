//! The open trees, as the storage thread holds them.

use std::convert::Infallible;
use std::sync::Arc;

use sled::transaction::{TransactionError, TransactionResult, Transactional};
use sled::{Db, IVec, Tree};

use crate::backup::noted::Noted;
use crate::embedded::expiry::Kind;
use crate::error::StoreError;
use crate::store::pulse::Pulse;

/// Every tree by name. Only storage threads hold one.
pub(crate) struct Trees {
    pub(crate) sessions: Tree,
    pub(crate) sessions_by_user: Tree,
    pub(crate) revocations: Tree,
    pub(crate) shared_sessions: Tree,
    pub(crate) users: Tree,
    pub(crate) keys: Tree,
    pub(crate) admins: Tree,
    pub(crate) counters: Tree,
    pub(crate) log: Tree,
    pub(crate) log_state: Tree,
    pub(crate) meta: Tree,
    pub(crate) expiry: Tree,
    /// The store's own facts.
    pub(crate) store: Tree,
    /// Beaten while long reads go on, so that they are not taken for a stuck thread.
    pub(crate) pulse: Arc<Pulse>,
    /// What was written since a backup began.
    pub(crate) noted: Noted,
    /// Last, so that it is dropped after the trees: the drop flushes and frees sled's lock.
    db: Db,
}

impl Trees {
    /// The trees' names, in the order of [`Trees::named`].
    pub(crate) const NAMES: [&'static str; 13] = [
        "sessions",
        "sessions_by_user",
        "revocations",
        "shared_sessions",
        "users",
        "keys",
        "counters",
        "log",
        "log_state",
        "meta",
        "expiry",
        "store",
        "admins",
    ];

    pub(crate) fn open(db: Db, pulse: Arc<Pulse>) -> Result<Self, sled::Error> {
        Ok(Self {
            sessions: db.open_tree("sessions")?,
            sessions_by_user: db.open_tree("sessions_by_user")?,
            revocations: db.open_tree("revocations")?,
            shared_sessions: db.open_tree("shared_sessions")?,
            users: db.open_tree("users")?,
            keys: db.open_tree("keys")?,
            admins: db.open_tree("admins")?,
            counters: db.open_tree("counters")?,
            log: db.open_tree("log")?,
            log_state: db.open_tree("log_state")?,
            meta: db.open_tree("meta")?,
            expiry: db.open_tree("expiry")?,
            store: db.open_tree("store")?,
            pulse,
            noted: Noted::default(),
            db,
        })
    }

    pub(crate) fn all(&self) -> [&Tree; 13] {
        [
            &self.sessions,
            &self.sessions_by_user,
            &self.revocations,
            &self.shared_sessions,
            &self.users,
            &self.keys,
            &self.counters,
            &self.log,
            &self.log_state,
            &self.meta,
            &self.expiry,
            &self.store,
            &self.admins,
        ]
    }

    /// Every tree with its name.
    pub(crate) fn named(&self) -> [(&'static str, &Tree); 13] {
        let all = self.all();
        std::array::from_fn(|at| (Self::NAMES[at], all[at]))
    }

    /// Where rows of a kind that expires live.
    pub(crate) fn of(&self, kind: Kind) -> &Tree {
        match kind {
            Kind::Session => &self.sessions,
            Kind::Counter => &self.counters,
            Kind::Revocation => &self.revocations,
            Kind::Shared => &self.shared_sessions,
        }
    }

    /// Makes everything applied so far survive the death of the process. Never `flush_async`, which
    /// deadlocks in this version of sled.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(())
    }

    /// A row, with the pulse beaten: this may wait for the disk.
    pub(crate) fn row(&self, tree: &Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.pulse.beat();
        Ok(tree.get(key)?)
    }

    /// Writes one row.
    pub(crate) fn insert(
        &self,
        tree: &Tree,
        key: &[u8],
        value: impl Into<IVec>,
    ) -> Result<(), StoreError> {
        self.note(tree, key);
        tree.insert(key, value)?;
        Ok(())
    }

    /// Removes one row; says whether there was one.
    pub(crate) fn remove(&self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<bool, StoreError> {
        self.note(tree, key.as_ref());
        Ok(tree.remove(key)?.is_some())
    }

    /// Every write goes through here, so that a backup that is being taken does not miss it.
    fn note(&self, tree: &Tree, key: &[u8]) {
        if !self.noted.is_on() {
            return;
        }
        let all = self.all();
        let at = all.iter().position(|known| std::ptr::eq(*known, tree));
        let at = at.expect("rows are written to the trees that there are");
        self.noted.note(at as u8, key);
    }

    /// Beats the pulse for every row that an iterator yields, and turns sled's error into ours.
    pub(crate) fn rows<'a>(
        &'a self,
        rows: sled::Iter,
    ) -> impl Iterator<Item = Result<(IVec, IVec), StoreError>> + 'a {
        rows.map(|row| {
            self.pulse.beat();
            row.map_err(StoreError::from)
        })
    }
}

/// Writes that are kept all together or not at all, whatever happens in between.
pub(crate) struct Change<'a> {
    /// The trees touched so far; `writes` points into it.
    trees: Vec<&'a Tree>,
    writes: Vec<(usize, IVec, Option<IVec>)>,
}

impl<'a> Change<'a> {
    pub(crate) fn new() -> Self {
        Self {
            trees: Vec::new(),
            writes: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, tree: &'a Tree, key: impl Into<IVec>, value: impl Into<IVec>) {
        let at = self.index(tree);
        self.writes.push((at, key.into(), Some(value.into())));
    }

    pub(crate) fn remove(&mut self, tree: &'a Tree, key: impl Into<IVec>) {
        let at = self.index(tree);
        self.writes.push((at, key.into(), None));
    }

    fn index(&mut self, tree: &'a Tree) -> usize {
        match self
            .trees
            .iter()
            .position(|known| std::ptr::eq(*known, tree))
        {
            Some(at) => at,
            None => {
                self.trees.push(tree);
                self.trees.len() - 1
            }
        }
    }

    /// A later write to the same key wins. A single write needs no transaction, which is several
    /// times slower.
    pub(crate) fn apply(self, on: &Trees) -> Result<(), StoreError> {
        for (at, key, _) in &self.writes {
            on.note(self.trees[*at], key);
        }
        if self.writes.len() < 2 {
            for (at, key, value) in self.writes {
                match value {
                    Some(value) => self.trees[at].insert(key, value)?,
                    None => self.trees[at].remove(key)?,
                };
            }
            return Ok(());
        }
        let outcome: TransactionResult<(), Infallible> = self.trees[..].transaction(|trees| {
            for (at, key, value) in &self.writes {
                match value {
                    Some(value) => trees[*at].insert(key, value)?,
                    None => trees[*at].remove(key)?,
                };
            }
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(()),
            Err(TransactionError::Abort(never)) => match never {},
            Err(TransactionError::Storage(error)) => Err(error.into()),
        }
    }
}
