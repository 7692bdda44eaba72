//! The queue and the thread, with calls of the tests' own.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::pulse::STUCK_AFTER;
use super::*;
use crate::embedded::meta;

const PUT: Effect = Effect::Put { durable: true };

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(&dir);
    (dir, store)
}

fn reopen(dir: &tempfile::TempDir) -> Store {
    let config = StoreConfig {
        min_free_bytes: 0,
        ..StoreConfig::new(dir.path().join("store"))
    };
    Store::open(config).unwrap().0
}

/// Holds the thread up inside a call until the sender is dropped.
async fn hold(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = oneshot::channel();
    let store = store.clone();
    tokio::spawn(async move {
        store
            .call(Effect::Read, move |_| {
                started.send(()).unwrap();
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    running.await.unwrap();
    release
}

#[tokio::test]
async fn calls_that_wait_together_share_a_flush() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    let before = store.stats();
    let puts: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.put_meta(&number.to_string(), vec![1]).await })
        })
        .collect();
    while store.stats().under_way < 201 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let after = store.stats();
    assert_eq!(after.calls - before.calls, 200);
    assert_eq!(after.flushes - before.flushes, 1);
    // Its count falls after its answer.
    while store.stats().under_way > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reads_and_writes_that_need_not_last_do_not_flush() {
    let (_dir, store) = open();
    let before = store.stats().flushes;
    store.meta("k").await.unwrap();
    store
        .save_counters(vec![(vec![1], vec![2], 3)])
        .await
        .unwrap();
    assert_eq!(store.stats().flushes, before);
    store.put_meta("k", vec![1]).await.unwrap();
    assert_eq!(store.stats().flushes, before + 1);
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    let calls: Vec<_> = (0..QUEUE + 10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.meta("k").await })
        })
        .collect();
    while store.stats().under_way < QUEUE {
        tokio::task::yield_now().await;
    }
    assert!(calls.iter().all(|call| !call.is_finished()));
    drop(release);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(None));
    }
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_applied() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    {
        let mut put = std::pin::pin!(store.put_meta("k", vec![1]));
        assert!(futures_poll_once(put.as_mut()).await.is_none());
    }
    drop(release);
    assert_eq!(store.meta("k").await, Ok(Some(vec![1])));
}

async fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(move |context| {
        let polled = future.take().map(|future| future.poll(context));
        std::task::Poll::Ready(match polled {
            Some(std::task::Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_stuck_thread_is_told_and_nobody_waits_for_it() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    let queued = tokio::spawn({
        let store = store.clone();
        async move { store.meta("k").await }
    });
    let started = Instant::now();
    assert_eq!(queued.await.unwrap(), Err(StoreError::Stuck));
    let waited = started.elapsed();
    assert!(
        waited > STUCK_AFTER - Duration::from_millis(100),
        "{waited:?}"
    );
    assert!(waited < STUCK_AFTER + Duration::from_secs(3), "{waited:?}");
    assert_eq!(store.meta("k").await, Err(StoreError::Stuck));
    assert!(matches!(store.health(), Health::Degraded(why) if why.contains("not moved")));

    drop(release);
    while store.meta("k").await == Err(StoreError::Stuck) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.health(), Health::Ok);
    assert_eq!(store.meta("k").await, Ok(None));
}

#[tokio::test]
async fn a_panic_fails_the_store_and_not_the_process() {
    let (dir, store) = open();
    store.put_meta("k", vec![1]).await.unwrap();
    let outcome = store.call::<()>(PUT, |_| panic!("as sled might")).await;
    let Err(StoreError::Failed { reason }) = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("as sled might"), "{reason}");
    assert_eq!(
        store.meta("k").await,
        Err(StoreError::Failed {
            reason: reason.clone()
        })
    );
    assert!(matches!(store.health(), Health::Failed(why) if why.contains("as sled might")));
    assert_eq!(
        store.close().await,
        Err(StoreError::Failed {
            reason: reason.clone()
        })
    );
    // Nothing more is done with it, so the lock stays until the process ends.
    let config = StoreConfig::new(dir.path().join("store"));
    assert!(matches!(Store::open(config), Err(OpenError::Locked { .. })));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_only_its_reader() {
    let (_dir, store) = open();
    store
        .call(PUT, |on| {
            on.trees.sessions.insert("s", &[9, 9])?;
            on.trees.meta.insert("k", &[])?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(matches!(
        store.session("s").await,
        Err(StoreError::Damaged {
            tree: "sessions",
            ..
        })
    ));
    assert!(matches!(
        store.meta("k").await,
        Err(StoreError::Damaged { tree: "meta", .. })
    ));
    assert_eq!(store.health(), Health::Ok);
    store.put_meta("k", vec![2]).await.unwrap();
    assert_eq!(store.meta("k").await, Ok(Some(vec![2])));
}

#[tokio::test]
async fn calls_queued_behind_the_close_are_told_that_it_closed() {
    let (dir, store) = open();
    let release = hold(&store).await;
    let before = tokio::spawn({
        let store = store.clone();
        async move { store.put_meta("before", vec![1]).await }
    });
    while store.stats().under_way < 2 {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    while !store.shared.room.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.meta("after").await, Err(StoreError::Closed));
    drop(release);
    assert_eq!(before.await.unwrap(), Ok(()));
    assert_eq!(closing.await.unwrap(), Ok(()));
    let again = reopen(&dir);
    assert_eq!(again.meta("before").await, Ok(Some(vec![1])));
    let format = again.call(Effect::Read, |on| meta::format(on.trees)).await;
    assert_eq!(format, Ok(Some(u64::from(meta::FORMAT))));
}
