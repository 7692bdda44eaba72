use super::{AccountError, AccountOptions, Accounts, SessionView, is_session_id, is_user, rfc3339};
use std::time::Duration;
use tempfile::TempDir;
use tidings_storage::{Session, Store, StoreConfig};

const T0: u64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn open_store(folder: &TempDir) -> Store {
    Store::open(StoreConfig::new(folder.path().join("store")))
        .unwrap()
        .0
}

fn options() -> AccountOptions {
    AccountOptions {
        session_ttl: HOUR,
        ..AccountOptions::default()
    }
}

async fn bench() -> (Accounts, Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder);
    (
        Accounts::open(store.clone(), options()).await.unwrap(),
        store,
        folder,
    )
}

fn ids(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.id.as_str()).collect()
}

impl Accounts {
    async fn seed(&self, user: &str, id: &str, ttl: Duration) -> Session {
        self.create_session(user, Some(ttl), Some(id.to_owned()), T0)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_user_logs_in_with_the_password_alone() {
    let (accounts, ..) = bench().await;
    let user = accounts.add_user("ann", "secret", T0).await.unwrap();
    assert_eq!(
        (user.name.as_str(), user.created.as_str()),
        ("ann", "2027-01-15T08:00:00.000Z")
    );
    let session = accounts.login("ann", "secret", T0).await.unwrap();
    assert_eq!(
        (session.user.as_str(), session.expires_ms),
        ("ann", T0 + 3_600_000)
    );
    assert_eq!(accounts.session(&session.id, T0).await.unwrap(), session);
    assert_ne!(
        accounts.login("ann", "secret", T0).await.unwrap().id,
        session.id
    );
    for (name, password) in [
        ("ann", "Secret"),
        ("ann", ""),
        ("bob", "secret"),
        ("a\n", "secret"),
    ] {
        let refused = accounts.login(name, password, T0).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.status()),
            ("invalid_credentials", 401),
            "{name}"
        );
    }
    assert_eq!(accounts.users().await.unwrap(), [user]);
}

#[tokio::test]
async fn users_are_added_once_and_legally() {
    let (accounts, ..) = bench().await;
    accounts.add_user("ann", "secret", T0).await.unwrap();
    let twice = accounts.add_user("ann", "other", T0).await.unwrap_err();
    assert_eq!((twice.code(), twice.status()), ("conflict", 409));
    accounts.login("ann", "secret", T0).await.unwrap();
    for (name, password) in [
        ("", "x"),
        ("a\u{7}", "x"),
        (&"x".repeat(129), "x"),
        ("bob", ""),
    ] {
        let refused = accounts.add_user(name, password, T0).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), ("invalid_params", 400));
    }
    let (one, two) = tokio::join!(
        accounts.add_user("eve", "one", T0),
        accounts.add_user("eve", "two", T0),
    );
    assert!(one.is_ok() != two.is_ok());
}

#[tokio::test]
async fn another_password_or_no_user_ends_the_sessions() {
    let (accounts, ..) = bench().await;
    accounts.add_user("ann", "old", T0).await.unwrap();
    accounts.seed("ann", "a1", HOUR).await;
    accounts.seed("ann", "a2", HOUR).await;
    accounts.seed("bob", "b1", HOUR).await;
    let ended = accounts.set_password("ann", "new", T0).await.unwrap();
    assert_eq!(ids(&ended.sessions), ["a1", "a2"]);
    accounts.login("ann", "old", T0).await.unwrap_err();
    let session = accounts.login("ann", "new", T0).await.unwrap();
    let ended = accounts.remove_user("ann", T0).await.unwrap();
    assert_eq!(ended.sessions, [session]);
    accounts.login("ann", "new", T0).await.unwrap_err();
    accounts.session("b1", T0).await.unwrap();
    for missing in [
        accounts.remove_user("ann", T0).await.unwrap_err(),
        accounts.set_password("ann", "x", T0).await.unwrap_err(),
    ] {
        assert_eq!((missing.code(), missing.status()), ("not_found", 404));
    }
}

