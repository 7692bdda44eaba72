use super::{Authenticator, Credentials, Login, Refusal};
use crate::app::cookie::Keyring;
use crate::live::Live;
use proptest::prelude::{any, prop_assert, proptest};
use tempfile::TempDir;
use tidings_storage::{Session, Store, StoreConfig};

const T0: u64 = 1_800_000_000_000;

/// An authenticator over one session, `good` of ann, and one that has ended, `old` of ann.
async fn bench() -> (Authenticator, Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(StoreConfig::new(folder.path().join("store"))).unwrap();
    for (id, expires_ms) in [("good", T0 + 1), ("old", T0)] {
        let (id, user) = (id.to_owned(), "ann".to_owned());
        let session = Session {
            id,
            user,
            created_ms: T0 - 9,
            expires_ms,
        };
        store.put_session(session).await.unwrap();
    }
    let authenticator =
        Authenticator::sessions(store.clone(), "connect.sid", Live::new(ring()), None, None);
    (authenticator, store, folder)
}

fn ring() -> Keyring {
    Keyring::new(["new secret", "old secret"]).unwrap()
}

fn ann() -> Login {
    Login {
        session: "good".into(),
        user: "ann".into(),
        expires_ms: T0 + 1,
    }
}

async fn code(authenticator: &Authenticator, auth: &str, cookie: Option<&str>) -> String {
    let cookie = cookie.map(|value| format!("theme=dark; connect.sid={value}"));
    match authenticator.connect(Some(auth), cookie, T0).await {
        Ok(login) => {
            assert_eq!(login, ann());
            "ok".to_owned()
        }
        Err(refusal) => format!("{}: {refusal}", refusal.code()),
    }
}

#[tokio::test]
async fn a_session_of_the_user_lets_in() {
    let (authenticator, _store, _folder) = bench().await;
    for (auth, outcome) in [
        (r#"{"sessionID":"good","userId":"ann"}"#, "ok"),
        (r#"{"sessionID":"go\u006fd","userId":"ann","x":[1]}"#, "ok"),
        (
            r#"{"sessionID":"good","userId":"bob"}"#,
            "user_mismatch: the session belongs",
        ),
        (
            r#"{"sessionID":"old","userId":"ann"}"#,
            "expired_session: the session has expired",
        ),
        (
            r#"{"sessionID":"old","userId":"bob"}"#,
            "user_mismatch: the session belongs",
        ),
        (
            r#"{"sessionID":"none","userId":"ann"}"#,
            "invalid_session: there is no such",
        ),
        (
            r#"{"sessionID":"","userId":"ann"}"#,
            "invalid_session: there is no such",
        ),
        (
            r#"{"sessionID":"gööd","userId":"ann"}"#,
            "invalid_session: there is no such",
        ),
        (
            r#"{"sessionID":"good"}"#,
            "missing_credentials: userId is missing",
        ),
        (
            r#"{"sessionID":"good","userId":null}"#,
            "missing_credentials: userId is missing",
        ),
        (
            r#"{"userId":"ann"}"#,
            "missing_credentials: sessionID is missing",
        ),
        ("{}", "missing_credentials: sessionID and userId is missing"),
        (
            r#"{"sessionID":7,"userId":"ann"}"#,
            "missing_credentials: sessionID is not a string",
        ),
        (
            r#"{"sessionID":"good","userId":["ann"]}"#,
            "missing_credentials: userId is not a",
        ),
        ("7", "missing_credentials: auth must be an object"),
    ] {
        let answer = code(&authenticator, auth, None).await;
        assert!(answer.starts_with(outcome), "{auth}: {answer}");
    }
    let nothing = authenticator.connect(None, None, T0).await.unwrap_err();
    assert_eq!(nothing.code(), "missing_credentials");
    let long = format!(r#"{{"sessionID":"{}","userId":"ann"}}"#, "x".repeat(5_000));
    assert!(
        code(&authenticator, &long, None)
            .await
            .starts_with("invalid_session")
    );
}

#[tokio::test]
async fn a_signed_cookie_lets_in() {
    let (authenticator, _store, _folder) = bench().await;
    let old_secret = Keyring::new(["old secret"]).unwrap();
    let foreign = Keyring::new(["foreign"]).unwrap().sign("good");
    let stale_first = format!("{foreign}; connect.sid={}", ring().sign("good"));
    for (auth, cookie, outcome) in [
        ("{}", ring().sign("good"), "ok"),
        ("{}", old_secret.sign("good"), "ok"),
        ("{}", stale_first, "ok"),
        (r#"{"userId":"ann"}"#, ring().sign("good"), "ok"),
        (r#"{"userId":"bob"}"#, ring().sign("good"), "user_mismatch"),
        ("{}", ring().sign("old"), "expired_session"),
        ("{}", ring().sign("none"), "invalid_session"),
        ("{}", ring().sign("go\nod"), "invalid_session"),
        (
            "{}",
            foreign,
            "invalid_session: the cookie connect.sid is not signed",
        ),
        (
            "{}",
            "good".to_owned(),
            "invalid_session: the cookie connect.sid is not signed",
        ),
        (
            r#"{"sessionID":"none","userId":"ann"}"#,
            ring().sign("good"),
            "invalid_session",
        ),
        (
            r#"{"sessionID":"good"}"#,
            ring().sign("good"),
            "missing_credentials",
        ),
    ] {
        let answer = code(&authenticator, auth, Some(&cookie)).await;
        assert!(answer.starts_with(outcome), "{auth} {cookie}: {answer}");
    }
}

#[tokio::test]
async fn a_store_that_fails_refuses_only_for_now() {
    let (authenticator, store, _folder) = bench().await;
    store.close().await.unwrap();
    let auth = r#"{"sessionID":"good","userId":"ann"}"#;
    let refusal = authenticator
        .connect(Some(auth), None, T0)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable(_)) && refusal.code() == "unavailable");
}

#[tokio::test]
async fn where_nobody_is_asked_everyone_is_who_they_say() {
    let long = format!(r#"{{"userId":"{}"}}"#, "x".repeat(129));
    for (auth, user) in [
        (Some(r#"{"userId":"ann"}"#), "ann"),
        (Some(r#"{"userId":"a\nb"}"#), "anonymous"),
        (Some(r#"{"userId":7}"#), "anonymous"),
        (Some(long.as_str()), "anonymous"),
        (None, "anonymous"),
    ] {
        let login = Authenticator::open().connect(auth, None, T0).await.unwrap();
        assert_eq!(
            (&*login.user, &*login.session, login.expires_ms),
            (user, "", u64::MAX)
        );
    }
}

proptest! {
    #[test]
    fn any_auth_is_parsed_or_refused(auth in any::<String>(), id in any::<String>()) {
        let _ = Credentials::parse(Some(&auth), None);
        let auth = serde_json::json!({ "sessionID": id, "userId": "ann", "more": auth });
        let credentials = Credentials::parse(Some(&auth.to_string()), None).unwrap();
        prop_assert!(credentials.session_id == Some(id) && credentials.user_id.is_some());
    }
}
