use super::{Caller, KeyRefusal, Keys, Scope, Scopes};
use crate::app::accounts::AccountError;
use crate::app::passwords::Passwords;
use std::time::Duration;
use tempfile::TempDir;
use tidings_storage::{Store, StoreConfig};

const T0: u64 = 1_800_000_000_000;

async fn bench(configured: Option<&str>) -> (Keys, Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(StoreConfig::new(folder.path().join("store"))).unwrap();
    (
        Keys::new(store.clone(), Passwords::default(), configured),
        store,
        folder,
    )
}

fn with_other_secret(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "x" { "y" } else { "x" })
}

async fn is_unauthorized(keys: &Keys, token: &str) -> bool {
    matches!(keys.verify(token, T0).await, Err(KeyRefusal::Unauthorized))
}

#[tokio::test]
async fn a_key_is_known_by_its_secret_alone() {
    let (keys, store, _folder) = bench(None).await;
    let scopes = Scopes::from_iter([Scope::Emit, Scope::Read]);
    let new = keys.create("backend", scopes, T0).await.unwrap();
    assert_eq!(new.token.len(), "tk_".len() + 10 + 1 + 32);
    assert!(new.token.starts_with(&format!("tk_{}_", new.view.id)));
    let secret = new.token.rsplit('_').next().unwrap();
    let stored = store.key(&new.view.id).await.unwrap().unwrap();
    assert!(stored.hash.starts_with("$argon2id$") && !stored.hash.contains(secret));

    for _ in 0..2 {
        let caller = keys.verify(&new.token, T0).await.unwrap();
        assert_eq!(
            caller,
            Caller {
                key: new.view.id.as_str().into(),
                scopes
            }
        );
        caller.require(Scope::Emit).unwrap();
        let lacking = caller.require(Scope::Admin).unwrap_err();
        assert_eq!((lacking.code(), lacking.status()), ("forbidden", 403));
        assert!(is_unauthorized(&keys, &with_other_secret(&new.token)).await);
    }
    let foreign = format!("tk_{}_{secret}", "0".repeat(10));
    for token in [
        "",
        "tk_",
        "tk__",
        "Bearer x",
        &new.token[3..],
        &new.token[..20],
        &foreign,
    ] {
        assert!(is_unauthorized(&keys, token).await, "{token}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_let_in_no_more() {
    let (keys, _store, _folder) = bench(None).await;
    let used = keys.create("used", Scopes::ALL, T0).await.unwrap();
    let unused = keys.create("unused", Scopes::ALL, T0).await.unwrap();
    keys.verify(&used.token, T0).await.unwrap();
    assert_eq!(keys.list().await.unwrap().len(), 2);
    for key in [used, unused] {
        keys.revoke(&key.view.id).await.unwrap();
        assert!(is_unauthorized(&keys, &key.token).await);
        assert!(matches!(
            keys.revoke(&key.view.id).await,
            Err(AccountError::NotFound("key"))
        ));
    }
    assert!(keys.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_revoked_while_it_is_checked_is_not_remembered() {
    let (keys, _store, _folder) = bench(None).await;
    let new = keys.create("used", Scopes::ALL, T0).await.unwrap();
    let revoke = async {
        // Long enough for the check to have read the key, far too short for it to have hashed it.
        tokio::time::sleep(Duration::from_millis(8)).await;
        keys.revoke(&new.view.id).await.unwrap();
    };
    let _ = tokio::join!(keys.verify(&new.token, T0), revoke);
    assert!(keys.known().verified.is_empty());
    assert!(is_unauthorized(&keys, &new.token).await);
}

#[tokio::test]
async fn wrong_secrets_cost_only_so_much() {
    let (keys, _store, _folder) = bench(None).await;
    let new = keys.create("backend", Scopes::ALL, T0).await.unwrap();
    let wrong = with_other_secret(&new.token);
    for _ in 0..10 {
        assert!(is_unauthorized(&keys, &wrong).await);
    }
    let limited = keys.verify(&wrong, T0).await.unwrap_err();
    assert_eq!((limited.code(), limited.status()), ("rate_limited", 429));
    // Once the key is known, a wrong secret is told without a hash, as often as it comes.
    keys.verify(&new.token, T0 + 60_000).await.unwrap();
    for _ in 0..1_000 {
        assert!(is_unauthorized(&keys, &wrong).await);
    }
    assert!(keys.known().checks.is_empty());
}

#[tokio::test]
async fn a_first_rush_is_hashed_once() {
    let (keys, _store, _folder) = bench(None).await;
    let new = keys.create("backend", Scopes::ALL, T0).await.unwrap();
    let rush: Vec<_> = (0..50)
        .map(|_| {
            let (keys, token) = (keys.clone(), new.token.clone());
            tokio::spawn(async move { keys.verify(&token, T0).await.is_ok() })
        })
        .collect();
    for one in rush {
        assert!(one.await.unwrap());
    }
}

#[tokio::test]
async fn the_configured_key_may_do_everything() {
    let (keys, _store, _folder) = bench(Some("let me in")).await;
    let caller = keys.verify("let me in", T0).await.unwrap();
    assert_eq!((&*caller.key, caller.scopes), ("configured", Scopes::ALL));
    for token in ["let me i", "let me in ", ""] {
        assert!(is_unauthorized(&keys, token).await);
    }
    let (keys, ..) = bench(None).await;
    assert!(is_unauthorized(&keys, "let me in").await);
}

#[tokio::test]
async fn a_key_needs_a_name_and_a_scope() {
    let (keys, _store, _folder) = bench(None).await;
    for (name, scopes) in [
        ("", Scopes::ALL),
        ("a\nb", Scopes::ALL),
        ("a", Scopes::NONE),
    ] {
        let refused = keys.create(name, scopes, T0).await.err().unwrap();
        assert_eq!(refused.code(), "invalid_params");
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_a_wrong_key() {
    let (keys, store, _folder) = bench(None).await;
    let new = keys.create("backend", Scopes::ALL, T0).await.unwrap();
    store.close().await.unwrap();
    let refusal = keys.verify(&new.token, T0).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.status()), ("unavailable", 503));
}
