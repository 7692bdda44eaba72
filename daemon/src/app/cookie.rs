//! The session cookie as `express-session` signs it, so that an application's own login counts here
//! and the other way round. Pure.
//!
//! `s:` + session id + `.` + base64(HMAC-SHA256(secret, id)) without padding, all of it
//! percent-encoded as JavaScript's `encodeURIComponent` does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use std::fmt::{self, Debug, Formatter};
use subtle::{Choice, ConstantTimeEq};

const PREFIX: &str = "s:";
/// What `encodeURIComponent` escapes (ECMA-262, 19.2.6.4).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The secrets that sign session cookies. The first one signs; every one verifies, so that a secret
/// can be replaced while cookies signed with the old one are still about.
#[derive(Clone)]
pub struct Keyring {
    signer: Hmac<Sha256>,
    others: Vec<Hmac<Sha256>>,
}

impl Keyring {
    /// A ring of the secrets given; nothing without any.
    pub fn new(secrets: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Option<Self> {
        let mut keys = secrets.into_iter().map(|secret| {
            Hmac::new_from_slice(secret.as_ref()).expect("HMAC takes a key of any length")
        });
        Some(Self {
            signer: keys.next()?,
            others: keys.collect(),
        })
    }

    /// The cookie's value for a session id.
    pub fn sign(&self, id: &str) -> String {
        let signed = format!("{PREFIX}{id}.{}", signature(&self.signer, id));
        utf8_percent_encode(&signed, ESCAPED).to_string()
    }

    /// The session id in a cookie's value, if one of the secrets signed it. Takes the same time
    /// whichever secret did, and wherever a wrong signature differs.
    pub fn verify(&self, value: &str) -> Option<String> {
        let decoded = percent_decode_str(value).decode_utf8().ok()?;
        let (id, given) = decoded.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let keys = std::iter::once(&self.signer).chain(&self.others);
        let found = keys.fold(Choice::from(0), |found, key| {
            found | signature(key, id).as_bytes().ct_eq(given.as_bytes())
        });
        bool::from(found).then(|| id.to_owned())
    }
}

impl Debug for Keyring {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} secrets)", 1 + self.others.len())
    }
}

fn signature(key: &Hmac<Sha256>, id: &str) -> String {
    let mut mac = key.clone();
    mac.update(id.as_bytes());
    STANDARD_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::Keyring;
    use percent_encoding::percent_decode;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::Index;

    /// Made with Node's own crypto: `'s:' + id + '.' + createHmac('sha256', secret).update(id)
    /// .digest('base64')` without padding, through `encodeURIComponent`.
    const FROM_NODE: [(&str, &str, &str); 3] = [
        (
            "keyboard cat",
            "Xc8qWv1nB0pZ_aR-7yTt3LkMdEfGhJ2u",
            "s%3AXc8qWv1nB0pZ_aR-7yTt3LkMdEfGhJ2u.mdjWt%2FPZbaG7gXu%2BCdJos21iQX25Rprt8ijv7adFhRY",
        ),
        (
            "s3cr3t",
            "id.with.dots",
            "s%3Aid.with.dots.l308WW623LcJRYC5MBWdqjmuoRyXPL3qpqPHrIs6WVo",
        ),
        (
            "ключ",
            "a b+c/d%",
            "s%3Aa%20b%2Bc%2Fd%25.rGJGnjoHD0EjLVdlginFV84Uyrmuv6d41RBOoTrXzRs",
        ),
    ];

    #[test]
    fn signs_and_verifies_as_express_session_does() {
        for (secret, id, value) in FROM_NODE {
            let ring = Keyring::new([secret]).unwrap();
            assert_eq!(ring.sign(id), value);
            assert_eq!(ring.verify(value).as_deref(), Some(id));
        }
    }

    #[test]
    fn every_secret_verifies_and_the_first_signs() {
        let old = Keyring::new(["old"]).unwrap();
        let new = Keyring::new(["new", "old", "older"]).unwrap();
        assert_eq!(new.verify(&old.sign("abc")).as_deref(), Some("abc"));
        assert_eq!(old.verify(&new.sign("abc")), None);
        assert_eq!(new.verify(&new.sign("abc")).as_deref(), Some("abc"));
        assert!(Keyring::new([""; 0]).is_none());
    }

    #[test]
    fn an_unsigned_value_is_no_session() {
        let ring = Keyring::new(["secret"]).unwrap();
        let good = ring.sign("abc");
        let unpadded = good.strip_prefix("s%3Aabc.").unwrap();
        for value in [
            "",
            "s%3A",
            "s%3Aabc",
            "s%3Aabc.",
            "abc",
            "%ff",
            "j%3A%7B%7D",
            &format!("abc.{unpadded}"),
            &format!("s%3Aabd.{unpadded}"),
            &format!("s%3A.{unpadded}"),
            &format!("{good}%3D"),
            &good[..good.len() - 1],
        ] {
            assert_eq!(ring.verify(value), None, "{value:?}");
        }
        assert_eq!(
            ring.verify(&good.replacen("s%3A", "s:", 1)).as_deref(),
            Some("abc")
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(
            format!("{:?}", Keyring::new(["hush", "hush2"])),
            "Some(Keyring(2 secrets))"
        );
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified(secret in any::<String>(), id in any::<String>()) {
            let ring = Keyring::new([&secret]).unwrap();
            let value = ring.sign(&id);
            prop_assert!(value.bytes().all(|b| b.is_ascii_graphic() && !b"\";,\\".contains(&b)));
            prop_assert_eq!(ring.verify(&value), Some(id));
        }

        #[test]
        fn no_changed_byte_verifies(
            id in "[a-zA-Z0-9_-]{1,40}",
            at in any::<Index>(),
            by in 1..64_u8,
        ) {
            let ring = Keyring::new(["secret"]).unwrap();
            let good = ring.sign(&id);
            let mut value = good.clone().into_bytes();
            value[at.index(good.len())] ^= by;
            // `%3a` is `%3A` in another spelling.
            let decoded = |bytes: &[u8]| percent_decode(bytes).collect::<Vec<u8>>();
            let same = decoded(&value) == decoded(good.as_bytes());
            let verified = String::from_utf8(value).ok().and_then(|value| ring.verify(&value));
            prop_assert_eq!(verified, same.then_some(id));
        }

        #[test]
        fn arbitrary_text_never_panics(value in any::<String>()) {
            prop_assert_eq!(Keyring::new(["secret"]).unwrap().verify(&value), None);
        }
    }
}
