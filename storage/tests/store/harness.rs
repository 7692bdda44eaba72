//! A store in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_storage::{OpenError, OpenReport, Session, Store, StoreConfig};

/// A folder that outlives the stores opened in it, and goes with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The store's own folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig {
            check_deadline: Duration::from_secs(5),
            cache_bytes: 16 << 20,
            min_free_bytes: 0,
            ..StoreConfig::new(self.path())
        }
    }

    pub(crate) fn try_open(&self) -> Result<(Store, OpenReport), OpenError> {
        Store::open(self.config())
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap().0
    }

    /// The copies that were kept beside the store, oldest first.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        self.beside(".kept-")
    }

    pub(crate) fn beside(&self, ending: &str) -> Vec<PathBuf> {
        let prefix = format!("store{ending}");
        let names = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let begins = |path: &PathBuf| name(path).starts_with(&prefix);
        let mut found: Vec<_> = names.filter(begins).collect();
        found.sort();
        found
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

pub(crate) fn session(id: &str, user: &str, expires_ms: u64) -> Session {
    Session {
        id: id.to_owned(),
        user: user.to_owned(),
        created_ms: 1,
        expires_ms,
    }
}
