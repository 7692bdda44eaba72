//! Who may look, and for how long.
//!
//! A page shows a name and a password, or what it was given when it did: a text that names the
//! operator and its end, signed with the secrets of session cookies. So nothing has to be kept, and
//! every node with the same secrets knows it. It also names what the operator's password was, and
//! ends with that password.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    app::{
        cookie::Keyring,
        handler::{Admission, BoxFuture, Refusal},
        limits::Limits,
        passwords::{PasswordError, Passwords},
        random,
    },
    config::Secret,
    live::Live,
    shard::machine::Reason,
};

/// How long a login lasts; the reference's lasts as long.
const TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// What the page asks to log in upon; it looks for exactly this.
const REFUSED: &str = "invalid credentials";

/// What signed texts of this kind begin with: other texts are signed with the same secrets.
const KIND: &str = "admin-ui";

/// Tells an operator's password from others without telling it.
pub type Stamp = String;

/// The accounts of those who may look. The configured one is an [`Operator`]; whoever keeps
/// accounts elsewhere fits them here.
pub trait Operators: Send + Sync + 'static {
    /// Whether the password is the one of that name, after the same time whether there is such a
    /// name or not: the password's stamp if it is.
    fn check(
        &self,
        name: String,
        password: String,
    ) -> BoxFuture<Result<Option<Stamp>, PasswordError>>;

    /// The stamp of a name's password now; nothing if there is no such name.
    fn stamp(&self, name: String) -> BoxFuture<Option<Stamp>>;
}

/// The one operator of the configuration.
pub struct Operator {
    name: String,
    /// The argon2id hash of the password.
    hash: Secret,
    passwords: Passwords,
}

impl Operator {
    /// An operator with the hash of a password.
    pub fn new(name: String, hash: Secret) -> Self {
        Self {
            name,
            hash,
            passwords: Passwords::apart(),
        }
    }

    /// Whether it is the name, wherever it differs in the same time.
    fn is_called(&self, name: &str) -> bool {
        let digest = |name: &str| Sha256::digest(name);
        digest(name).ct_eq(&digest(&self.name)).into()
    }

    fn own_stamp(&self) -> Stamp {
        BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(self.hash.expose())[..12])
    }
}

impl Operators for Operator {
    fn check(
        &self,
        name: String,
        password: String,
    ) -> BoxFuture<Result<Option<Stamp>, PasswordError>> {
        let hash = self.is_called(&name).then(|| self.hash.clone());
        let (passwords, stamp) = (self.passwords.clone(), self.own_stamp());
        Box::pin(async move {
            let hash = hash.as_ref().map(Secret::expose);
            let is_right = passwords.verify(&password, hash).await?;
            Ok(is_right.then_some(stamp))
        })
    }

    fn stamp(&self, name: String) -> BoxFuture<Option<Stamp>> {
        let stamp = self.is_called(&name).then(|| self.own_stamp());
        Box::pin(std::future::ready(stamp))
    }
}

/// What the page shows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
}

/// What a signed text says.
#[derive(Debug, PartialEq, Eq)]
struct Pass {
    name: String,
    expires_ms: u64,
    stamp: Stamp,
}

/// Lets operators in.
pub(super) struct Login {
    operators: Box<dyn Operators>,
    keyring: Live<Keyring>,
    /// Counts attempts.
    limits: Limits,
}

impl Login {
    pub(super) fn new(
        operators: Box<dyn Operators>,
        keyring: Live<Keyring>,
        limits: Limits,
    ) -> Self {
        Self {
            operators,
            keyring,
            limits,
        }
    }

    /// Judges a CONNECT payload.
    pub(super) async fn admit(
        &self,
        auth: Option<&RawValue>,
        ip: IpAddr,
        now_ms: u64,
    ) -> Result<Admission, Refusal> {
        let shown = auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let shown: Shown = shown.unwrap_or_default();
        if let Some(text) = shown.session_id {
            let pass = read(&self.keyring.now(), &text).ok_or_else(refused)?;
            let now = self.operators.stamp(pass.name).await;
            if pass.expires_ms <= now_ms || now.as_ref() != Some(&pass.stamp) {
                return Err(refused());
            }
            return Ok(admission(text, pass.expires_ms));
        }
        let (Some(name), Some(password)) = (shown.username, shown.password) else {
            return Err(refused());
        };
        // Clients have names, too; neither they nor whoever guesses elsewhere shall use up the
        // attempts of an operator. What is guessed in all is bounded by one hash at a time.
        if let Err(after) = self
            .limits
            .login(ip, &format!("{KIND}\0{ip}\0{name}"), now_ms)
        {
            tracing::warn!(%ip, %after, "too many attempts to log in to the admin UI");
            return Err(refused());
        }
        match self.operators.check(name.clone(), password).await {
            Ok(Some(stamp)) => {
                tracing::info!(%ip, operator = %name, "logged in to the admin UI");
                let expires_ms = now_ms + TTL_MS;
                let pass = Pass {
                    name,
                    expires_ms,
                    stamp,
                };
                Ok(admission(write(&self.keyring.now(), &pass), expires_ms))
            }
            Ok(None) => {
                tracing::warn!(%ip, "a wrong name or password for the admin UI");
                Err(refused())
            }
            Err(PasswordError::Busy) => Err(Refusal::Passing(Reason::Unavailable)),
            Err(error) => {
                tracing::error!(%error, "the admin UI's password cannot be checked");
                Err(refused())
            }
        }
    }

