//! The data folder, the disk under it, and the store in it.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{Access, access, statfs, statvfs};
use tidings_storage::{Look, look};

use super::{Finding, Patient, Seen, said, unseen};

const FOLDER: &str = "data folder";
const DISK: &str = "disk";
const STORE: &str = "store";

/// Below it the store refuses to write; see `StoreConfig`.
const LEAST: u64 = 64 << 20;

/// Below it somebody should look.
const LITTLE: u64 = 1 << 30;

pub(super) fn examine(patient: &Patient) -> Vec<Finding> {
    let path = &patient.config.node.data_dir;
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("{} is not there; the first start makes it", path.display());
            let above = path.ancestors().skip(1).find(|above| above.exists());
            let mut findings = vec![Finding::ok(FOLDER, what)];
            findings.extend(above.and_then(disk));
            return findings;
        }
        Err(error) => return vec![unusable(path, &said(&error))],
    };
    let mut findings = vec![judge_folder(path, &about)];
    findings.extend(disk(path));
    let seen = look(&patient.config.node.store_dir());
    findings.push(store(patient, seen.as_ref()));
    findings.extend(seen.iter().flat_map(leftovers));
    findings
}

fn unusable(path: &Path, why: &str) -> Finding {
    Finding::problem(FOLDER, format!("{}: {why}", path.display()))
        .advise("node.data_dir must be a folder of the node's user")
}

fn judge_folder(path: &Path, about: &Metadata) -> Finding {
    if !about.is_dir() {
        return unusable(path, "it is no folder");
    }
    if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let why = format!(
            "this user may not write there; it is of user {}",
            about.uid()
        );
        return unusable(path, &why);
    }
    let mode = about.mode() & 0o777;
    let shown = path.display();
    if mode & 0o022 != 0 {
        return Finding::warning(
            FOLDER,
            format!("others may write to {shown} (mode {mode:o})"),
        )
        .advise(format!("chmod go-w {shown}"));
    }
    let store = fs::metadata(path.join("store"));
    let open = store.map_or(0, |store| store.mode() & 0o077);
    if open != 0 && mode & 0o077 != 0 {
        let store = path.join("store");
        let what = format!(
            "others may look into {}, which holds secrets",
            store.display()
        );
        return Finding::warning(FOLDER, what).advise(format!("chmod 700 {}", store.display()));
    }
    if about.uid() != rustix::process::geteuid().as_raw() && !rustix::process::geteuid().is_root() {
        let what = format!("{shown} is of user {}, not of this one", about.uid());
        return Finding::warning(FOLDER, what).advise("run the node, and this, as its owner");
    }
    Finding::ok(FOLDER, format!("{shown}, mode {mode:o}"))
}

fn disk(path: &Path) -> Option<Finding> {
    let space = statvfs(path).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let kind = statfs(path).map_or(0, |about| about.f_type as u64 & 0xffff_ffff);
    Some(judge_disk(free, kind))
}

/// Kinds of file systems on which a store is in danger, by the numbers of `statfs(2)`, and why.
const KINDS: [(u64, &str, &str); 7] = [
    (
        0x6969,
        "NFS",
        "its locks and its writes are not to be relied on",
    ),
    (
        0xff53_4d42,
        "CIFS",
        "its locks and its writes are not to be relied on",
    ),
    (
        0xfe53_4d42,
        "SMB",
        "its locks and its writes are not to be relied on",
    ),
    (
        0x6573_5546,
        "FUSE",
        "its writes may not be on a disk when it says so",
    ),
    (
        0x0102_1994,
        "tmpfs",
        "it is gone with the machine's next start",
    ),
    (
        0x8584_58f6,
        "ramfs",
        "it is gone with the machine's next start",
    ),
    (0x794c_7630, "overlay", "it is gone with the container"),
];

