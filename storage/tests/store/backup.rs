//! A backup that is restored: what comes back, what does not, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use tidings_storage::{
    About, ApiKey, Choice, LogBatch, RestoreError, Revocation, SharedSession, Store, User,
    check_backup, restore,
};

use crate::harness::{Folder, session};

const CHOICE: Choice<'_> = Choice {
    sessions: true,
    leave: &["node_id"],
};

async fn take(store: &Store, folder: &Path) -> PathBuf {
    let about = About {
        node: "a".to_owned(),
        program: "0".to_owned(),
        taken_ms: 1,
        running: true,
    };
    let others = vec![("acme/account".to_owned(), b"secret".to_vec())];
    let mut backup = store.backup(about, others);
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await.unwrap() {
        bytes.extend(piece);
    }
    let path = folder.join("backup");
    fs::write(&path, bytes).unwrap();
    path
}

/// A store with some of everything.
async fn filled(folder: &Folder) -> Store {
    let store = folder.open();
    for name in ["alice", "bob"] {
        let user = User {
            name: name.to_owned(),
            password_hash: "hash".to_owned(),
            created_ms: 1,
        };
        store.put_user(user).await.unwrap();
        store
            .put_session(session(name, name, 1 << 50))
            .await
            .unwrap();
    }
    let ended = Revocation {
        session: Some("bob".to_owned()),
        user: "bob".to_owned(),
        revoked_ms: 1 << 40,
        expires_ms: 1 << 50,
    };
    store.revoke(ended, 1).await.unwrap();
    let key = ApiKey {
        id: "k".to_owned(),
        name: "shop".to_owned(),
        hash: "hash".to_owned(),
        scopes: vec!["emit".to_owned()],
        created_ms: 1,
    };
    store.put_key(key).await.unwrap();
    store.put_shared(shared()).await.unwrap();
    let counter = (b"c".to_vec(), b"v".to_vec(), 1 << 50);
    store.save_counters(vec![counter]).await.unwrap();
    store.put_meta("node_id", vec![1; 8]).await.unwrap();
    store.put_meta("cookie", vec![2]).await.unwrap();
    let batch = LogBatch {
        put: vec![(1, 1, vec![1])],
        state: vec![(vec![b'r'], Some(vec![2]))],
        durable: true,
        ..LogBatch::default()
    };
    store.commit_log(batch).await.unwrap();
    store.put_slot_table(vec![3]).await.unwrap();
    store.put_roster(vec![4]).await.unwrap();
    store
}

/// What was read of a session in MongoDB.
fn shared() -> SharedSession {
    SharedSession {
        document: "d".to_owned(),
        id: "d".to_owned(),
        user: "alice".to_owned(),
        expires_ms: 1 << 50,
        read_ms: 1,
        content: 2,
    }
}

#[tokio::test]
async fn all_comes_back_but_what_the_node_had_promised() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = filled(&folder).await;
    let path = take(&store, folder.path().parent().unwrap()).await;
    let (_, contents) = check_backup(&path).unwrap();
    // It is all in the backup.
    assert_eq!((contents.rows["log"], contents.rows["log_state"]), (1, 1));
    assert_eq!(contents.rows["shared_sessions"], 1);
    assert_eq!(contents.files.len(), 3);

    let restored = restore(&path, &other.path(), CHOICE).unwrap();
    assert_eq!(restored.contents, contents);
    assert_eq!(restored.left["node_id"], [1; 8]);
    let account = ("acme/account".to_owned(), b"secret".to_vec());
    assert_eq!(restored.others, [account]);

    let (again, report) = other.try_open().unwrap();
    // Nothing of it is in doubt, as there is no history that could be.
    assert!(report.clean_stop && report.same_boot && !report.fresh);
    assert_eq!(again.users().await, store.users().await);
    assert_eq!(again.keys().await, store.keys().await);
    assert_eq!(again.counters().await, store.counters().await);
    assert_eq!(again.sessions(None, 9).await, store.sessions(None, 9).await);
    assert_eq!(again.sessions_of("alice").await.unwrap().len(), 1);
    assert_eq!(
        again.revocations(None, 0, 9).await,
        store.revocations(None, 0, 9).await
    );
    // What ended before the backup does not come back as a copy, either.
    assert_eq!(
        again.copy_session(session("bob", "bob", 1 << 50)).await,
        Ok(false)
    );
    assert_eq!(again.meta("cookie").await, Ok(Some(vec![2])));
    assert_eq!(again.meta("node_id").await, Ok(None));
    assert_eq!(again.load_log().await, Ok(Default::default()));
    assert_eq!(again.slot_table().await, Ok(None));
    assert_eq!(again.roster().await, Ok(None));
    // It may have ended since: it is read again.
    assert_eq!(store.shared("d").await, Ok(Some(shared())));
    assert_eq!(again.shared("d").await, Ok(None));
    let swept = again.sweep(1 << 51, 100).await.unwrap();
    let found = (swept.sessions, swept.counters, swept.shared, swept.damaged);
    assert_eq!(found, (1, 1, 0, 0), "its index of what expires is whole");
    again.close().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn sessions_are_left_out_if_they_are_to_be() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = filled(&folder).await;
    let path = take(&store, folder.path().parent().unwrap()).await;
    let choice = Choice {
        sessions: false,
        ..CHOICE
    };
    restore(&path, &other.path(), choice).unwrap();
    let again = other.open();
    assert_eq!(again.sessions(None, 9).await, Ok(Vec::new()));
    assert_eq!(again.sessions_of("alice").await, Ok(Vec::new()));
    assert_eq!(again.users().await.unwrap().len(), 2);
    assert_eq!(again.revocations(None, 0, 9).await.unwrap().found.len(), 1);
    assert_eq!(again.sweep(1 << 51, 100).await.unwrap().damaged, 0);
    again.close().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_of_what_is_not_whole_nor_over_what_is_there() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = filled(&folder).await;
    let path = take(&store, folder.path().parent().unwrap()).await;
    let whole = fs::read(&path).unwrap();
    let nothing = || other.beside("").is_empty();

    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bad in [&damaged[..], &whole[..whole.len() - 1], b"something else"] {
        fs::write(&path, bad).unwrap();
        let error = restore(&path, &other.path(), CHOICE).unwrap_err();
        assert!(matches!(error, RestoreError::Backup(_)), "{error}");
        assert!(nothing());
    }

    fs::write(&path, &whole).unwrap();
    let unfinished = PathBuf::from(format!("{}.restoring", other.path().display()));
    fs::create_dir(&unfinished).unwrap();
    let error = restore(&path, &other.path(), CHOICE).unwrap_err();
    assert!(matches!(error, RestoreError::Exists(_)), "{error}");
    fs::remove_dir(&unfinished).unwrap();

    restore(&path, &other.path(), CHOICE).unwrap();
    let error = restore(&path, &other.path(), CHOICE).unwrap_err();
    assert!(matches!(error, RestoreError::Exists(_)), "{error}");
    other.open().close().await.unwrap();
    store.close().await.unwrap();
}