    /// Whose a session is.
    pub(super) fn name(&self, session: Option<&str>) -> String {
        let pass = session.and_then(|text| read(&self.keyring.now(), text));
        pass.map(|pass| pass.name).unwrap_or_default()
    }
}

/// The socket lives no longer than its login.
fn admission(text: String, expires_ms: u64) -> Admission {
    Admission {
        user: None,
        session: Some(text.into()),
        expires_ms: Some(expires_ms),
        rooms: Vec::new(),
    }
}

/// Always the same: why is nobody's business.
fn refused() -> Refusal {
    Refusal::Final {
        message: REFUSED.to_owned(),
        data: None,
    }
}

fn write(keyring: &Keyring, pass: &Pass) -> String {
    let name = BASE64_URL_SAFE_NO_PAD.encode(&pass.name);
    let Pass {
        expires_ms, stamp, ..
    } = pass;
    let nonce = random::base62(12);
    keyring.sign(&format!("{KIND}.{name}.{expires_ms}.{stamp}.{nonce}"))
}

fn read(keyring: &Keyring, text: &str) -> Option<Pass> {
    let signed = keyring.verify(text)?;
    let mut parts = signed.split('.');
    if parts.next() != Some(KIND) {
        return None;
    }
    let name = BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let pass = Pass {
        name: String::from_utf8(name).ok()?,
        expires_ms: parts.next()?.parse().ok()?,
        stamp: parts.next()?.to_owned(),
    };
    (parts.next().is_some() && parts.next().is_none()).then_some(pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{limits::Rules, passwords::hash_now};

    const NOW: u64 = 1_000_000;

    fn login(password: &str, limit: u32) -> Login {
        let hash = Secret::new(hash_now(password).unwrap());
        let keyring = Keyring::new(["a secret of cookies"]).unwrap();
        let rules = Rules {
            logins_per_ip: limit,
            ..Rules::default()
        };
        Login::new(
            Box::new(Operator::new("admin".into(), hash)),
            Live::new(keyring),
            Limits::new(rules),
        )
    }

    async fn admit(login: &Login, auth: serde_json::Value, now_ms: u64) -> Option<Admission> {
        let auth = RawValue::from_string(auth.to_string()).unwrap();
        let ip = [192, 0, 2, 1].into();
        match login.admit(Some(&auth), ip, now_ms).await {
            Ok(admission) => Some(admission),
            Err(Refusal::Final { message, data }) => {
                assert_eq!((&*message, data.is_none()), ("invalid credentials", true));
                None
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn password(name: &str, password: &str) -> serde_json::Value {
        serde_json::json!({ "username": name, "password": password })
    }

    #[tokio::test]
    async fn a_login_is_known_again_until_its_end_or_another_password() {
        let one = login("right", 0);
        let admission = admit(&one, password("admin", "right"), NOW).await.unwrap();
        assert_eq!(admission.user, None);
        let session = admission.session.unwrap();
        assert_eq!(one.name(Some(&session)), "admin");
        let again = serde_json::json!({ "sessionId": *session });
        assert!(admit(&one, again.clone(), NOW + TTL_MS - 1).await.is_some());
        assert!(admit(&one, again.clone(), NOW + TTL_MS).await.is_none());
        // The same password, hashed anew, is another one.
        assert!(admit(&login("right", 0), again, NOW).await.is_none());
    }

    #[tokio::test]
    async fn whatever_else_is_shown_is_refused_alike() {
        let login = login("right", 0);
        let cookie = Keyring::new(["a secret of cookies"]).unwrap();
        let cookie = cookie.sign("some session id");
        for auth in [
            password("admin", "wrong"),
            password("admin", ""),
            password("root", "right"),
            serde_json::json!({}),
            serde_json::json!({ "username": "admin" }),
            serde_json::json!({ "username": 1, "password": ["right"] }),
            serde_json::json!({ "sessionId": "" }),
            serde_json::json!({ "sessionId": cookie }),
            serde_json::json!([]),
        ] {
            assert!(admit(&login, auth.clone(), NOW).await.is_none(), "{auth}");
        }
    }

    #[tokio::test]
    async fn attempts_of_an_address_are_limited() {
        let login = login("right", 2);
        for (given, lets_in) in [("wrong", false), ("right", true), ("right", false)] {
            let admitted = admit(&login, password("admin", given), NOW).await;
            assert_eq!(admitted.is_some(), lets_in, "{given}");
        }
    }
}
