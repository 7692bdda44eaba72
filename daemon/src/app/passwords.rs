//! Passwords and API keys as argon2id hashes in PHC strings.
//!
//! One hash takes 19 MiB and some tens of milliseconds of a core, so few are under way at once, off
//! the async threads, and few more may wait.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// How many hashes are under way at once.
const RUNNING: usize = 2;
/// How many more may be asked for; further ones are refused.
const QUEUED: usize = 64;
/// The same of those who hash apart.
const QUEUED_APART: usize = 16;
/// What a stored hash may cost: less is no protection, more would be an outage.
const KIB: std::ops::RangeInclusive<u32> = 7 << 10..=1 << 20;
const PASSES: std::ops::RangeInclusive<u32> = 1..=16;
/// Nobody types more; hashing megabytes would be work for nothing.
const MAX_PASSWORD: usize = 1024;
/// Bytes of a password that is all that stands before something that anybody may reach.
pub(super) const LONG: std::ops::RangeInclusive<usize> = 12..=MAX_PASSWORD;
/// Stands in for the hash of a user who does not exist: the time to check it is that of a real one.
/// No password is known for it, and none would be let in.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dGlkaW5ncy1ub2JvZHkhIQ\
                      $AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Why a password was neither hashed nor judged.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many are being hashed already; worth trying again.
    #[error("too many passwords are being checked")]
    Busy,
    /// The password is empty or too long.
    #[error("a password must have 1 to {MAX_PASSWORD} bytes")]
    Length,
    /// It is too easily guessed for what it opens, or too long.
    #[error("a password for this must have {} to {MAX_PASSWORD} bytes", LONG.start())]
    Short,
    /// A stored hash is not one that can be checked, or hashing itself failed.
    #[error("cannot hash: {0}")]
    Hash(HashError),
}

/// The right to hash, shared by all who need it.
#[derive(Clone, Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    spare: Arc<Spare>,
}

/// What hashes took that are done, for the next ones: an allocator may keep what is freed for the
/// thread that had it, and hashes come on any of hundreds.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<Block>>>);

impl Default for Passwords {
    fn default() -> Self {
        Self::new(RUNNING, QUEUED)
    }
}

impl Passwords {
    /// A right of its own, one hash at a time: for what is not to wait behind a flood of logins.
    pub fn apart() -> Self {
        Self::new(1, QUEUED_APART)
    }

    fn new(running: usize, queued: usize) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            running: permits(running),
            queued: permits(running + queued),
            spare: Arc::default(),
        }
    }

    /// Hashes a new password with a fresh salt.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        check_length(password)?;
        let password = password.to_owned();
        self.run(move || hash_now(&password)).await
    }

    /// Whether the password is the one that was hashed. Without a hash it never is, after the same
    /// time.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PasswordError> {
        if check_length(password).is_err() {
            return Ok(false);
        }
        let (password, exists) = (password.to_owned(), hash.is_some());
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let spare = self.spare.clone();
        self.run(move || {
            let is_it = verify_now(&password, &hash, &spare).map_err(PasswordError::Hash)?;
            Ok(is_it && exists)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.place()?;
        let running = self.running.clone().acquire_owned().await;
        let permit = running.expect("the semaphore is never closed");
        let hashed = tokio::task::spawn_blocking(move || {
            // Held by the work, not by who waits for it: a caller that goes away frees no core.
            let _permit = permit;
            work()
        });
        hashed
            .await
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    fn place(&self) -> Result<SemaphorePermit<'_>, PasswordError> {
        self.queued.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits | TryAcquireError::Closed => PasswordError::Busy,
        })
    }
}

/// Hashes a new password with a fresh salt, on the caller's thread.
pub fn hash_now(password: &str) -> Result<String, PasswordError> {
    check_length(password)?;
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(PasswordError::Hash)
}

fn verify_now(password: &str, hash: &str, spare: &Spare) -> Result<bool, HashError> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
        return Err(HashError::EncodingInvalid);
    };
    let params = Params::try_from(&hash)?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map_or(Ok(Version::V0x10), Version::try_from)?;
    let mut memory = spare.take(params.block_count());
    let mut computed = vec![0; expected.len()];
    Argon2::new(algorithm, version, params).hash_password_into_with_memory(
        password.as_bytes(),
        &salt,
        &mut computed,
        &mut memory,
    )?;
    spare.put(memory);
    Ok(computed.ct_eq(expected.as_bytes()).into())
}

