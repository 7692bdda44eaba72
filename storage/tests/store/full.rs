//! A disk that fills up.

use tidings_storage::{Health, Store, StoreConfig, StoreError};

use crate::child::Role;
use crate::harness::{Folder, session};

fn free_bytes(folder: &Folder) -> u64 {
    let disk = rustix::fs::statvfs(folder.path()).unwrap();
    disk.f_bavail * disk.f_frsize
}

fn open_with_reserve(folder: &Folder, min_free_bytes: u64) -> Store {
    Store::open(StoreConfig {
        min_free_bytes,
        ..folder.config()
    })
    .unwrap()
    .0
}

#[tokio::test]
async fn below_the_reserve_writes_are_refused_and_reads_go_on() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_session(session("s", "u", 9)).await.unwrap();
    assert_eq!(store.health(), Health::Ok);
    store.close().await.unwrap();

    let store = open_with_reserve(&folder, u64::MAX);
    let refused = store.put_session(session("t", "u", 9)).await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Full {
                needed: u64::MAX,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(matches!(
        store.delete_session("s").await,
        Err(StoreError::Full { .. })
    ));
    assert!(matches!(
        store.sweep(u64::MAX, 9).await,
        Err(StoreError::Full { .. })
    ));
    assert!(matches!(
        store.put_slot_table(vec![1]).await,
        Err(StoreError::Full { .. })
    ));
    assert_eq!(
        store.sessions(None, 9).await,
        Ok(vec![session("s", "u", 9)])
    );
    let Health::Degraded(why) = store.health() else {
        panic!("{:?}", store.health())
    };
    assert!(why.starts_with("disk nearly full"), "{why}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn removals_go_on_for_longer_than_puts() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_session(session("s", "u", 9)).await.unwrap();
    store.close().await.unwrap();

    let store = open_with_reserve(&folder, free_bytes(&folder) * 2);
    assert!(matches!(
        store.put_meta("k", vec![1]).await,
        Err(StoreError::Full { .. })
    ));
    assert_eq!(
        store.delete_session("s").await,
        Ok(Some(session("s", "u", 9)))
    );
}

/// No reserve, and a file limit instead of a full disk: the same refused write inside sled, without
/// a disk to fill.
#[tokio::test]
async fn a_write_that_the_system_refuses_fails_the_store_and_not_the_process() {
    let folder = Folder::new();
    let mut filler = Role::start_with_file_limit("fill", &folder.path(), 8 << 20);
    let mut said = std::iter::from_fn(|| filler.next());
    let written: usize = said
        .next()
        .unwrap()
        .strip_suffix(" written")
        .unwrap()
        .parse()
        .unwrap();
    assert!(written > 100, "{written}");
    let rest: Vec<String> = said.collect();
    let [write, health, next, close] = &rest[..] else {
        panic!("{rest:?}")
    };
    assert!(
        write.starts_with("Failed") && write.contains("File too large"),
        "{write}"
    );
    assert!(
        health.starts_with("Failed") && health.contains("File too large"),
        "{health}"
    );
    assert!(next.starts_with("Err(Failed"), "{next}");
    assert!(close.starts_with("Err(Failed"), "{close}");

    let (store, report) = folder.try_open().unwrap();
    assert!(!report.clean_stop && report.rebuilt.is_none(), "{report:?}");
    let entries = store.load_log().await.unwrap().entries;
    assert!(
        entries.len() >= written,
        "{written} were acknowledged, {} are there",
        entries.len()
    );
    store.put_meta("k", vec![1]).await.unwrap();
}
