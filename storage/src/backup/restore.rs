//! A store from a backup.
//!
//! What is restored is older than what the node had promised since: to sequence numbers that it gave,
//! to epochs that it sealed for, to clients that it told. Nothing can tell how much older. So the
//! history and what the node knew of the cluster's slots are left where they are, in the backup, and
//! the caller gives the node another id: to the other nodes it is a new one, as after the loss of a
//! disk, which is what every rule was checked for. Users, keys, sessions and the rest are taken up, but
//! for what was read of an application's sessions: it is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::{BackupError, Block, Decoder};
use super::format::{About, Contents};
use super::take::{ROSTER, SLOTS};
use crate::embedded::codec::Reader;
use crate::embedded::expiry::{Kind, parse_index_key};
use crate::embedded::meta::{self, FORMAT};
use crate::embedded::trees::Trees;
use crate::error::StoreError;
use crate::files::{Files, State, boot_id, free_bytes, sync_folder_of};
use crate::open::lock::freed;
use crate::store::pulse::Pulse;

/// Trees that stay in the backup: the history, and what can be read again from where it is kept.
const LEFT: [&str; 3] = ["log", "log_state", "shared_sessions"];

/// How much room a restored store may take, as a multiple of its backup, while it is written.
const GROWTH: u64 = 4;

/// Bytes that must stay free beyond that.
const RESERVE: u64 = 64 << 20;

/// What to take up from a backup.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Whether sessions are: some may have ended since.
    pub sessions: bool,
    /// Single values (`Store::meta`) that are left out.
    pub leave: &'a [&'a str],
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup said of itself.
    pub about: About,
    /// What it had.
    pub contents: Contents,
    /// The single values that were left out, by name.
    pub left: BTreeMap<String, Vec<u8>>,
    /// Files that are no part of the store, by name.
    pub others: Vec<(String, Vec<u8>)>,
}

/// Why nothing was restored. What was written is removed again, as far as that goes.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It holds something that this program has no place for.
    #[error("it holds {0}, which this program does not know: use the tidings that made it")]
    Unknown(String),
    /// It was changed while it was read.
    #[error("it was changed while it was read")]
    Changed,
    /// There is something where the store is to be.
    #[error("{0} exists already: a backup is restored only where nothing is")]
    Exists(PathBuf),
    /// There is not enough room.
    #[error("it may need {needed} bytes where {free} are free: make room, nothing was changed")]
    Full {
        /// Bytes that it may need.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The system refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// sled failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the store in `store` from the backup in `path`. All of the backup is read and checked
/// before anything is written; the store is there at the end, whole, or not at all. Blocks.
pub fn restore(path: &Path, store: &Path, choice: Choice<'_>) -> Result<Restored, RestoreError> {
    let checked = check(path)?;
    let files = Files::new(store).map_err(io_error(store))?;
    if files.root.exists() {
        return Err(RestoreError::Exists(files.root));
    }
    let unfinished = Files {
        root: files.restoring(),
    };
    let folder = files.root.parent().unwrap_or(&files.root);
    make_room(&checked, folder)?;
    begin(&unfinished.root)?;
    let restored = write(path, &unfinished, choice).and_then(|restored| {
        // Between the two readings somebody may have put another file there.
        match (&restored.about, &restored.contents) == (&checked.0, &checked.1) {
            true => Ok(restored),
            false => Err(RestoreError::Changed),
        }
    });
    let restored = restored.and_then(|restored| {
        let named = fs::rename(&unfinished.root, &files.root);
        named
            .and_then(|()| sync_folder_of(&files.root))
            .map_err(io_error(&files.root))?;
        Ok(restored)
    });
    if restored.is_err() {
        // The error that counts is the first one; what is left says what it is by its name.
        let _ = fs::remove_dir_all(&unfinished.root);
    }
    restored
}

/// Reads everything, and looks whether there is a place for it.
fn check(path: &Path) -> Result<(About, Contents), RestoreError> {
    let mut decoder = open(path)?;
    let known: BTreeSet<&str> = Trees::NAMES.into_iter().collect();
    let mut format = None;
    while let Some(block) = decoder.next()? {
        match block {
            Block::Rows { tree, rows } => {
                if !known.contains(tree.as_str()) {
                    return Err(RestoreError::Unknown(format!("a table {tree:?}")));
                }
                for (key, value) in rows {
                    if (tree.as_str(), &key[..]) == ("store", meta::FORMAT_KEY) {
                        format = value;
                    }
                }
            }
            Block::File { name, .. } if !is_known(&name) => {
                return Err(RestoreError::Unknown(format!("a file {name:?}")));
            }
            Block::File { .. } => {}
        }
    }
    let row = format.ok_or_else(|| decoder.damaged("no format of the store is in it"))?;
    let format = Reader::new("store", &row).and_then(|mut reader| reader.u64())?;
    if format > u64::from(FORMAT) {
        return Err(RestoreError::Unknown(format!("a store of format {format}")));
    }
    Ok((decoder.about().clone(), decoder.contents().clone()))
}

/// Files of the store, and those whose place the caller knows.
fn is_known(name: &str) -> bool {
    let is_plain = |name: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(good)
    };
    match name.split_once('/') {
        Some(("store", _)) => [SLOTS, ROSTER].contains(&name),
        Some((folder, file)) => is_plain(folder) && is_plain(file),
        None => is_plain(name),
    }
}

