//! Nodes finding and talking to each other. **Not built yet**: this is the map of what comes, so
//! that what is built before it leaves room.
//!
//! | module | what it will be |
//! |---|---|
//! | `proto` | PURE, time and randomness passed in: interest, slots, logs, records, counters |
//! | `gossip` | who is there and in what state, by gossip that travels over the links |
//! | `membership` | gossip's view as events: a peer is up, is down, has changed |
//! | `net` | links between nodes: QUIC with mutual TLS, dialing, frames, bounded queues |
//! | `sim` | many nodes on one thread, in virtual time, over lossy links, from a seed |
//!
//! *Interest* is which peers have members in a room. A *slot* is one of 256 hash classes of rooms;
//! its owner orders what goes to its recoverable rooms, another node holds the copy.
//!
//! What it will promise its neighbours:
//!
//! - **Payloads are opaque bytes.** Nothing here knows Socket.IO, sessions or channels.
//! - **It keeps nothing itself.** What must last it asks for through a trait, which the daemon fits
//!   with its store. This crate and `tidings-storage` do not know each other.
//! - **One meeting place.** The daemon's switchboard will meet it in one module; what a peer sends
//!   is applied there and never forwarded again.
//!
//! What waits for it in the daemon: a connection's id has room for its node's number; history is
//! kept by slot, in epochs that one function opens; an offset is bound to its epoch; a connection's
//! record names its home and has a version.
