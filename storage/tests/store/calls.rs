//! Every call: what is stored comes back, after a restart too, and ends when it should.

use tidings_storage::{
    ApiKey, LogBatch, Revocation, RevocationPage, SESSION_KEPT_MS, SharedSession, StoreError,
    Swept, User,
};

use crate::harness::{Folder, session};

#[tokio::test]
async fn sessions_are_found_by_id_by_user_and_in_order() {
    let folder = Folder::new();
    let store = folder.open();
    for (id, user) in [("b", "ann"), ("a", "ann"), ("c", "annabel"), ("d", "")] {
        store.put_session(session(id, user, 10)).await.unwrap();
    }
    assert_eq!(store.session("a").await, Ok(Some(session("a", "ann", 10))));
    assert_eq!(store.session("x").await, Ok(None));
    let anns = vec![session("a", "ann", 10), session("b", "ann", 10)];
    assert_eq!(store.sessions_of("ann").await, Ok(anns.clone()));
    assert_eq!(store.sessions_of("").await, Ok(vec![session("d", "", 10)]));
    assert_eq!(store.sessions(None, 2).await, Ok(anns.clone()));
    let rest = vec![session("c", "annabel", 10), session("d", "", 10)];
    assert_eq!(store.sessions(Some("b".into()), 9).await, Ok(rest));

    assert_eq!(store.delete_sessions_of("ann").await, Ok(anns));
    assert_eq!(store.sessions_of("ann").await, Ok(vec![]));
    assert_eq!(store.delete_session("a").await, Ok(None));
    assert_eq!(
        store.delete_session("c").await,
        Ok(Some(session("c", "annabel", 10)))
    );
    assert_eq!(
        store.sessions(None, 9).await,
        Ok(vec![session("d", "", 10)])
    );
}

#[tokio::test]
async fn recent_sessions_are_those_that_are_stored() {
    let folder = Folder::new();
    let store = folder.open();
    for (id, user) in [("a", "ann"), ("b", "ann"), ("c", "bob")] {
        store.put_session(session(id, user, 10)).await.unwrap();
        assert_eq!(store.recent_session(id), Some(session(id, user, 10)));
    }
    let eves = store.put_session(session("c", "eve", 20)).await.unwrap();
    assert_eq!(store.recent_session("c"), Some(eves));
    store.delete_session("c").await.unwrap();
    assert_eq!(store.recent_session("c"), None);
    store.delete_sessions_of("ann").await.unwrap();
    assert_eq!(
        (store.recent_session("a"), store.recent_session("b")),
        (None, None)
    );

    store.put_session(session("d", "ann", 10)).await.unwrap();
    store.close().await.unwrap();
    let store = folder.open();
    assert_eq!(store.recent_session("d"), None, "nobody has asked yet");
    store.session("d").await.unwrap();
    assert_eq!(store.recent_session("d"), Some(session("d", "ann", 10)));
}

#[tokio::test]
async fn a_session_that_changes_hands_leaves_its_old_user() {
    let folder = Folder::new();
    let store = folder.open();
    let anns = store.put_session(session("s", "ann", 10)).await.unwrap();
    let bobs = store.put_session(session("s", "bob", 20)).await.unwrap();
    assert!(bobs.created_ms > anns.created_ms, "the later one counts");
    assert_eq!(store.sessions_of("ann").await, Ok(vec![]));
    assert_eq!(store.sessions_of("bob").await, Ok(vec![bobs]));
    assert_eq!(store.copy_session(anns).await, Ok(false));
}

#[tokio::test]
async fn expired_sessions_are_kept_for_an_hour() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_session(session("s", "ann", 1_000)).await.unwrap();
    let ends = 1_000 + SESSION_KEPT_MS;
    assert_eq!(store.sweep(ends - 1, 10).await, Ok(Swept::default()));
    assert!(store.session("s").await.unwrap().is_some());
    assert_eq!(
        store.sweep(ends, 10).await,
        Ok(Swept {
            sessions: 1,
            ..Swept::default()
        })
    );
    assert_eq!(store.session("s").await, Ok(None));
    assert_eq!(store.sessions_of("ann").await, Ok(vec![]));
}

