//! The store as a caller sees it, on a real disk. One binary, as each links sled.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "store/backup.rs"]
mod backup;
#[path = "store/calls.rs"]
mod calls;
#[path = "store/child.rs"]
mod child;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/full.rs"]
mod full;
#[path = "store/harness.rs"]
mod harness;
#[path = "store/kill.rs"]
mod kill;
#[path = "store/open.rs"]
mod open;
#[path = "store/pause.rs"]
mod pause;
