//! The wire, and nothing else: Engine.IO 4 packets, Socket.IO 5 packets, WebSocket frame heads.
//!
//! Pure: bytes in, values or bytes out; no clock, no I/O, no state that outlives a call.
//!
//! - [`frame`]: one packet ready for a socket, shared by every connection it goes to
//! - [`engine`]: Engine.IO packets, poll bodies, the handshake
//! - [`socket`]: Socket.IO packets, events, acknowledgements, binary placeholders
//!
//! **Invariant:** JSON from a client is checked, never rebuilt. What is relayed is the very text
//! that came in, so key order, number spelling and white space survive.
//!
//! **Invariant:** no Socket.IO packet holds U+001E, the separator of poll bodies: JSON cannot hold
//! it unescaped, and namespaces with control characters are refused.

#[cfg(test)]
mod arbitrary;
pub mod engine;
pub mod frame;
mod json;
pub mod socket;

pub use frame::Frame;
pub use json::MAX_DEPTH;

/// Why bytes from a client are not a packet. The connection that sent them is closed.
///
/// No variant holds what the client sent, so every one is safe to log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// A text frame or a piece of a poll body with nothing in it.
    #[error("packet is empty, must begin with its type")]
    Empty,
    /// A text packet or poll body with bytes that are not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// The first character is no Engine.IO packet type.
    #[error("engine packet type is unknown, must be 0 to 6 or b")]
    EngineType,
    /// What follows `b` cannot be decoded.
    #[error("binary packet is not valid base64")]
    Base64,
    /// The first character of a message is no Socket.IO packet type.
    #[error("packet type is unknown, must be 0 to 6")]
    SocketType,
    /// A binary packet without `<count>-` after its type, or with a count of nothing.
    #[error("attachment count is malformed, must be a number above 0 and then -")]
    AttachmentCount,
    /// A binary packet that announces too much.
    #[error(
        "packet has too many attachments, at most {} are allowed",
        socket::MAX_ATTACHMENTS
    )]
    TooManyAttachments,
    /// A namespace with control characters in it.
    #[error("namespace holds a control character, must be printable")]
    Namespace,
    /// An acknowledgement id that JavaScript could not represent.
    #[error(
        "acknowledgement id is too large, at most {} is allowed",
        socket::MAX_ID
    )]
    Id,
    /// The payload does not parse.
    #[error("payload is not valid JSON")]
    Json,
    /// The payload parses but would exhaust the stack of a recursive reader.
    #[error("payload is nested too deeply, at most {MAX_DEPTH} levels are allowed")]
    Depth,
    /// CONNECT with anything but an object.
    #[error("connect payload must be an object or absent")]
    ConnectData,
    /// DISCONNECT with a payload.
    #[error("disconnect must not have a payload")]
    DisconnectData,
    /// CONNECT_ERROR, which only servers send.
    #[error("connect_error must not be sent by a client")]
    ConnectError,
    /// EVENT without a usable first item.
    #[error("event payload must be an array that begins with a string or a number")]
    EventData,
    /// EVENT under a name that means something to the client library itself.
    #[error("event name is reserved, must be none of: {}", socket::RESERVED_NAMES.join(", "))]
    ReservedName,
    /// ACK without an array.
    #[error("acknowledgement payload must be an array")]
    AckData,
    /// ACK that does not say which event it answers.
    #[error("acknowledgement has no id, must have one")]
    MissingId,
    /// A placeholder that stands for no attachment.
    #[error("placeholder is illegal, its num must be an integer from 0 up to the attachment count")]
    Placeholder,
}

/// Reads bytes from a client as text.
///
/// # Errors
///
/// [`DecodeError::Utf8`] if they are not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_is_text() {
        assert_eq!(text("4€".as_bytes()), Ok("4€"));
        assert_eq!(text(b"42[\"\xff\"]"), Err(DecodeError::Utf8));
        assert_eq!(text(b"\xed\xa0\x80"), Err(DecodeError::Utf8));
    }

    #[test]
    fn errors_name_what_is_allowed() {
        let shown = DecodeError::TooManyAttachments.to_string();
        assert_eq!(
            shown,
            "packet has too many attachments, at most 10 are allowed"
        );
        let shown = DecodeError::Id.to_string();
        assert_eq!(
            shown,
            "acknowledgement id is too large, at most 9007199254740991 is allowed"
        );
        let shown = DecodeError::Depth.to_string();
        assert_eq!(
            shown,
            "payload is nested too deeply, at most 127 levels are allowed"
        );
    }
}
