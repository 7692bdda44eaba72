//! `tidings backup` and `tidings restore`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tidings_storage::{
    About, BackupError, Choice, Contents, RestoreError, Restored, check_backup, restore as refill,
};

use super::{
    CliError,
    admin::{self, AdminError},
    args::{Restore, Sessions, Target},
    output::pairs,
};
use crate::{backup, config::Config};

/// What the first bytes of every backup are.
const BEGINNING: &[u8] = b"tidings-backup ";

/// Why there is no backup, or nothing was restored from one.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupProblem {
    /// Neither the daemon nor the store gave one.
    #[error(transparent)]
    Source(#[from] AdminError),
    /// The file could not be written; one that was there is as it was.
    #[error("cannot write {}: {error}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file in whose place the backup would be is something else.
    #[error("{} exists and is no backup: it is not replaced", .0.display())]
    Taken(PathBuf),
    /// What came is not whole.
    #[error("the backup {} cannot be used: {error}", file.display())]
    Bad {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: BackupError,
    },
    /// Nothing was restored.
    #[error("nothing was restored from {}: {error}", file.display())]
    Restore {
        /// The file.
        file: PathBuf,
        /// Why.
        error: RestoreError,
    },
    /// A backup is restored only where nothing is.
    #[error(
        "{} is not empty: it has {entry:?}. Stop the node, move the folder away, and restore into \
         an empty one",
        folder.display()
    )]
    NotEmpty {
        /// The data folder.
        folder: PathBuf,
        /// Something in it.
        entry: String,
    },
    /// Files that root makes could not be read by the daemon.
    #[error(
        "{folder} belongs to user {owner}; run this as that user: sudo -u '#{owner}' tidings …"
    )]
    NotOurs {
        /// The data folder.
        folder: String,
        /// Its owner's number.
        owner: u32,
    },
}

impl BackupProblem {
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_unavailable())
    }
}

/// Takes a backup, and answers what to print.
pub(super) fn take(file: &Path, target: &Target) -> Result<String, CliError> {
    let (about, contents) = write(&admin::Meant::by(target), file)?;
    Ok(admin::shown(
        target,
        &summary(file, &about, &contents),
        |said| format!("wrote {}\n{}", file.display(), words(said)),
    ))
}