#[tokio::test]
async fn what_was_revoked_stays_so_after_a_restart_until_it_would_have_ended() {
    let folder = Folder::new();
    let store = folder.open();
    let made = store.put_session(session("a", "ann", 100)).await.unwrap();
    let revocation = Revocation {
        session: Some("a".into()),
        user: "ann".into(),
        revoked_ms: made.created_ms,
        expires_ms: 90,
    };
    let ended = store.revoke(revocation.clone(), 7).await;
    assert_eq!(ended, Ok(vec![made.clone()]));
    assert_eq!(store.recent_session("a"), None);
    store.close().await.unwrap();
    drop(store);
    let store = folder.open();
    assert_eq!(store.copy_session(made.clone()).await, Ok(false));
    assert_eq!(store.session("a").await, Ok(None));
    let kept = RevocationPage {
        found: vec![Revocation {
            expires_ms: 100,
            ..revocation.clone()
        }],
        next: None,
    };
    assert_eq!(store.revocations(None, 7, 9).await, Ok(kept));
    // To hear it again is nothing new.
    assert_eq!(store.revoke(revocation, 8).await, Ok(vec![]));
    let later = store.revocations(None, 8, 9).await;
    assert_eq!(later, Ok(RevocationPage::default()));
    let swept = store.sweep(100, 9).await.unwrap();
    assert_eq!(swept.revocations, 1);
    assert_eq!(store.copy_session(made).await, Ok(true));
}

#[tokio::test]
async fn revocations_come_in_pages_whatever_is_left_out() {
    let folder = Folder::new();
    let store = folder.open();
    for number in 0..7 {
        let revocation = Revocation {
            session: (number % 2 == 0).then(|| number.to_string()),
            user: number.to_string(),
            revoked_ms: 1,
            expires_ms: 50,
        };
        store.revoke(revocation, number).await.unwrap();
    }
    let (mut users, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.revocations(after, 2, 3).await.unwrap();
        users.extend(page.found.into_iter().map(|it| it.user));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        (pages, users),
        (3, ["2", "4", "6", "3", "5"].map(String::from).into())
    );
}

#[tokio::test]
async fn users_and_keys_come_back_after_a_restart() {
    let folder = Folder::new();
    let user = User {
        name: "ann".into(),
        password_hash: "$argon2id$".into(),
        created_ms: 5,
    };
    let key = ApiKey {
        id: "k".into(),
        name: "backend".into(),
        hash: "$argon2id$".into(),
        scopes: vec!["emit".into(), "read".into()],
        created_ms: 6,
    };
    let store = folder.open();
    store.put_user(user.clone()).await.unwrap();
    store.put_key(key.clone()).await.unwrap();
    let admin = User {
        password_hash: "$argon2id$other".into(),
        ..user.clone()
    };
    store.put_admin(admin.clone()).await.unwrap();
    store.close().await.unwrap();

    let store = folder.open();
    assert_eq!(store.user("ann").await, Ok(Some(user.clone())));
    assert_eq!(store.users().await, Ok(vec![user]));
    assert_eq!(store.admin("ann").await, Ok(Some(admin.clone())));
    assert_eq!(store.admins().await, Ok(vec![admin]));
    assert_eq!(store.delete_admin("ann").await, Ok(true));
    assert_eq!(store.delete_admin("ann").await, Ok(false));
    assert_eq!(store.admins().await, Ok(vec![]));
    assert_eq!(store.key("k").await, Ok(Some(key.clone())));
    assert_eq!(store.keys().await, Ok(vec![key]));
    assert_eq!(store.delete_user("ann").await, Ok(true));
    assert_eq!(store.delete_user("ann").await, Ok(false));
    assert_eq!(store.delete_key("k").await, Ok(true));
    assert_eq!(store.delete_key("k").await, Ok(false));
    assert_eq!(
        (store.users().await, store.keys().await),
        (Ok(vec![]), Ok(vec![]))
    );
}

#[tokio::test]
async fn counters_last_until_their_newest_end() {
    let folder = Folder::new();
    let store = folder.open();
    let counter = |value: &[u8], ends| vec![(b"k".to_vec(), value.to_vec(), ends)];
    store.save_counters(counter(b"1", 10)).await.unwrap();
    store.save_counters(counter(b"2", 30)).await.unwrap();
    assert_eq!(
        store.sweep(20, 10).await,
        Ok(Swept::default()),
        "extended, so not yet"
    );
    assert_eq!(
        store.counters().await,
        Ok(vec![(b"k".to_vec(), b"2".to_vec())])
    );
    store.save_counters(counter(b"3", 25)).await.unwrap();
    assert_eq!(
        store.sweep(25, 10).await.unwrap().counters,
        1,
        "shortened, so already"
    );
    assert_eq!(store.counters().await, Ok(vec![]));
    assert_eq!(
        store.sweep(u64::MAX, 10).await,
        Ok(Swept::default()),
        "no index row is left"
    );
}

