//! What opening reports, and when it is refused.

use std::fs;

use tidings_storage::{OpenError, Store, StoreConfig, StoreError};

use crate::child::Role;
use crate::harness::{Folder, session};

#[tokio::test]
async fn the_report_tells_a_clean_stop_from_another() {
    let folder = Folder::new();
    let (store, report) = folder.try_open().unwrap();
    assert!(report.fresh && report.clean_stop && report.same_boot && report.rebuilt.is_none());
    store.close().await.unwrap();

    let (store, report) = folder.try_open().unwrap();
    assert!(
        !report.fresh && report.clean_stop && report.same_boot,
        "{report:?}"
    );
    store.close().await.unwrap();

    let mut holder = Role::start("hold", &folder.path());
    assert_eq!(holder.next().as_deref(), Some("open"));
    holder.kill();
    let (store, report) = folder.try_open().unwrap();
    assert!(
        !report.fresh && !report.clean_stop && report.same_boot,
        "{report:?}"
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_report_tells_another_boot() {
    let folder = Folder::new();
    folder.open().close().await.unwrap();
    let state = folder.path().join("state");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.contains(boot_id.trim()));
    fs::write(&state, text.replace(boot_id.trim(), "another")).unwrap();
    let (_store, report) = folder.try_open().unwrap();
    assert!(report.clean_stop && !report.same_boot, "{report:?}");
}

/// As a restored backup has none: nothing is claimed of it.
#[tokio::test]
async fn without_a_state_file_nothing_is_claimed() {
    let folder = Folder::new();
    folder.open().close().await.unwrap();
    fs::remove_file(folder.path().join("state")).unwrap();
    let (_store, report) = folder.try_open().unwrap();
    assert!(
        !report.fresh && !report.clean_stop && !report.same_boot,
        "{report:?}"
    );
}

/// The log's owner may be cut short before it takes account of a power cut, and the accounts may be
/// looked at in between: what is unproved stays so until the slot table is written.
#[tokio::test]
async fn what_is_unproved_stays_so_until_a_slot_table_is_written() {
    let folder = Folder::new();
    folder.open().close().await.unwrap();
    fs::remove_file(folder.path().join("state")).unwrap();
    for _ in 0..2 {
        let (store, report) = folder.try_open().unwrap();
        assert!(!report.clean_stop && !report.same_boot, "{report:?}");
        store.close().await.unwrap();
    }
    let store = folder.open();
    store.put_slot_table(b"table".to_vec()).await.unwrap();
    store.close().await.unwrap();
    let (_store, report) = folder.try_open().unwrap();
    assert!(report.clean_stop && report.same_boot, "{report:?}");
}

#[tokio::test]
async fn a_store_opens_again_right_after_it_was_closed() {
    let folder = Folder::new();
    for round in 0..10 {
        let store = folder.open();
        assert_eq!(store.sessions(None, 99).await.unwrap().len(), round);
        store
            .put_session(session(&format!("s{round}"), "u", 1))
            .await
            .unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = Folder::new();
    let store = folder.open();
    let clone = store.clone();
    store.close().await.unwrap();
    assert_eq!(clone.session("s").await, Err(StoreError::Closed));
    assert_eq!(clone.close().await, Err(StoreError::Closed));
}

#[test]
fn dropping_the_last_handle_frees_the_store_but_is_no_clean_stop() {
    let folder = Folder::new();
    drop(folder.open());
    let opened = std::iter::repeat_with(|| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        folder.try_open().ok()
    });
    let (_store, report) = opened.take(250).flatten().next().unwrap();
    assert!(!report.clean_stop);
}

#[tokio::test]
async fn a_store_open_in_another_process_is_locked() {
    let folder = Folder::new();
    folder.open().close().await.unwrap();
    let mut holder = Role::start("hold", &folder.path());
    assert_eq!(holder.next().as_deref(), Some("open"));
    let error = folder.try_open().err().unwrap();
    let OpenError::Locked {
        file,
        holder: Some(pid),
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((file, *pid), (&folder.path().join("lock"), holder.pid()));
    assert!(
        error.to_string().contains("another tidings may be running"),
        "{error}"
    );
    holder.kill();
    folder.open();
}

#[test]
fn a_store_open_in_this_process_is_locked() {
    let folder = Folder::new();
    let _store = folder.open();
    assert!(matches!(folder.try_open(), Err(OpenError::Locked { .. })));
}

/// A process that knows nothing of our lock file.
#[test]
fn a_store_open_in_bare_sled_is_locked() {
    let folder = Folder::new();
    let _sled = sled::open(folder.path().join("sled")).unwrap();
    let error = folder.try_open().err().unwrap();
    assert!(
        matches!(&error, OpenError::Locked { file, .. } if file.ends_with("sled/db")),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.open().close().await.unwrap();
    {
        let db = sled::open(folder.path().join("sled")).unwrap();
        let format = [&[1][..], &7_u64.to_be_bytes()].concat();
        db.open_tree("store")
            .unwrap()
            .insert("format", format)
            .unwrap();
        db.flush().unwrap();
    }
    for _ in 0..2 {
        let error = folder.try_open().err().unwrap();
        assert!(
            matches!(&error, OpenError::Version { found, supported: 1, .. } if found == "7"),
            "{error}"
        );
    }
    assert_eq!(folder.kept(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    fs::write(folder.path(), "a file is in the way").unwrap();
    let error = Store::open(StoreConfig::new(folder.path())).err().unwrap();
    assert!(
        matches!(error, OpenError::Io { what: "create", .. }),
        "{error}"
    );
}