fn judge_disk(free: u64, kind: u64) -> Finding {
    let shown = format!("{} MiB free", free >> 20);
    if free < LEAST {
        return Finding::problem(DISK, format!("{shown}: nothing can be stored"))
            .advise("make room; docs/operations.md, A full disk");
    }
    if let Some((_, name, why)) = KINDS.iter().find(|(number, ..)| *number == kind) {
        return Finding::warning(DISK, format!("node.data_dir is on {name}: {why}"))
            .advise("use a folder on a local disk, or a volume of one");
    }
    if free < LITTLE {
        return Finding::warning(DISK, shown).advise("make room before it is full");
    }
    Finding::ok(DISK, shown)
}

/// What the running node says; else what can be seen without opening it.
fn store(patient: &Patient, seen: Result<&Look, &io::Error>) -> Finding {
    if matches!(patient.node, Seen::Unknown) {
        return unseen(STORE);
    }
    if let Some(said) = patient.node.says() {
        let storage = &said["storage"];
        let message = storage["message"].as_str().unwrap_or_default();
        return match storage["status"].as_str() {
            Some("ok") => Finding::ok(STORE, "the node says that it is well"),
            Some("degraded") => Finding::warning(STORE, message)
                .advise("docs/operations.md, A full disk and A damaged store"),
            _ => Finding::problem(STORE, format!("failed: {message}"))
                .advise("restart the node, which checks it; docs/operations.md, A damaged store"),
        };
    }
    match seen {
        Ok(_) if patient.node.is_there() => Finding::ok(STORE, "a node has it open"),
        Ok(seen) => judge_store(seen),
        Err(error) => Finding::problem(STORE, said(error)).advise("run this as the node's user"),
    }
}

fn judge_store(seen: &Look) -> Finding {
    if seen.damaged {
        return Finding::problem(STORE, "damage was found and is not repaired").advise(
            "the next start goes on with it; else tidings restore. docs/operations.md, A damaged \
             store",
        );
    }
    if !seen.there {
        return Finding::ok(STORE, "there is none; the first start makes it");
    }
    if !seen.clean {
        return Finding::warning(STORE, "the last run did not close it")
            .advise("the next start checks it; see why the last one ended");
    }
    Finding::ok(STORE, "the last run closed it; each start checks it")
}

/// What lies beside the store, whether a node runs or not.
fn leftovers(seen: &Look) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.kept > 0 {
        let what = format!("{} copies of a damaged store lie beside it", seen.kept);
        let advice = "see the log of that time and the disk's health; remove them if all is well";
        findings.push(Finding::warning(STORE, what).advise(advice));
    }
    if let Some(path) = &seen.restoring {
        let what = format!("{} is what a restore has written so far", path.display());
        let advice = "if none runs now it was killed: remove it, and restore again";
        findings.push(Finding::warning(STORE, what).advise(advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_disk_is_judged_by_its_room_and_its_kind() {
        const EXT4: u64 = 0xef53;
        assert_eq!(judge_disk(2 << 30, EXT4).mark, Mark::Ok);
        assert_eq!(judge_disk(2 << 29, EXT4).mark, Mark::Ok);
        assert_eq!(judge_disk(1 << 29, EXT4).mark, Mark::Warning);
        assert_eq!(judge_disk(1 << 25, EXT4).mark, Mark::Problem);
        let nfs = judge_disk(2 << 30, 0x6969);
        assert!(nfs.mark == Mark::Warning && nfs.what.contains("on NFS"));
    }

    #[test]
    fn a_store_is_judged_by_what_the_last_run_has_left() {
        let sound = Look {
            there: true,
            damaged: false,
            clean: true,
            kept: 0,
            restoring: None,
        };
        let mark = |change: fn(&mut Look)| {
            let mut seen = sound.clone();
            change(&mut seen);
            judge_store(&seen).mark
        };
        assert_eq!(mark(|_| {}), Mark::Ok);
        assert_eq!(mark(|seen| seen.there = false), Mark::Ok);
        assert_eq!(mark(|seen| seen.clean = false), Mark::Warning);
        assert_eq!(mark(|seen| seen.damaged = true), Mark::Problem);
    }
}