/// The file is there at the end, whole and checked, or as it was.
fn write(meant: &admin::Meant, file: &Path) -> Result<(About, Contents), BackupProblem> {
    let failed = |error| BackupProblem::Write {
        file: file.to_owned(),
        error,
    };
    refuse_others(file)?;
    // New, and of a name of its own: another backup may be under way, and nobody shall have laid
    // out a file or a link for what is secret.
    let partial = with_ending(file, &format!(".{}.partial", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut out = options.open(&partial).map_err(failed)?;
    let written = admin::backup(meant, &mut out)
        .map_err(BackupProblem::from)
        .and_then(|()| out.sync_all().map_err(failed))
        .and_then(|()| {
            check_backup(&partial).map_err(|error| BackupProblem::Bad {
                file: file.to_owned(),
                error,
            })
        })
        .and_then(|found| {
            fs::rename(&partial, file).map_err(failed)?;
            sync_folder_of(file).map_err(failed)?;
            Ok(found)
        });
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn refuse_others(file: &Path) -> Result<(), BackupProblem> {
    let mut found = Vec::new();
    let read = match File::open(file) {
        Ok(open) => open.take(BEGINNING.len() as u64).read_to_end(&mut found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    match read {
        Ok(_) if found == BEGINNING => Ok(()),
        Ok(_) => Err(BackupProblem::Taken(file.to_owned())),
        Err(error) => Err(BackupProblem::Write {
            file: file.to_owned(),
            error,
        }),
    }
}

/// Restores a backup, or only looks at it, and answers what to print.
pub(super) fn restore(command: &Restore) -> Result<String, CliError> {
    let (file, target) = (&command.file, &command.target);
    if command.check {
        let (about, contents) = check_backup(file).map_err(|error| BackupProblem::Bad {
            file: file.clone(),
            error,
        })?;
        let said = summary(file, &about, &contents);
        return Ok(admin::shown(target, &said, |said| {
            format!("{} is whole\n{}", file.display(), words(said))
        }));
    }
    let meant = admin::Meant::by(target);
    let config = meant.settings()?;
    // Of the sessions that have ended since, the other nodes know; of a node alone nobody does.
    let in_cluster = config.cluster.key.is_some();
    let sessions = match command.sessions {
        Some(choice) => choice == Sessions::Keep,
        None => !in_cluster,
    };
    let restored = refill_folder(config, file, sessions)?;
    let mut said = summary(file, &restored.about, &restored.contents);
    said["sessionsKept"] = json!(sessions);
    let old = restored.left.get(backup::NODE);
    let old = old.and_then(|id| id.as_slice().try_into().ok());
    said["formerId"] = json!(old.map(|id| format!("{:016x}", u64::from_be_bytes(id))));
    Ok(admin::shown(target, &said, |said| {
        let folder = config.node.data_dir.display();
        format!(
            "restored {} into {folder}\n{}\n{}",
            file.display(),
            words(said),
            advice(said, in_cluster)
        )
    }))
}

fn refill_folder(config: &Config, file: &Path, sessions: bool) -> Result<Restored, BackupProblem> {
    let folder = &config.node.data_dir;
    let failed = |error| BackupProblem::Write {
        file: folder.clone(),
        error,
    };
    let broken = |error| BackupProblem::Restore {
        file: file.to_owned(),
        error,
    };
    prepare(folder)?;
    let choice = Choice {
        sessions,
        leave: &[backup::NODE],
    };
    let restored = refill(file, &config.node.store_dir(), choice).map_err(broken)?;
    // Last: should they be lost, new ones are made.
    backup::put_others(folder, &restored.others).map_err(failed)?;
    Ok(restored)
}

/// The folder is there and empty, and files made in it are the daemon's.
fn prepare(folder: &Path) -> Result<(), BackupProblem> {
    use std::os::unix::fs::MetadataExt;
    let failed = |error| BackupProblem::Write {
        file: folder.to_owned(),
        error,
    };
    let mut make = fs::DirBuilder::new();
    make.recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    if let Some(entry) = fs::read_dir(folder).map_err(failed)?.next() {
        let entry = entry.map_err(failed)?.file_name();
        return Err(BackupProblem::NotEmpty {
            folder: folder.to_owned(),
            entry: entry.to_string_lossy().into_owned(),
        });
    }
    let owner = fs::metadata(folder).map_err(failed)?.uid();
    let me = rustix::process::geteuid();
    if me.is_root() && owner != me.as_raw() {
        return Err(BackupProblem::NotOurs {
            folder: folder.display().to_string(),
            owner,
        });
    }
    Ok(())
}

fn summary(file: &Path, about: &About, contents: &Contents) -> Value {
    let taken = UNIX_EPOCH + Duration::from_millis(about.taken_ms);
    json!({
        "file": file,
        "node": about.node,
        "version": about.program,
        "taken": humantime::format_rfc3339_millis(taken).to_string(),
        "running": about.running,
        "bytes": contents.bytes,
        "rows": contents.rows,
        "files": contents.files,
    })
}

fn words(said: &Value) -> String {
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    let rows = |tree: &str| said["rows"][tree].as_u64().unwrap_or_default().to_string();
    let state = match said["running"] == true {
        true => "running",
        false => "stopped",
    };
    pairs(&[
        ("node", &format!("{} ({state})", text("node"))),
        ("taken", &text("taken")),
        ("version", &text("version")),
        ("bytes", &said["bytes"].to_string()),
        ("users", &rows("users")),
        ("keys", &rows("keys")),
        ("sessions", &rows("sessions")),
    ])
}

/// What follows from a restore that nobody else can do.
fn advice(said: &Value, in_cluster: bool) -> String {
    let mut advice = "The history of recoverable rooms begins anew: clients are told \
                      `recovered: false` once.\nKeys and users that were removed since are there \
                      again: see `tidings key list` and `tidings user list`.\n"
        .to_owned();
    advice += match said["sessionsKept"] == true {
        true => {
            "Sessions that were ended since are alive again: end them, or restore with \
             --sessions drop.\n"
        }
        false => "Sessions were left out.\n",
    };
    if let (true, Some(id)) = (in_cluster, said["formerId"].as_str()) {
        advice += &format!(
            "To the other nodes this is a new node. Once it is ready: tidings cluster forget {id}\n"
        );
    }
    advice
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes what comes, as it comes.
pub(super) fn put(out: &mut File, bytes: &[u8]) -> Result<(), AdminError> {
    out.write_all(bytes).map_err(AdminError::Write)
}
