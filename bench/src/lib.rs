//! Load generator for Socket.IO servers, Tidings and its peers alike.
//!
//! It is a process of its own, so that a server's CPU time and memory can be read from `/proc`
//! without the load in them. One thread reads for all clients; a second one emits.
//!
//! * [`frame`], [`client`], [`template`], [`histogram`], [`scan`]: pure; what is said and counted
//! * [`symbols`], [`random`]: pure; who watches what, fixed by a seed
//! * [`fleet`]: the sockets of all clients and the loop that serves them
//! * [`http`], [`emitter`]: the backend's side, one kept-alive connection that posts emits
//! * [`process`], [`clock`]: what the kernel says of a process, and the time
//! * [`scenario`]: what is measured, each with its report
//! * [`cli`]: arguments of `tidings-load`

pub mod cli;
pub mod client;
pub mod clock;
pub mod emitter;
pub mod fleet;
pub mod frame;
pub mod histogram;
pub mod http;
pub mod process;
pub mod random;
pub mod scan;
pub mod scenario;
pub mod symbols;
pub mod template;
