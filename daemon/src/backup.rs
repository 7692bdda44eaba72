//! What of a data folder belongs into a backup beside its store.
//!
//! Certificates that a CA issued, and the account with it, are worth keeping: a CA gives only so many
//! in a week. Everything else in the folder is made anew at each start.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// The folder in the data folder that is kept.
pub const ACME: &str = "acme";

/// The value in the store that a restored node must not have: its id in the history of recoverable
/// rooms. Without one a node takes a new one.
pub use crate::recovery::keep::NODE;

/// Files of the data folder, by their names in a backup.
pub fn others(data_dir: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut others = Vec::new();
    let entries = match fs::read_dir(data_dir.join(ACME)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(others),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is half written ends so; it is replaced in a moment.
        if entry.file_type()?.is_file() && !name.ends_with(".new") {
            others.push((format!("{ACME}/{name}"), fs::read(entry.path())?));
        }
    }
    others.sort();
    Ok(others)
}

/// Writes such files where they were. Names that are not ours are passed over.
pub fn put_others(data_dir: &Path, others: &[(String, Vec<u8>)]) -> io::Result<()> {
    for (name, content) in others {
        let Some((ACME, file)) = name.split_once('/') else {
            continue;
        };
        let folder = data_dir.join(ACME);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut to = options.open(folder.join(file))?;
        to.write_all(content)?;
        to.sync_all()?;
    }
    Ok(())
}
