//! Damage, row by row as it was met in the field: what is told, what is kept, what is lost.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_storage::{LogBatch, OpenError, Store, StoreConfig};

use crate::child::Role;
use crate::harness::Folder;

const ROWS: u64 = 3_000;

/// A store with rows, closed.
async fn filled() -> Folder {
    let folder = Folder::new();
    let store = folder.open();
    for from in (0..ROWS).step_by(100) {
        let put = (from..from + 100)
            .map(|seq| (1, seq, vec![seq as u8; 500]))
            .collect();
        store
            .commit_log(LogBatch {
                put,
                ..LogBatch::default()
            })
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    // The snapshot is written by an open that finds progress since the last one.
    folder.open().close().await.unwrap();
    folder
}

async fn rows(store: &Store) -> u64 {
    store.load_log().await.unwrap().entries.len() as u64
}

fn snapshot(folder: &Folder) -> PathBuf {
    let files = fs::read_dir(folder.path().join("sled"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let named = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap.")
    };
    files.filter(named).max().unwrap()
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

fn corrupt(outcome: Result<(Store, tidings_storage::OpenReport), OpenError>) -> (String, PathBuf) {
    match outcome.err().unwrap() {
        error @ OpenError::Corrupt { .. } => {
            let text = error.to_string();
            let OpenError::Corrupt { kept, .. } = error else {
                unreachable!()
            };
            (text, kept)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_cut_snapshot_is_kept_aside_and_rebuilt_from_the_log() {
    let folder = filled().await;
    let snapshot = snapshot(&folder);
    let len = fs::metadata(&snapshot).unwrap().len() / 2;
    cut(&snapshot, len);

    let (store, report) = folder.try_open().unwrap();
    assert_eq!(rows(&store).await, ROWS);
    let kept = report.rebuilt.unwrap();
    assert_eq!(folder.kept(), std::slice::from_ref(&kept));
    let kept_snapshot = kept.join("sled").join(snapshot.file_name().unwrap());
    assert_eq!(
        fs::metadata(kept_snapshot).unwrap().len(),
        len,
        "kept as it was found"
    );
    store.close().await.unwrap();

    let (store, report) = folder.try_open().unwrap();
    assert_eq!((report.rebuilt, rows(&store).await), (None, ROWS));
    assert_eq!(folder.kept().len(), 1);
}

#[tokio::test]
async fn the_two_last_copies_stay() {
    let folder = filled().await;
    let mut copies = Vec::new();
    for _ in 0..3 {
        cut(&snapshot(&folder), 5);
        let (store, report) = folder.try_open().unwrap();
        copies.extend(report.rebuilt);
        store.close().await.unwrap();
        // So that there is a snapshot again.
        folder.open().close().await.unwrap();
    }
    assert_eq!(folder.kept(), copies[1..]);
}

/// A copy beside the folder, not inside it.
#[tokio::test]
async fn a_slash_after_the_path_changes_nothing() {
    let folder = filled().await;
    cut(&snapshot(&folder), 5);
    let path = folder.path().join("");
    let (_store, report) = Store::open(StoreConfig {
        path,
        ..folder.config()
    })
    .unwrap();
    assert_eq!(folder.kept(), [report.rebuilt.unwrap()]);
}

/// They hold session ids and password hashes.
#[tokio::test]
async fn the_store_and_its_copies_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = filled().await;
    cut(&snapshot(&folder), 5);
    let kept = folder.try_open().unwrap().1.rebuilt.unwrap();
    for path in [folder.path(), kept] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

#[tokio::test]
async fn without_room_for_a_copy_nothing_is_tried() {
    let folder = filled().await;
    let snapshot = snapshot(&folder);
    cut(&snapshot, 5);
    let config = StoreConfig {
        min_free_bytes: u64::MAX,
        ..folder.config()
    };
    let error = Store::open(config).err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Full {
                needed: u64::MAX,
                ..
            }
        ),
        "{error}"
    );
    assert!(snapshot.exists());
    assert!(folder.kept().is_empty());
}

#[tokio::test]
async fn a_copy_that_was_cut_short_is_made_anew() {
    let folder = filled().await;
    let unfinished = folder.path().with_file_name("store.keeping");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("state"), "half").unwrap();
    cut(&snapshot(&folder), 5);
    let (store, report) = folder.try_open().unwrap();
    assert_eq!(rows(&store).await, ROWS);
    assert!(!unfinished.exists());
    assert!(report.rebuilt.unwrap().join("sled/db").exists());
}

/// Killed between the copy and the rebuild's success: the next start has the same copy to show.
#[tokio::test]
async fn a_start_killed_while_rebuilding_is_taken_up_by_the_next() {
    let folder = filled().await;
    let kept = folder.path().with_file_name("store.kept-20200101T000000Z");
    fs::create_dir(&kept).unwrap();
    fs::write(folder.path().join("damaged"), "store.kept-20200101T000000Z").unwrap();
    fs::remove_file(snapshot(&folder)).unwrap();
    let (store, report) = folder.try_open().unwrap();
    assert_eq!((report.rebuilt, rows(&store).await), (Some(kept), ROWS));
    store.close().await.unwrap();
    assert_eq!(folder.try_open().unwrap().1.rebuilt, None);
}

#[tokio::test]
async fn a_log_of_garbage_is_refused_each_time_and_kept_once() {
    let folder = filled().await;
    let log = folder.path().join("sled/db");
    let len = fs::metadata(&log).unwrap().len();
    fs::write(log, vec![0xa5; len as usize]).unwrap();
    for _ in 0..2 {
        let said = Role::start("open", &folder.path()).next().unwrap();
        assert!(said.contains("is damaged"), "{said}");
        assert!(said.contains("to begin empty"), "{said}");
        assert_eq!(folder.kept().len(), 1, "one copy of one damage");
    }
}

/// What sled makes of it depends on the page that was hit: none that matters, an error, a panic, a
/// hang. Whatever it is must come to an end and be told.
#[tokio::test]
async fn garbage_inside_the_log_is_told_unless_nothing_is_missing() {
    for part in 1..8 {
        let folder = filled().await;
        let log = fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("sled/db"))
            .unwrap();
        let at = log.metadata().unwrap().len() * part / 8;
        log.write_all_at(&[0xa5; 4096], at).unwrap();

        let mut opening = Role::start("open", &folder.path());
        let said = opening.next().unwrap();
        if said.contains("is damaged") || said.contains("rebuilt: Some") {
            assert_eq!(folder.kept().len(), 1);
        } else {
            assert!(said.starts_with("OpenReport"), "{said}");
            let rows = opening.next().unwrap();
            assert!(
                rows == format!("rows {ROWS}") || rows.starts_with("Failed") || rows == "Stuck",
                "{rows}"
            );
        }
    }
}

/// A pipe in the place of the snapshot: opening it waits for a writer that never comes.
#[tokio::test]
async fn an_open_that_never_ends_is_given_up() {
    let folder = filled().await;
    let snapshot = snapshot(&folder);
    fs::remove_file(&snapshot).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &snapshot,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let config = StoreConfig {
        open_deadline: Duration::from_millis(300),
        ..folder.config()
    };
    let error = Store::open(config.clone()).err().unwrap();
    assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
    let error = Store::open(config).err().unwrap();
    assert!(
        matches!(error, OpenError::Locked { .. }),
        "the thread that hangs keeps the lock: {error}"
    );
    assert!(folder.kept().is_empty());
}

#[tokio::test]
async fn an_emptied_log_is_not_taken_for_a_new_store() {
    let folder = filled().await;
    cut(&folder.path().join("sled/db"), 0);
    let (text, kept) = corrupt(folder.try_open());
    assert!(text.contains("missing or empty"), "{text}");
    assert_eq!(folder.kept(), [kept]);
    let (_, again) = corrupt(folder.try_open());
    assert_eq!(folder.kept(), [again]);
}

/// As when somebody put another folder in its place.
#[tokio::test]
async fn a_store_without_any_rows_is_not_taken_for_a_new_one() {
    let folder = filled().await;
    let sled = folder.path().join("sled");
    fs::remove_dir_all(&sled).unwrap();
    sled::open(&sled).unwrap().flush().unwrap();
    let (text, _) = corrupt(folder.try_open());
    assert!(text.contains("the rows that it had are gone"), "{text}");
}

#[tokio::test]
async fn a_missing_log_is_not_taken_for_a_new_store() {
    let folder = filled().await;
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let (text, _) = corrupt(folder.try_open());
    assert!(text.contains("move"), "{text}");
    assert!(!folder.path().join("sled").exists());

    fs::rename(folder.path(), folder.path().with_file_name("moved away")).unwrap();
    let (store, report) = folder.try_open().unwrap();
    assert!(report.fresh);
    assert_eq!(rows(&store).await, 0);
}

#[tokio::test]
async fn a_broken_conf_is_written_anew() {
    let folder = filled().await;
    for bytes in [&b"garbage that is long enough"[..], b""] {
        fs::write(folder.path().join("sled/conf"), bytes).unwrap();
        let (store, report) = folder.try_open().unwrap();
        assert_eq!(
            (report.rebuilt.is_some(), rows(&store).await),
            (!bytes.is_empty(), ROWS)
        );
        store.close().await.unwrap();
    }
}

/// Depending on where sled was in its last segment there is nothing missing, or something is.
#[tokio::test]
async fn a_cut_tail_is_lived_with_or_told() {
    let folder = filled().await;
    let log = folder.path().join("sled/db");
    let len = fs::metadata(&log).unwrap().len() - (300 << 10);
    cut(&log, len);
    match folder.try_open() {
        Ok((store, _)) => {
            assert!(rows(&store).await <= ROWS);
            store.put_meta("still", b"writable".to_vec()).await.unwrap();
        }
        refused => {
            let (_, kept) = corrupt(refused);
            assert!(fs::metadata(kept.join("sled/db")).unwrap().len() >= len);
        }
    }
}