impl Spare {
    fn take(&self, blocks: usize) -> Vec<Block> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = kept.unwrap_or_default();
        memory.resize(blocks, Block::new());
        memory
    }

    /// At most as many come back as were under way at once.
    fn put(&self, memory: Vec<Block>) {
        let kept = &self.0;
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(memory);
    }
}

/// The same of what is all that stands before something that anybody may reach.
pub fn hash_long(password: &str) -> Result<String, PasswordError> {
    if LONG.contains(&password.len()) {
        hash_now(password)
    } else {
        Err(PasswordError::Short)
    }
}

/// Whether a text is a hash that a password can be checked against, at a sane cost.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| {
        let whole = hash.salt.is_some() && hash.hash.is_some();
        let is_sane =
            |params: Params| KIB.contains(&params.m_cost()) && PASSES.contains(&params.t_cost());
        whole && text.starts_with("$argon2id$") && Params::try_from(&hash).is_ok_and(is_sane)
    })
}

fn check_length(password: &str) -> Result<(), PasswordError> {
    let legal = (1..=MAX_PASSWORD).contains(&password.len());
    if legal {
        Ok(())
    } else {
        Err(PasswordError::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::{NOBODY, PasswordError, Passwords, QUEUED, RUNNING, is_hash};
    use argon2::Argon2;
    use argon2::password_hash::phc::PasswordHash;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn a_password_is_known_again() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(passwords.hash("correct horse").await.unwrap(), hash);
        assert!(
            passwords
                .verify("correct horse", Some(&hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("Correct horse", Some(&hash))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("", Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_password_but_the_cost_of_one() {
        let passwords = Passwords::default();
        assert!(!passwords.verify("anything", None).await.unwrap());
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        let real = passwords.hash("x").await.unwrap();
        assert_eq!(parameters(NOBODY), parameters(&real));
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(
            nobody.hash.unwrap().len(),
            PasswordHash::new(&real).unwrap().hash.unwrap().len()
        );
        assert!(
            argon2::Params::try_from(&nobody).is_ok() && Argon2::default().params().p_cost() == 1
        );
    }

    #[test]
    fn hashes_are_told_from_other_texts() {
        assert!(is_hash(NOBODY));
        let without_hash = NOBODY.rsplit_once('$').unwrap().0;
        let bcrypt = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
        for text in [
            "",
            "secret",
            bcrypt,
            without_hash,
            "$argon2id$v=19$nonsense",
            &NOBODY.replace("m=19456", "m=8"),
            &NOBODY.replace("m=19456", "m=4000000"),
            &NOBODY.replace("t=2", "t=20"),
        ] {
            assert!(!is_hash(text), "{text}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_hashed_is_refused() {
        let passwords = Passwords::default();
        for password in [String::new(), "x".repeat(1025)] {
            assert!(matches!(
                passwords.hash(&password).await,
                Err(PasswordError::Length)
            ));
        }
        let damaged = passwords.verify("x", Some("$argon2id$v=19$nonsense")).await;
        assert!(
            matches!(damaged, Err(PasswordError::Hash(_))),
            "{damaged:?}"
        );
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let passwords = Passwords::default();
        let hash = passwords.hash("x").await.unwrap();
        let checks = (0..10).map(|_| passwords.verify("x", Some(&hash)));
        for is_it in futures_util::future::join_all(checks).await {
            assert!(is_it.unwrap());
        }
        assert!((1..=RUNNING).contains(&passwords.spare.0.lock().unwrap().len()));
    }

    #[tokio::test]
    async fn few_run_and_few_wait() {
        let passwords = Passwords::default();
        let held = passwords
            .running
            .clone()
            .acquire_many_owned(RUNNING as u32)
            .await
            .unwrap();
        let running = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..RUNNING + QUEUED)
            .map(|_| {
                let (passwords, running) = (passwords.clone(), running.clone());
                let work = move || {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < RUNNING);
                    std::thread::sleep(Duration::from_millis(1));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                tokio::spawn(async move { passwords.run(work).await })
            })
            .collect();
        while passwords.queued.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(
            passwords.hash("x").await,
            Err(PasswordError::Busy)
        ));
        drop(held);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        passwords.hash("x").await.unwrap();
    }
}
