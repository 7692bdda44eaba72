//! Socket.IO 5: what the text of an Engine.IO message means.
//!
//! <https://github.com/socketio/socket.io-protocol>:
//! `<type>[<attachments>-][<namespace>,][<id>][<JSON>]`. The rules of the reference, socket.io-parser
//! 4.2.7, hold with these differences, all to the strict side and none within reach of a
//! well-behaved client:
//!
//! - Attachment counts and ids are plain digits. The reference takes whatever JavaScript converts
//!   to a number: `51e0-` as a count, a space as the id 0.
//! - Ids end at [`MAX_ID`]; the reference would answer a rounded one.
//! - EVENT and ACK must have their payload, as the specification demands; the reference takes
//!   `2` alone and drops it later. ACK must have an id.
//! - CONNECT_ERROR from a client is an error here, there one layer up.
//! - Namespaces hold no control characters, so that echoing one cannot split a poll body.
//! - Nesting ends at [`MAX_DEPTH`](super::MAX_DEPTH).
//!
//! A `?` in a namespace is part of its name, as in the reference: only Engine.IO 3 cut a query
//! off there. A lone surrogate (`"\ud800"`), which JavaScript clients do send, passes in
//! arguments, but an event's name must be Unicode.

mod decode;
mod encode;
mod event;
mod placeholder;

pub use decode::{Kind, Packet, decode};
pub use encode::{EventTemplate, connect, connect_error, disconnect, encode_ack, encode_event};
pub use event::{Event, args, event};
pub use placeholder::check_placeholders;

/// The most attachments that one packet may announce; the reference's default.
pub const MAX_ATTACHMENTS: usize = 10;

/// The largest acknowledgement id: beyond it JavaScript numbers skip integers.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// Event names that mean something to the client libraries themselves.
pub const RESERVED_NAMES: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];