#[tokio::test]
async fn a_login_under_way_does_not_outlive_its_password() {
    let (accounts, ..) = bench().await;
    accounts.add_user("ann", "old", T0).await.unwrap();
    for round in 0..4 {
        let (old, new) = (["old", "new"][round % 2], ["new", "old"][round % 2]);
        let (login, _) = tokio::join!(
            accounts.login("ann", old, T0),
            accounts.set_password("ann", new, T0),
        );
        let left = accounts.sessions_of("ann", T0).await.unwrap();
        assert!(
            left.is_empty(),
            "round {round}: {:?}",
            login.map(|session| session.id)
        );
    }
}

#[tokio::test]
async fn sessions_are_made_shown_and_ended() {
    let (accounts, ..) = bench().await;
    let made = accounts
        .create_session("app|7", None, None, T0)
        .await
        .unwrap();
    assert_eq!(made.expires_ms, T0 + 3_600_000);
    let view = serde_json::to_value(SessionView::from(&made)).unwrap();
    let shown = serde_json::json!({
        "sessionID": made.id, "userId": "app|7", "expires": "2027-01-15T09:00:00.000Z",
    });
    assert_eq!(view, shown);
    let short = accounts
        .seed("app|7", "my own", Duration::from_secs(1))
        .await;
    assert_eq!(accounts.sessions_of("app|7", T0).await.unwrap().len(), 2);
    assert_eq!(
        accounts.sessions_of("app|7", T0 + 1_000).await.unwrap(),
        std::slice::from_ref(&made)
    );
    let ended = accounts.session("my own", T0 + 1_000).await.unwrap_err();
    assert_eq!(ended.to_string(), "there is no such session");

    let ended = accounts.revoke_session("my own", T0).await.unwrap();
    assert_eq!(ended.sessions, [short]);
    let ended = accounts.revoke_user("app|7", T0).await.unwrap();
    assert_eq!(ended.sessions, [made]);
    let ended = accounts.revoke_user("app|7", T0).await.unwrap();
    assert_eq!(ended.sessions, []);
    for id in ["my own", "", "ä"] {
        assert_eq!(
            accounts.revoke_session(id, T0).await.unwrap_err().code(),
            "not_found"
        );
        assert_eq!(
            accounts.session(id, T0).await.unwrap_err().code(),
            "not_found"
        );
    }
}

