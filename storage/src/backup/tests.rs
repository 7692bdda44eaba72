//! The form of a backup, and what is written while one is taken.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::{any, proptest};

use super::decode::{BackupError, Block, Decoder};
use super::format::{About, CHECK, Encoder, MAGIC, Row};
use crate::error::StoreError;
use crate::store::Store;
use crate::{Session, StoreConfig};

fn about() -> About {
    About {
        node: "a".to_owned(),
        program: "0".to_owned(),
        taken_ms: 7,
        running: true,
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Block>, BackupError> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    assert_eq!(decoder.about(), &about());
    let mut blocks = Vec::new();
    while let Some(block) = decoder.next()? {
        blocks.push(block);
    }
    assert_eq!(decoder.contents().bytes, bytes.len() as u64);
    Ok(blocks)
}

fn written(rows: &[Row], file: &[u8]) -> Vec<u8> {
    let (mut encoder, mut bytes) = Encoder::begin(&about());
    bytes.extend(encoder.rows("sessions", rows));
    bytes.extend(encoder.file("store/slots", file));
    bytes.extend(encoder.end());
    bytes
}

proptest! {
    #[test]
    fn what_went_in_comes_out(
        rows in vec((vec(any::<u8>(), 0..20), any::<Option<Vec<u8>>>()), 0..20),
        content: Vec<u8>,
    ) {
        let blocks = read(&written(&rows, &content)).unwrap();
        let (tree, name) = ("sessions".to_owned(), "store/slots".to_owned());
        assert_eq!(blocks, [Block::Rows { tree, rows }, Block::File { name, content }]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Decoder::new(Cursor::new(&bytes)).map(|mut decoder| decoder.next().is_ok());
        let bytes = [MAGIC, &bytes].concat();
        assert!(Decoder::new(Cursor::new(&bytes)).is_err());
    }
}

#[test]
fn every_changed_byte_and_every_missing_end_is_found() {
    let row = |key: u8| (vec![key], Some(vec![key; 5]));
    let whole = written(&[row(1), row(2), (vec![3], None)], b"table");
    read(&whole).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(read(&changed).is_err(), "byte {at} was changed");
        let cut = read(&whole[..at]).unwrap_err();
        let is_told = matches!(cut, BackupError::CutShort(_) | BackupError::NotABackup);
        assert!(is_told || at < MAGIC.len(), "cut at {at}: {cut}");
    }
    let more = [&whole[..], &[0]].concat();
    assert!(
        read(&more)
            .unwrap_err()
            .to_string()
            .contains("follows its end")
    );
}

#[test]
fn a_block_that_is_left_out_is_missed() {
    let (mut encoder, begun) = Encoder::begin(&about());
    let first = encoder.rows("users", &[(vec![1], None)]);
    let second = encoder.rows("users", &[(vec![2], None)]);
    let end = encoder.end();
    read(&[&begun[..], &first, &second, &end].concat()).unwrap();
    for wrong in [
        [&begun[..], &second, &end].concat(),
        [&begun[..], &second, &first, &end].concat(),
        [&begun[..], &first, &end].concat(),
        [&begun[..], &end].concat(),
    ] {
        let error = read(&wrong).unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
    }
    assert_eq!(first.len(), second.len());
    assert!(first[first.len() - CHECK..] != second[second.len() - CHECK..]);
}

#[test]
fn another_format_is_named() {
    let error = read(b"tidings-backup 2\n....").unwrap_err();
    assert!(error.to_string().contains("\"2\""), "{error}");
}

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        min_free_bytes: 0,
        ..StoreConfig::new(dir.path().join("store"))
    };
    let store = Store::open(config).unwrap().0;
    (dir, store)
}

fn session(number: u32) -> Session {
    Session {
        id: format!("{number:08}"),
        user: "alice".to_owned(),
        created_ms: 1,
        expires_ms: 1 << 50,
    }
}

/// The sessions that a backup ends with, by the last row of each.
fn sessions(bytes: &[u8]) -> Vec<String> {
    let mut found = std::collections::BTreeMap::new();
    for block in read(bytes).unwrap() {
        if let Block::Rows { tree, rows } = block
            && tree == "sessions"
        {
            found.extend(rows);
        }
    }
    let there = found.into_iter().filter(|(_, value)| value.is_some());
    there
        .map(|(key, _)| String::from_utf8(key).unwrap())
        .collect()
}

#[tokio::test]
async fn it_is_of_its_last_moment() {
    let (_dir, store) = open();
    for number in 0..3000 {
        store.copy_session(session(number)).await.unwrap();
    }
    let mut backup = store.backup(about(), Vec::new());
    let mut bytes = Vec::new();
    let mut step = 0;
    while let Some(piece) = backup.next().await.unwrap() {
        bytes.extend(piece);
        // Behind what was read already, and before it; made and ended.
        store.delete_session(&session(step).id).await.unwrap();
        store
            .delete_session(&session(2999 - step).id)
            .await
            .unwrap();
        store.copy_session(session(5000 + step)).await.unwrap();
        step += 1;
    }
    assert!(step > 4, "it came in one piece");
    // What was written after its last piece was read is not in it.
    let last = step - 1;
    store.copy_session(session(last)).await.unwrap();
    store.copy_session(session(2999 - last)).await.unwrap();
    store
        .delete_session(&session(5000 + last).id)
        .await
        .unwrap();
    let now = store.sessions(None, 10_000).await.unwrap();
    let now: Vec<_> = now.into_iter().map(|session| session.id).collect();
    assert_eq!(sessions(&bytes), now);
    store.close().await.unwrap();
}

#[tokio::test]
async fn there_is_one_at_a_time() {
    let (_dir, store) = open();
    let mut first = store.backup(about(), Vec::new());
    first.next().await.unwrap();
    let mut second = store.backup(about(), Vec::new());
    assert_eq!(second.next().await, Err(StoreError::Busy));
    drop(first);
    let mut third = store.backup(about(), Vec::new());
    while third.next().await.unwrap().is_some() {}
    let mut fourth = store.backup(about(), Vec::new());
    assert!(fourth.next().await.unwrap().is_some());
    store.close().await.unwrap();
    let cut = loop {
        match fourth.next().await {
            Ok(Some(_)) => {}
            cut => break cut,
        }
    };
    assert_eq!(cut, Err(StoreError::Closed));
}
