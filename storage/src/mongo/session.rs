//! PURE: sessions as `express-session` with `connect-mongo` stores them, taken apart.
//!
//! `{ _id, session, expires?, lastModified?, … }`, where `session` is the session's JSON as text, the
//! same as a sub-document (`stringify: false`), or encrypted. What a session holds beside its user is
//! the application's and is not looked at.

mod cipher;
mod form;

use mongodb::bson::raw::{RawBsonRef, RawDocument};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use cipher::Cipher;
pub use form::{DocumentId, FieldPath, FormError};

/// How an application's sessions are stored.
#[derive(Clone, Debug)]
pub struct SessionFormat {
    /// Where the user's id stands in a session.
    pub user_field: FieldPath,
    /// What the `_id` of a session's document is made of.
    pub document_id: DocumentId,
    /// What sessions are encrypted with, if they are.
    pub cipher: Option<Cipher>,
}

/// What a session's document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Whose login it is; nobody's, if nobody has logged in.
    pub user: Option<String>,
    /// From when on it is no longer valid, unix milliseconds; never, if it says nothing.
    pub expires_ms: u64,
    /// Tells one content from another; see [`content`].
    pub content: u64,
}

/// Why a session's document cannot be read. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no BSON, or has a part that is none.
    #[error("it is not BSON")]
    Bson,
    /// `session` is missing, or neither text nor a sub-document.
    #[error("its field `session` is neither text nor a document")]
    Session,
    /// The text is not JSON. It may be encrypted.
    #[error("its `session` is not JSON; if it is encrypted, session.secret must be set")]
    Json,
    /// The text cannot be decrypted with the secret that is configured.
    #[error("its `session` cannot be decrypted with session.secret")]
    Cipher,
    /// The user's id is neither text, nor a whole number, nor an ObjectId.
    #[error("its user id is neither text, nor a whole number, nor an ObjectId")]
    User,
    /// `expires` is no date.
    #[error("its field `expires` is not a date")]
    Expires,
}

/// Tells one content of a session from another without taking it apart: a digest of the stored field
/// `session`. Deciphering it may take tens of milliseconds.
pub fn content(document: &RawDocument) -> Result<u64, Malformed> {
    let session = document.get("session").map_err(|_| Malformed::Bson)?;
    let bytes = match session {
        Some(RawBsonRef::String(text)) => text.as_bytes(),
        Some(RawBsonRef::Document(session)) => session.as_bytes(),
        _ => return Err(Malformed::Session),
    };
    let hash = Sha256::digest(bytes);
    let first = hash.first_chunk().expect("a SHA-256 digest has 32 bytes");
    Ok(u64::from_be_bytes(*first))
}

/// From when on a session is no longer valid.
pub fn expires_ms(document: &RawDocument) -> Result<u64, Malformed> {
    match document.get("expires").map_err(|_| Malformed::Bson)? {
        Some(RawBsonRef::DateTime(at)) => Ok(at.timestamp_millis().max(0).unsigned_abs()),
        None | Some(RawBsonRef::Null) => Ok(u64::MAX),
        Some(_) => Err(Malformed::Expires),
    }
}

impl SessionFormat {
    /// Whether taking a session apart takes long, and is not for a thread that others wait for.
    pub fn is_slow(&self) -> bool {
        self.cipher.is_some()
    }

    /// Takes a session's document apart.
    pub fn read(&self, document: &RawDocument) -> Result<StoredSession, Malformed> {
        let expires_ms = expires_ms(document)?;
        let content = content(document)?;
        let user = match document.get("session").map_err(|_| Malformed::Bson)? {
            Some(RawBsonRef::String(text)) => {
                let session = self.parse(text)?;
                form::user_in_json(&session, &self.user_field)?
            }
            Some(RawBsonRef::Document(session)) => form::user_in_bson(session, &self.user_field)?,
            _ => return Err(Malformed::Session),
        };
        Ok(StoredSession {
            user,
            expires_ms,
            content,
        })
    }

    fn parse(&self, text: &str) -> Result<Value, Malformed> {
        // Sessions that were stored before an application began to encrypt are still about.
        match (serde_json::from_str(text), &self.cipher) {
            (Ok(session), _) => Ok(session),
            (Err(_), None) => Err(Malformed::Json),
            (Err(_), Some(cipher)) => {
                let clear = cipher.open(text).ok_or(Malformed::Cipher)?;
                match serde_json::from_str(&clear).map_err(|_| Malformed::Json)? {
                    // connect-mongo's older form writes JSON of the JSON.
                    Value::String(inner) => {
                        serde_json::from_str(&inner).map_err(|_| Malformed::Json)
                    }
                    session => Ok(session),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
