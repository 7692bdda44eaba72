//! PURE: the two ways in which connect-mongo encrypts the field `session`.
//!
//! * `crypto.secret`, by kruptein 3: base64 of the DER of six octet strings (ciphertext and its MAC
//!   as base64 text, nonce, salt, tag, additional data as base64 text); AES-256-GCM, with a key made
//!   by PBKDF2-HMAC-SHA-512 of 15,000 rounds from a salt of its own: each takes milliseconds.
//! * `cryptoAdapter: createWebCryptoAdapter(…)`: base64 of nonce, ciphertext and tag; AES-256-GCM,
//!   with one key for all, made by PBKDF2-HMAC-SHA-256 of 310,000 rounds from a fixed salt.
//!
//! Both with the options that are connect-mongo's defaults.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hmac, pbkdf2};

/// connect-mongo's default salt of the newer form.
const WEB_SALT: &[u8] = b"connect-mongo:webcrypto-default-salt";

const WEB_ROUNDS: NonZeroU32 = NonZeroU32::new(310_000).expect("it is above 0");

const KRUPTEIN_ROUNDS: NonZeroU32 = NonZeroU32::new(15_000).expect("it is above 0");

/// Bytes of an AES-256 key, and of the nonce and tag of GCM.
const KEY: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;

/// The secret that an application encrypts its sessions with. Both forms are known by their looks.
#[derive(Clone)]
pub struct Cipher(Arc<Inner>);

struct Inner {
    secret: String,
    /// The newer form's key, made when it is first needed.
    web: OnceLock<[u8; KEY]>,
}

impl Cipher {
    /// What opens sessions that were encrypted with this secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            secret: secret.into(),
            web: OnceLock::new(),
        }))
    }

    /// What a text was before it was encrypted; nothing if it was not, or with another secret.
    pub(super) fn open(&self, text: &str) -> Option<String> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let clear = match octet_strings(&bytes) {
            Some(parts) => self.open_kruptein(&parts)?,
            None => self.open_web(bytes)?,
        };
        String::from_utf8(clear).ok()
    }

    fn open_kruptein(&self, [sealed, mac, nonce, salt, tag, aad]: &[&[u8]; 6]) -> Option<Vec<u8>> {
        let mut key = [0; KEY];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
        let secret = self.0.secret.as_bytes();
        pbkdf2::derive(algorithm, KRUPTEIN_ROUNDS, salt, secret, &mut key);
        let mac = BASE64_STANDARD.decode(mac).ok()?;
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA512, &key), sealed, &mac).ok()?;
        let mut bytes = BASE64_STANDARD.decode(sealed).ok()?;
        bytes.extend_from_slice(tag);
        let aad = BASE64_STANDARD.decode(aad).ok()?;
        unseal(&key, nonce, &aad, bytes)
    }

    fn open_web(&self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        if bytes.len() < NONCE + TAG {
            return None;
        }
        let sealed = bytes.split_off(NONCE);
        let key = self.0.web.get_or_init(|| {
            let mut key = [0; KEY];
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
            let secret = self.0.secret.as_bytes();
            pbkdf2::derive(algorithm, WEB_ROUNDS, WEB_SALT, secret, &mut key);
            key
        });
        unseal(key, &bytes, &[], sealed)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(***)")
    }
}

fn unseal(key: &[u8; KEY], nonce: &[u8], aad: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let clear = key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?;
    let len = clear.len();
    sealed.truncate(len);
    Some(sealed)
}

/// The six octet strings of a DER sequence, if these bytes are that and nothing else.
fn octet_strings(bytes: &[u8]) -> Option<[&[u8]; 6]> {
    const SEQUENCE: u8 = 0x30;
    const OCTET_STRING: u8 = 0x04;
    let (mut inside, rest) = element(SEQUENCE, bytes)?;
    let mut parts = [&[][..]; 6];
    for part in &mut parts {
        (*part, inside) = element(OCTET_STRING, inside)?;
    }
    (rest.is_empty() && inside.is_empty()).then_some(parts)
}

/// The content of the first DER element, if it has this tag, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, bytes) = bytes.split_first()?;
    let (first, bytes) = bytes.split_first()?;
    if *found != tag {
        return None;
    }
    let (len, bytes) = match first {
        short @ 0..0x80 => (usize::from(*short), bytes),
        long => {
            let (len, bytes) = bytes.split_at_checked(usize::from(long & 0x7f))?;
            if len.len() > 4 {
                return None;
            }
            let len = len
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (len, bytes)
        }
    };
    bytes.split_at_checked(len)
}
