//! The store, opened here because no daemon has it open.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tidings_storage::{About, OpenError, Store, StoreConfig};

use super::AdminError;
use super::call::AdminCall;
use super::perform::perform;
use crate::app::accounts::{AccountError, AccountOptions, Accounts};
use crate::backup;
use crate::cli::backup::put;
use crate::config::Config;

/// The number of the user who may do anything.
const ROOT: u32 = 0;

/// The accounts of a node that does not run.
pub(super) struct Direct {
    store: Store,
    accounts: Accounts,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// There is no folder to hold a store.
    #[error(
        "no daemon runs and there is no folder {0}; name the node's with --config or --data-dir"
    )]
    NoFolder(String),
    /// Files that root makes here could not be read by the daemon.
    #[error(
        "{folder} belongs to user {owner}; run this as that user: sudo -u '#{owner}' tidings …"
    )]
    NotOurs {
        /// The data folder.
        folder: String,
        /// Its owner's number.
        owner: u32,
    },
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was asked is not possible, or the store failed.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl DirectError {
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::NoFolder(_) | Self::NotOurs { .. } | Self::Open(_) => true,
            Self::Account(error) => error.status() == 503,
        }
    }
}

impl Direct {
    /// Opens the store. Its folder is made, but not the data folder: a wrong path must not
    /// quietly become an empty node.
    pub(super) async fn open(config: &Config) -> Result<Self, DirectError> {
        check_folder(&config.node.data_dir, rustix::process::geteuid().as_raw())?;
        // Nothing else waits on this runtime while the store opens.
        let (store, _report) = Store::open(StoreConfig::new(config.node.store_dir()))?;
        let options = AccountOptions {
            session_ttl: config.auth.session_ttl,
            // The other nodes are told when the daemon starts.
            is_shared: config.cluster.key.is_some(),
            ..AccountOptions::default()
        };
        let accounts = Accounts::open(store.clone(), options).await?;
        Ok(Self { store, accounts })
    }

    /// Performs one call.
    pub(super) async fn perform(&self, call: &AdminCall) -> Result<Value, DirectError> {
        // No daemon runs, so the sessions that end have no sockets to be closed.
        let (answer, _ended) = perform(&self.accounts, call.clone(), now_ms()).await?;
        Ok(answer)
    }

    /// Writes a backup into a file.
    pub(super) async fn backup(&self, config: &Config, out: &mut File) -> Result<(), AdminError> {
        let others = backup::others(&config.node.data_dir).map_err(AdminError::Write)?;
        let about = About {
            node: config.node.name.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            taken_ms: now_ms(),
            running: false,
        };
        let mut backup = self.store.backup(about, others);
        let failed = |error| DirectError::from(AccountError::from(error));
        while let Some(bytes) = backup.next().await.map_err(failed)? {
            put(out, &bytes)?;
        }
        Ok(())
    }

    /// Makes sure that all is on disk.
    pub(super) async fn close(self) -> Result<(), DirectError> {
        Ok(self.store.close().await.map_err(AccountError::from)?)
    }
}

fn check_folder(folder: &Path, me: u32) -> Result<(), DirectError> {
    let shown = || folder.display().to_string();
    let found = folder.metadata().ok().filter(Metadata::is_dir);
    match found.map(|found| found.uid()) {
        None => Err(DirectError::NoFolder(shown())),
        Some(owner) if me == ROOT && owner != ROOT => Err(DirectError::NotOurs {
            folder: shown(),
            owner,
        }),
        Some(_) => Ok(()),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_makes_no_files_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let owner = folder.path().metadata().unwrap().uid();
        assert!(check_folder(folder.path(), owner).is_ok());
        assert!(matches!(
            check_folder(&folder.path().join("none"), owner),
            Err(DirectError::NoFolder(_))
        ));
        let lent = std::os::unix::fs::chown(folder.path(), Some(12_345), None).is_ok();
        let expected_owner = if lent { 12_345 } else { owner };
        if expected_owner != ROOT {
            let refused = check_folder(folder.path(), ROOT).unwrap_err();
            assert!(
                refused
                    .to_string()
                    .contains(&format!("belongs to user {expected_owner}"))
            );
        }
        assert!(check_folder(folder.path(), 54_321).is_ok());
    }
}
