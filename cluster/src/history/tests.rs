//! Recoverable rooms with a disk in memory, alone and over links on loopback.

mod alone;
mod faults;
mod kit;
mod many;
mod relay;
mod speed;
