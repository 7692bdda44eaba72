//! A process that was stopped amid its work is not one whose disk hangs.

use std::time::{Duration, Instant};

use crate::child::Role;
use crate::harness::Folder;

/// Longer than a storage thread may be still.
const PAUSE: Duration = Duration::from_secs(7);

/// Long enough for the watcher to look a few times.
const AFTER: Duration = Duration::from_secs(2);

#[test]
fn no_call_is_refused_after_a_pause() {
    let folder = Folder::new();
    let mut writer = Role::start("write", &folder.path());
    for _ in 0..3 {
        writer.next().unwrap();
    }
    writer.pause(PAUSE);
    let went_on = Instant::now();
    let mut written = 0;
    while went_on.elapsed() < AFTER {
        assert!(writer.next().is_some(), "refused after {written} writes");
        written += 1;
    }
}