#[tokio::test]
async fn a_session_is_prolonged_but_never_taken_over() {
    let (accounts, ..) = bench().await;
    accounts.seed("ann", "id", HOUR).await;
    let longer = accounts.seed("ann", "id", 2 * HOUR).await;
    assert_eq!(accounts.session("id", T0).await.unwrap(), longer);
    let other = accounts
        .create_session("bob", None, Some("id".to_owned()), T0)
        .await;
    assert!(matches!(other, Err(AccountError::Conflict("session"))));
    let over = T0 + 2 * 3_600_000;
    accounts
        .create_session("bob", None, Some("id".to_owned()), over)
        .await
        .unwrap();
    assert_eq!(
        ids(&accounts.sessions_of("bob", over).await.unwrap()),
        ["id"]
    );
    assert!(accounts.sessions_of("ann", 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_a_session_is_refused() {
    let (accounts, ..) = bench().await;
    let seconds = Duration::from_secs;
    for (user, ttl, id) in [
        ("", HOUR, "id"),
        ("a\0", HOUR, "id"),
        ("ann", seconds(0), "id"),
        ("ann", Duration::from_millis(999), "id"),
        ("ann", seconds(315_360_001), "id"),
        ("ann", Duration::MAX, "id"),
        ("ann", HOUR, ""),
        ("ann", HOUR, "i\nd"),
        ("ann", HOUR, &"x".repeat(257)),
    ] {
        let made = accounts
            .create_session(user, Some(ttl), Some(id.to_owned()), T0)
            .await;
        assert_eq!(
            made.unwrap_err().code(),
            "invalid_params",
            "{user} {ttl:?} {id}"
        );
    }
    accounts
        .create_session("ann", Some(seconds(315_360_000)), None, T0)
        .await
        .unwrap();
}

#[tokio::test]
async fn sessions_are_listed_page_by_page() {
    let (accounts, ..) = bench().await;
    for number in 0..10 {
        let ttl = if number % 2 == 0 {
            HOUR
        } else {
            Duration::from_secs(1)
        };
        accounts.seed("ann", &format!("s{number}"), ttl).await;
    }
    let later = T0 + 1_000;
    let page = accounts.sessions(None, 3, later).await.unwrap();
    assert_eq!(ids(&page), ["s0", "s2", "s4"]);
    let page = accounts
        .sessions(Some("s4".to_owned()), 3, later)
        .await
        .unwrap();
    assert_eq!(ids(&page), ["s6", "s8"]);
    assert!(
        accounts
            .sessions(Some("s8".to_owned()), 3, later)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_secret_of_its_own_outlives_a_restart() {
    let (accounts, store, folder) = bench().await;
    let cookie = accounts.keyring().now().sign("id");
    store.close().await.unwrap();
    drop((accounts, store));
    let store = open_store(&folder);
    let again = Accounts::open(store.clone(), options()).await.unwrap();
    assert_eq!(again.keyring().now().verify(&cookie).as_deref(), Some("id"));
    let configured = AccountOptions {
        cookie_secrets: vec!["mine".to_owned()],
        ..options()
    };
    let configured = Accounts::open(store, configured).await.unwrap();
    assert_eq!(configured.keyring().now().verify(&cookie), None);
}

#[test]
fn ids_are_judged() {
    for user in [
        "a",
        "ann@example.com",
        "auth0|x",
        "{symbol}",
        "Zoë Ω",
        &"é".repeat(128),
    ] {
        assert!(is_user(user), "{user}");
    }
    for user in ["", "a\tb", "\u{85}", "\u{7f}", &"é".repeat(129)] {
        assert!(!is_user(user), "{user:?}");
    }
    assert!(is_session_id("~ x!") && is_session_id(&"x".repeat(256)));
    for id in ["", "a\x7f", "a\n", "é", &"x".repeat(257)] {
        assert!(!is_session_id(id), "{id:?}");
    }
}

#[test]
fn times_never_leave_rfc_3339() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
}

#[tokio::test]
async fn what_ended_stays_ended_whoever_has_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&folder);
    let shared = AccountOptions {
        is_shared: true,
        ..options()
    };
    let accounts = Accounts::open(store.clone(), shared).await.unwrap();
    accounts.add_user("ann", "old", T0).await.unwrap();
    let one = accounts.seed("ann", "1", HOUR).await;
    let two = accounts.seed("ann", "2", HOUR).await;
    let bob = accounts.seed("bob", "3", HOUR).await;
    accounts.revoke_session("1", T0).await.unwrap();
    let ended = accounts.set_password("ann", "new", T0).await.unwrap();
    assert_eq!(ended.sessions, std::slice::from_ref(&two));
    for copy in [&one, &two] {
        assert!(!store.copy_session(copy.clone()).await.unwrap());
    }
    // With the same clock, they are later than what ended the others.
    let anew = accounts.seed("ann", "1", HOUR).await;
    let login = accounts.login("ann", "new", T0).await.unwrap();
    for copy in [anew, login, bob.clone()] {
        assert!(store.copy_session(copy).await.unwrap());
    }
    let shorter = accounts.seed("bob", "3", HOUR / 2).await;
    assert!(!store.copy_session(bob).await.unwrap());
    assert_eq!(accounts.session("3", T0).await.unwrap(), shorter);
    let kept = store.revocations(None, 0, 9).await.unwrap();
    let ends: Vec<u64> = kept.found.iter().map(|it| it.expires_ms).collect();
    let hour = T0 + 3_600_000;
    assert_eq!(ends, [hour, hour, T0 + 720 * 3_600_000]);
}

#[tokio::test]
async fn a_node_that_is_alone_remembers_nothing_that_ended() {
    let (accounts, store, _folder) = bench().await;
    accounts.seed("ann", "1", HOUR).await;
    accounts.seed("ann", "2", HOUR).await;
    accounts.revoke_session("1", T0).await.unwrap();
    accounts.revoke_user("ann", T0).await.unwrap();
    assert!(accounts.sessions_of("ann", T0).await.unwrap().is_empty());
    let kept = store.revocations(None, 0, 9).await.unwrap();
    assert_eq!(kept.found, []);
}
