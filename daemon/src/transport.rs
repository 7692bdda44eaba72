//! Bytes in and out of a shard.
//!
//! | module | what it is |
//! |---|---|
//! | `serve` | one accepted TCP connection to its end, or until it is a WebSocket |
//! | `head` | the first request, looked at before hyper is asked for |
//! | `upgrade` | from a request to a WebSocket on the shard that it belongs to |
//! | `websocket` | a WebSocket as a shard holds it |
//! | `reader` | its reading half |
//! | `boundary` | PURE: where in a stream of frames a read ended |

mod boundary;
mod head;
pub(crate) mod reader;
pub(crate) mod serve;
pub(crate) mod upgrade;
pub(crate) mod websocket;
