//! Tidings: a daemon that carries live events to browsers and apps over Socket.IO.
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the command line |
//! | `config` | TOML and environment → checked `Config` |
//! | `gateway` | `Config` → build → spawn → drain |
//! | `protocol` | PURE: Engine.IO and Socket.IO packets, WebSocket frame heads |
//! | `shard` | the data plane: connections, rooms, outboxes, delivery |
//! | `transport` | HTTP, polling and WebSocket at the edge of a shard |
//! | `hub` | emits → shards with members; questions to all shards |
//! | `event` | what an event is on its way |
//! | `recovery` | recoverable rooms: log, cursors, records |
//! | `relay` | the only meeting of hub and cluster |
//! | `app` | what a client may do: sessions, channels, limits |
//! | `admin_ui` | the namespace of Socket.IO's Admin UI |
//! | `http` | public and private routes |
//! | `streams` | changes in MongoDB that become events |
//! | `acme` | a certificate from a CA |
//! | `histogram` | how long something takes, counted |
//! | `node` | what all parts of a node share |
//! | `live` | what a reload replaces while others read it |

mod acme;
pub mod admin_ui;
pub mod app;
pub mod backup;
pub mod cli;
pub mod config;
pub mod demo;
pub mod event;
pub mod gateway;
mod histogram;
pub mod http;
pub mod hub;
pub mod lifecycle;
pub mod live;
pub mod node;
pub mod protocol;
pub mod recovery;
pub mod relay;
pub mod shard;
mod streams;
pub(crate) mod transport;
