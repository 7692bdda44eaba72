//! Several nodes on real sockets with real clients, one module per behaviour.

mod admin_ui;
mod barrier;
mod carried;
mod faults;
mod key;
mod kit;
mod limits;
mod mongo;
mod network;
mod nothing_lost;
mod recovery;
mod restored;
mod sessions;
mod steady;
mod together;
mod values;
