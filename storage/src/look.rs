//! A look at a store's folder from outside, which changes nothing and waits for no lock.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::files::{Files, State};

/// What is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// There is a store.
    pub there: bool,
    /// Damage was found and is not repaired.
    pub damaged: bool,
    /// The last run closed it.
    pub clean: bool,
    /// How many copies of a damaged store lie beside it.
    pub kept: usize,
    /// What a restore is writing, or has left when it was killed.
    pub restoring: Option<PathBuf>,
}

/// Looks at a store's folder.
pub fn look(path: &Path) -> io::Result<Look> {
    let files = Files::new(path)?;
    let state = State::read(&files);
    let name = files.root.file_name().unwrap_or_default();
    let prefix = format!("{}.kept-", name.to_string_lossy());
    let mut kept = 0;
    if let Some(Ok(beside)) = files.root.parent().map(std::fs::read_dir) {
        for entry in beside {
            kept += usize::from(entry?.file_name().to_string_lossy().starts_with(&prefix));
        }
    }
    let restoring = files.restoring();
    Ok(Look {
        there: files.sled_log().try_exists()?,
        damaged: files.damaged().try_exists()?,
        clean: state.is_some_and(|state| state.clean),
        kept,
        restoring: restoring.try_exists()?.then_some(restoring),
    })
}
