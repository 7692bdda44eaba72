//! The small files beside sled. sled's flush does not fsync, so what must survive a power cut the
//! moment it is answered is written here: to a new file, fsynced, renamed over the old one, and the
//! folder fsynced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::embedded::codec::damaged;
use crate::error::StoreError;

/// Start the slot table and the roster, so that a file of something else is not taken for one.
const SLOTS_MAGIC: &[u8; 8] = b"tdslots1";
const ROSTER_MAGIC: &[u8; 8] = b"tdroste1";

/// Where things are inside a store's folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
}

impl Files {
    /// Absolute and without a slash at its end, so that there is a parent and a name to add to.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?.components().collect();
        Ok(Files { root })
    }

    pub(crate) fn sled(&self) -> PathBuf {
        self.root.join("sled")
    }

    /// sled's log, the one file it cannot do without.
    pub(crate) fn sled_log(&self) -> PathBuf {
        self.root.join("sled/db")
    }

    pub(crate) fn slots(&self) -> PathBuf {
        self.root.join("slots")
    }

    pub(crate) fn roster(&self) -> PathBuf {
        self.root.join("roster")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Beside it: where a restore writes until the store is whole.
    pub(crate) fn restoring(&self) -> PathBuf {
        let mut name = self.root.as_os_str().to_owned();
        name.push(".restoring");
        PathBuf::from(name)
    }

    /// Present from a start after which rows may be missing until a slot table takes account of it,
    /// however many starts lie between.
    pub(crate) fn unproved(&self) -> PathBuf {
        self.root.join("unproved")
    }
}

/// What is known of the last run, in `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Kernel boot id under which the store was last opened; empty if it could not be read.
    pub(crate) boot_id: String,
    /// Whether it was closed after that.
    pub(crate) clean: bool,
}

impl State {
    /// `None` if there is no such file or it does not read as one: then nothing is claimed.
    pub(crate) fn read(files: &Files) -> Option<State> {
        Self::parse(&fs::read_to_string(files.state()).ok()?)
    }

    fn parse(text: &str) -> Option<State> {
        let (boot_id, ending) = text.strip_prefix("tidings-store 1\n")?.split_once('\n')?;
        Some(State {
            boot_id: boot_id.to_owned(),
            clean: ending == "clean\n",
        })
    }

    pub(crate) fn write(&self, files: &Files) -> io::Result<()> {
        let ending = if self.clean { "clean" } else { "open" };
        replace(
            &files.state(),
            format!("tidings-store 1\n{}\n{ending}\n", self.boot_id).as_bytes(),
        )
    }
}

/// Names this run of the machine; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Writes the slot table. With it the log's owner has taken account of what the open report said.
pub(crate) fn write_slots(files: &Files, table: &[u8]) -> Result<(), StoreError> {
    write_sealed(&files.slots(), SLOTS_MAGIC, table)
        .and_then(|()| remove(&files.unproved()))
        .map_err(|error| failed("write the slot table", &error))
}

/// Writes the roster.
pub(crate) fn write_roster(files: &Files, roster: &[u8]) -> Result<(), StoreError> {
    write_sealed(&files.roster(), ROSTER_MAGIC, roster)
        .map_err(|error| failed("write the roster", &error))
}

/// Writes a file through to the disk, with what shows later that it is whole.
fn write_sealed(path: &Path, magic: &[u8; 8], content: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(magic.len() + 8 + content.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&checksum(content).to_be_bytes());
    bytes.extend_from_slice(content);
    replace(path, &bytes)
}

/// Removes a file for good, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

pub(crate) fn read_slots(files: &Files) -> Result<Option<Vec<u8>>, StoreError> {
    read_sealed(&files.slots(), SLOTS_MAGIC, "slot table")
}

pub(crate) fn read_roster(files: &Files) -> Result<Option<Vec<u8>>, StoreError> {
    read_sealed(&files.roster(), ROSTER_MAGIC, "roster")
}

fn read_sealed(
    path: &Path,
    magic: &[u8; 8],
    what: &'static str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&format!("read the {what}"), &error)),
    };
    parse_sealed(&bytes, magic, what).map(|content| Some(content.to_vec()))
}

fn parse_sealed<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    what: &'static str,
) -> Result<&'a [u8], StoreError> {
    let rest = bytes.strip_prefix(magic);
    let Some((sum, content)) = rest.and_then(<[u8]>::split_first_chunk::<8>) else {
        return Err(damaged(what, format!("it does not begin like a {what}")));
    };
    if u64::from_be_bytes(*sum) != checksum(content) {
        return Err(damaged(what, "its checksum does not match".to_owned()));
    }
    Ok(content)
}

/// The old file stays whole when this fails, but whether the new one took its place is unknown.
fn failed(what: &str, error: &io::Error) -> StoreError {
    StoreError::Failed {
        reason: format!("cannot {what}: {error}"),
    }
}

/// FNV-1a, 64 bits: enough to notice a damaged disk, which is all it is for.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Puts `bytes` in the place of `path` so that after a power cut it holds the old or the new bytes
/// whole, and after the return the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder_of(path)
}

/// Makes a folder, and those above it that are missing, for this user alone: it will hold session
/// ids and password hashes. One that exists keeps the mode that its owner gave it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Makes what was created, renamed or removed in a file's folder survive a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Bytes that this process may still write to the disk that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = parse_sealed(&bytes, SLOTS_MAGIC, "slot table");
            let bytes = [&SLOTS_MAGIC[..], &bytes].concat();
            let _ = parse_sealed(&bytes, SLOTS_MAGIC, "slot table");
            let _ = State::parse(&String::from_utf8_lossy(&bytes));
        }
    }

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            root: dir.path().to_owned(),
        };
        (dir, files)
    }

    #[test]
    fn the_slot_table_comes_back_and_damage_is_noticed() {
        let (_dir, files) = files();
        assert_eq!(read_slots(&files), Ok(None));
        write_slots(&files, b"first").unwrap();
        write_slots(&files, b"second").unwrap();
        assert_eq!(read_slots(&files), Ok(Some(b"second".to_vec())));

        let mut bytes = fs::read(files.slots()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(files.slots(), bytes).unwrap();
        assert!(matches!(
            read_slots(&files),
            Err(StoreError::Damaged {
                tree: "slot table",
                ..
            })
        ));
        fs::write(files.slots(), b"").unwrap();
        assert!(matches!(
            read_slots(&files),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn a_half_written_table_does_not_hide_the_whole_one() {
        let (_dir, files) = files();
        write_slots(&files, b"whole").unwrap();
        fs::write(files.slots().with_extension("new"), b"tdslo").unwrap();
        assert_eq!(read_slots(&files), Ok(Some(b"whole".to_vec())));
    }

    #[test]
    fn the_state_comes_back_and_nonsense_claims_nothing() {
        let (_dir, files) = files();
        assert_eq!(State::read(&files), None);
        let state = State {
            boot_id: "b".into(),
            clean: true,
        };
        state.write(&files).unwrap();
        assert_eq!(State::read(&files), Some(state));
        fs::write(files.state(), "clean\n").unwrap();
        assert_eq!(State::read(&files), None);
    }
}
