//! The lock that keeps two processes off one store. sled has one too, but its error does not say
//! that it was the lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How long sled's background threads may hold on to its log after the last handle is gone.
pub(crate) const LINGER: Duration = Duration::from_secs(3);

/// How long a lock that nobody means to hold may stay: by a process that is just ending, or by a
/// child between fork and exec, which shares its parent's locks.
const GRACE: Duration = Duration::from_millis(500);

/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Held while the store is open; its drop, or the process's death, frees it.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

/// Why the lock was not taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// By another handle; the process that wrote its id into the file.
    Held(Option<u32>),
    Io(io::Error),
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(LockError::Io)?;
        if !locks(&file, GRACE).map_err(LockError::Io)? {
            return Err(LockError::Held(holder(&mut file)));
        }
        sign(&mut file).map_err(LockError::Io)?;
        Ok(Lock(file))
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether nobody holds sled's lock on its log, waited for as long as sled's threads may take to
/// end. `Ok(false)` means that somebody does.
pub(crate) fn freed(log: &Path) -> io::Result<bool> {
    match File::open(log) {
        Ok(file) => locks(&file, LINGER),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Tries to lock, for a while.
fn locks(file: &File, patience: Duration) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if started.elapsed() < patience => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}
