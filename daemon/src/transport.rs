//! Bytes in and out of a shard.

pub(crate) mod serve;
pub(crate) mod upgrade;
pub(crate) mod websocket;