#[tokio::test]
async fn a_sweep_stops_at_its_limit_and_says_so() {
    let folder = Folder::new();
    let store = folder.open();
    let counter = |number: u8| (vec![number], vec![1], u64::from(number));
    let counters = (0..5).map(counter).collect();
    store.save_counters(counters).await.unwrap();
    let first = store.sweep(10, 3).await.unwrap();
    assert_eq!((first.counters, first.more), (3, true));
    let left = store.counters().await.unwrap();
    let keys: Vec<_> = left.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [[3], [4]], "the oldest go first");
    let second = store.sweep(10, 3).await.unwrap();
    assert_eq!((second.counters, second.more), (2, false));
}

#[tokio::test]
async fn the_log_comes_back_in_order() {
    let folder = Folder::new();
    let store = folder.open();
    let batch = LogBatch {
        put: vec![
            (2, 1, b"c".to_vec()),
            (1, 256, b"b".to_vec()),
            (1, 2, b"a".to_vec()),
            (3, 1, b"gone".to_vec()),
        ],
        delete: vec![(3, 1), (9, 9)],
        state: vec![
            (b"y".to_vec(), Some(vec![2])),
            (b"x".to_vec(), Some(vec![1])),
        ],
        durable: true,
    };
    store.commit_log(batch).await.unwrap();
    let unset = LogBatch {
        state: vec![(b"y".to_vec(), None)],
        ..LogBatch::default()
    };
    store.commit_log(unset).await.unwrap();
    store.close().await.unwrap();

    let dump = folder.open().load_log().await.unwrap();
    let entries = vec![
        (1, 2, b"a".to_vec()),
        (1, 256, b"b".to_vec()),
        (2, 1, b"c".to_vec()),
    ];
    assert_eq!(
        (dump.entries, dump.state),
        (entries, vec![(b"x".to_vec(), vec![1])])
    );
}

#[tokio::test]
async fn meta_and_the_slot_table_come_back() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.slot_table().await, Ok(None));
    assert_eq!(store.meta("node").await, Ok(None));
    store.put_slot_table(b"table".to_vec()).await.unwrap();
    store.put_meta("node", b"id".to_vec()).await.unwrap();
    store.close().await.unwrap();
    let store = folder.open();
    assert_eq!(store.slot_table().await, Ok(Some(b"table".to_vec())));
    assert_eq!(store.meta("node").await, Ok(Some(b"id".to_vec())));
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_queued() {
    let folder = Folder::new();
    let store = folder.open();
    let long = "x".repeat(5_000);
    let refused = store.put_session(session(&long, "u", 1)).await;
    let (what, len, max) = ("session id", 5_000, 4_096);
    assert_eq!(refused, Err(StoreError::TooLong { what, len, max }));
    assert_eq!(store.sessions(None, 9).await, Ok(vec![]));
}

/// Values above half a segment go to files of their own inside sled.
#[tokio::test]
async fn a_large_value_comes_back_after_a_restart() {
    let folder = Folder::new();
    let store = folder.open();
    let large = vec![7; 3 << 20];
    let batch = LogBatch {
        put: vec![(1, 1, large.clone())],
        durable: true,
        ..LogBatch::default()
    };
    store.commit_log(batch).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(
        folder.open().load_log().await.unwrap().entries,
        vec![(1, 1, large)]
    );
}

#[tokio::test]
async fn a_shared_session_is_known_until_it_ends_or_is_forgotten() {
    let folder = Folder::new();
    let store = folder.open();
    let read = |document: &str, expires_ms| SharedSession {
        document: document.into(),
        id: "s".into(),
        user: "ann".into(),
        expires_ms,
        read_ms: 5,
        content: 7,
    };
    store.put_shared(read("a", 1_000)).await.unwrap();
    store.put_shared(read("a", 2_000)).await.unwrap();
    store.put_shared(read("b", u64::MAX)).await.unwrap();
    assert_eq!(store.recent_shared("a"), Some(read("a", 2_000)));
    store.close().await.unwrap();
    let store = folder.open();
    assert_eq!(store.recent_shared("a"), None);
    assert_eq!(store.shared("a").await, Ok(Some(read("a", 2_000))));
    assert_eq!(store.recent_shared("a"), Some(read("a", 2_000)));
    store.forget_shared("a").await.unwrap();
    assert_eq!(store.recent_shared("a"), None);
    assert_eq!(store.shared("a").await, Ok(None));
    assert_eq!(store.sweep(3_000, 10).await, Ok(Swept::default()));
    let swept = store.sweep(30 * 24 * 60 * 60 * 1_000, 10).await.unwrap();
    assert_eq!(swept.shared, 1, "one without an end is not known for ever");
}
