//! One Socket.IO client, from the upgrade request to counting events. Pure: bytes in, bytes out.

use thiserror::Error;

use crate::frame::{self, Frame, FrameError, Opcode};

mod plan;
mod session;
mod watch;

use session::Session;

pub use plan::Plan;
pub use watch::{Expect, Faults, Tally};

/// 16 bytes in base64. The server's answer to it is not checked: what is measured is load.
const WEBSOCKET_KEY: &str = "dGlkaW5ncy1sb2FkLWtleQ==";
/// An answer to the upgrade request may be as long as this.
const MAX_HEAD: usize = 8 * 1024;

/// One client; its socket is elsewhere.
#[derive(Debug)]
pub struct Client {
    /// Whether the upgrade was answered, and frames come.
    is_upgraded: bool,
    /// What it says and has heard.
    session: Session,
}

/// The server ended this client's part; the connection is of no more use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClientError {
    /// The upgrade was not answered with 101.
    #[error("upgrade refused: {0}")]
    Upgrade(String),
    /// Not WebSocket.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// CONNECT was answered with CONNECT_ERROR.
    #[error("connect refused: {0}")]
    Connect(String),
    /// The subscribe event was acknowledged with `ok: false`.
    #[error("subscribe refused: {0}")]
    Subscribe(String),
    /// A DISCONNECT packet or Engine.IO close came.
    #[error("disconnected by the server")]
    Disconnected,
    /// A WebSocket close frame came.
    #[error("closed by the server: {code} {reason}")]
    Closed {
        /// Close code, 1005 when there was none.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// A packet that has no place at this stage.
    #[error("unexpected packet: {0}")]
    Unexpected(String),
}

impl Client {
    /// A client that has yet to say something and first tried to connect at `since`.
    pub fn new(number: usize, since: u64, plan: &Plan) -> Self {
        Self {
            is_upgraded: false,
            session: Session::new(number, since, plan),
        }
    }

    /// Whether it has all that the plan asks for.
    pub fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    /// When it first tried to connect.
    pub fn since(&self) -> u64 {
        self.session.since
    }

    /// How many EVENT packets it has seen.
    pub fn events(&self) -> u64 {
        self.session.events
    }

    /// Sum of [`crate::random::mix`] over one more than the `"seq"` of each event that was checked
    /// by it.
    pub fn digest(&self) -> u64 {
        self.session.digest
    }

    /// Of how many of its symbols it lacks the newest quote; see [`Expect::Quotes`]. `newest` holds
    /// for each symbol one more than its last `"seq"`, 0 if it had none.
    pub fn newest_missing(&self, newest: &[u32]) -> u64 {
        self.session.watch.newest_missing(newest)
    }

    /// When a probe got its latest acknowledgement, or none while it waits for one.
    pub fn answered(&self) -> Option<u64> {
        (!self.session.is_asking()).then_some(self.session.answered)
    }

    /// Appends a probe's event, whose acknowledgement is waited for from `since` on.
    pub fn ask(&mut self, event: &str, since: u64, out: &mut Vec<u8>) {
        frame::encode_text(&self.session.ask(event, since), out);
    }

    /// Appends the upgrade request, with which everything starts.
    pub fn start(&self, plan: &Plan, out: &mut Vec<u8>) {
        let Plan { host, path, .. } = plan;
        out.extend_from_slice(
            format!(
                "GET {path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\n\
                 Upgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            .as_bytes(),
        );
    }

    /// Takes what was read up to `now`, appends answers to `out`, and tells how many bytes it is
    /// done with; the rest is the start of something that has not arrived whole.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: u64,
        plan: &Plan,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<usize, ClientError> {
        let mut used = 0;
        if !self.is_upgraded {
            match upgraded(input)? {
                Some(length) => used = length,
                None => return Ok(0),
            }
            self.is_upgraded = true;
        }
        while let Some((frame, length)) = frame::decode(&input[used..])? {
            used += length;
            self.frame(frame, now, plan, tally, out)?;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        now: u64,
        plan: &Plan,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        match (frame.opcode, frame.payload) {
            (Opcode::Text, packet) => {
                if let Some(reply) = self.session.packet(packet, now, plan, tally)? {
                    frame::encode_text(&reply, out);
                }
            }
            (Opcode::Ping, payload) => frame::encode_pong(payload, out),
            (Opcode::Close, payload) => return Err(closed(payload)),
            (Opcode::Binary, attachment) => tally.bytes += attachment.len() as u64,
            (Opcode::Pong, _) => {}
        }
        Ok(())
    }
}

/// Length of the answer to the upgrade request, or none until all of it is there.
fn upgraded(input: &[u8]) -> Result<Option<usize>, ClientError> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return match input.len() {
            ..MAX_HEAD => Ok(None),
            _ => Err(ClientError::Upgrade(format!(
                "no end of head in {MAX_HEAD} bytes"
            ))),
        };
    };
    if input.starts_with(b"HTTP/1.1 101 ") {
        return Ok(Some(end + 4));
    }
    Err(ClientError::Upgrade(
        text(input).lines().next().unwrap_or_default().to_owned(),
    ))
}

fn closed(payload: &[u8]) -> ClientError {
    match payload {
        [high, low, reason @ ..] => ClientError::Closed {
            code: u16::from_be_bytes([*high, *low]),
            reason: text(reason),
        },
        _ => ClientError::Closed {
            code: 1005,
            reason: String::new(),
        },
    }
}

/// Enough of a packet to recognise it in a message.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests;