fn make_room((_, contents): &(About, Contents), folder: &Path) -> Result<(), RestoreError> {
    let needed = contents
        .bytes
        .saturating_mul(GROWTH)
        .saturating_add(RESERVE);
    let free = free_bytes(folder).map_err(io_error(folder))?;
    if free < needed {
        return Err(RestoreError::Full { needed, free });
    }
    Ok(())
}

/// Not over the remains of another one: it may still be under way.
fn begin(unfinished: &Path) -> Result<(), RestoreError> {
    let made = fs::DirBuilder::new().mode(0o700).create(unfinished);
    made.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RestoreError::Exists(unfinished.to_owned()),
        _ => io_error(unfinished)(source),
    })
}

fn write(path: &Path, files: &Files, choice: Choice<'_>) -> Result<Restored, RestoreError> {
    let mut decoder = open(path)?;
    let config = sled::Config::new().path(files.sled());
    let db = config.open().map_err(StoreError::from)?;
    let trees = Trees::open(db, Arc::new(Pulse::new(0))).map_err(StoreError::from)?;
    let mut left = BTreeMap::new();
    let mut others = Vec::new();
    while let Some(block) = decoder.next()? {
        match block {
            Block::File { name, content } if !name.starts_with("store/") => {
                others.push((name, content));
            }
            Block::File { .. } => {}
            Block::Rows { tree, rows } => {
                let named = trees.named();
                let Some((name, to)) = named.iter().find(|(name, _)| *name == tree) else {
                    return Err(RestoreError::Changed);
                };
                for (key, value) in rows {
                    if *name == "meta" && choice.leave.iter().any(|it| it.as_bytes() == key) {
                        leave(&mut left, &key, value.as_deref())?;
                    } else if is_taken(name, &key, choice) {
                        match value {
                            Some(value) => to.insert(key, value),
                            None => to.remove(key),
                        }
                        .map_err(StoreError::from)?;
                    }
                }
            }
        }
    }
    trees.flush()?;
    drop(trees);
    finish(files).map_err(io_error(&files.root))?;
    Ok(Restored {
        about: decoder.about().clone(),
        contents: decoder.contents().clone(),
        left,
        others,
    })
}

/// Remembers a single value that is left out.
fn leave(
    left: &mut BTreeMap<String, Vec<u8>>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let name = String::from_utf8_lossy(key).into_owned();
    match value {
        Some(value) => left.insert(name, Reader::new("meta", value)?.rest().to_vec()),
        None => left.remove(&name),
    };
    Ok(())
}

fn is_taken(tree: &str, key: &[u8], choice: Choice<'_>) -> bool {
    match tree {
        "sessions" | "sessions_by_user" => choice.sessions,
        "expiry" => match parse_index_key(key) {
            Ok((_, Kind::Session, _)) => choice.sessions,
            Ok((_, Kind::Shared, _)) => false,
            _ => true,
        },
        _ => !LEFT.contains(&tree),
    }
}

/// What is there is all on the disk, and nothing of it is in doubt: it has no history.
fn finish(files: &Files) -> io::Result<()> {
    if !freed(&files.sled_log())? {
        return Err(io::Error::other("sled still holds its log"));
    }
    for entry in fs::read_dir(files.sled())? {
        let path = entry?.path();
        if path.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    sync_folder_of(&files.sled_log())?;
    let state = State {
        boot_id: boot_id(),
        clean: true,
    };
    state.write(files)
}

fn open(path: &Path) -> Result<Decoder<BufReader<File>>, BackupError> {
    Decoder::new(BufReader::new(File::open(path)?))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io {
        path: path.clone(),
        source,
    }
}
