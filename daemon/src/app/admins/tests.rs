use std::net::{IpAddr, Ipv4Addr};

use tidings_storage::{Store, StoreConfig};

use super::*;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse battery";

async fn admins() -> (tempfile::TempDir, Admins) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path().join("store"));
    let (store, _) = Store::open(config).unwrap();
    let admins = Admins::new(store, Passwords::default());
    admins.add("root", PASSWORD, 0).await.unwrap();
    (folder, admins)
}

fn code(error: LoginError) -> &'static str {
    match error {
        LoginError::Locked(_) => "locked",
        LoginError::Account(error) => error.code(),
    }
}

#[tokio::test]
async fn an_admin_logs_in_until_the_account_changes() {
    let (_folder, admins) = admins().await;
    let login = async |password| admins.login("root", password, HOME, 0).await;
    let one = login(PASSWORD).await.unwrap();
    let signed = admins.session(&one.token, 1).unwrap();
    assert_eq!((&*signed.name, signed.end_ms), ("root", ABSOLUTE_MS));
    assert_eq!(admins.logout(&one.token).as_deref(), Some("root"));
    assert!(admins.session(&one.token, 1).is_none());

    let one = login(PASSWORD).await.unwrap();
    let new = "another long password";
    assert_eq!(admins.set_password("root", new).await.unwrap(), 1);
    assert!(admins.session(&one.token, 1).is_none());
    assert!(login(PASSWORD).await.is_err());
    let one = login(new).await.unwrap();
    assert_eq!(admins.remove("root").await.unwrap(), 1);
    assert!(admins.session(&one.token, 1).is_none());
    assert!(login(new).await.is_err());
    assert!(matches!(
        admins.remove("root").await,
        Err(AccountError::NotFound(_))
    ));
}

#[tokio::test]
async fn nobody_is_told_from_somebody_by_no_answer() {
    let (_folder, admins) = admins().await;
    for name in ["root", "nobody", "\n"] {
        let mut seen = Vec::new();
        for _ in 0..7 {
            let refused = admins.login(name, "a wrong password", other(name), 0).await;
            seen.push(refused.map(drop).map_err(code).unwrap_err());
        }
        let expected = ["invalid_credentials"; 5].into_iter().chain(["locked"; 2]);
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{name:?}");
    }
    // Locked, the right password opens nothing either.
    let refused = admins.login("root", PASSWORD, HOME, 0).await;
    assert_eq!(refused.map(drop).map_err(code), Err("locked"));
    assert!(admins.login("root", PASSWORD, HOME, 1_000).await.is_ok());
}

/// An address for each name, so that only names are locked.
fn other(name: &str) -> IpAddr {
    let number = name.len() as u8;
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

#[tokio::test]
async fn attempts_at_the_same_time_do_not_slip_past() {
    let (_folder, admins) = admins().await;
    let attempts = (0..12).map(|_| admins.login("root", "a wrong password", HOME, 0));
    let judged = futures_util::future::join_all(attempts).await;
    let locked = judged
        .into_iter()
        .filter(|it| matches!(it, Err(LoginError::Locked(_))));
    assert_eq!(locked.count(), 7);
}

#[tokio::test]
async fn accounts_are_checked_and_never_replaced() {
    let (_folder, admins) = admins().await;
    for (name, password, code) in [
        ("root", PASSWORD, "conflict"),
        ("", PASSWORD, "invalid_params"),
        ("eve", "short", "invalid_params"),
    ] {
        let refused = admins.add(name, password, 0).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}");
    }
    admins.add("eve", PASSWORD, 5).await.unwrap();
    let names: Vec<_> = admins.list().await.unwrap();
    let names: Vec<_> = names.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["eve", "root"]);
}
