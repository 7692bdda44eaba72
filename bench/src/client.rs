//! One Socket.IO client, from the upgrade request to counting events. Pure: bytes in, bytes out.

use thiserror::Error;

use crate::{
    frame::{self, Frame, FrameError, Opcode},
    histogram::Histogram,
    template::{PerClient, PerClientError},
};

/// 16 bytes in base64. The server's answer to it is not checked: what is measured is load.
const WEBSOCKET_KEY: &str = "dGlkaW5ncy1sb2FkLWtleQ==";
/// Where in an event the time of its emit is found.
const STAMP: &[u8] = b"\"ts\":";
/// An answer to the upgrade request may be as long as this.
const MAX_HEAD: usize = 8 * 1024;

/// What every client does after it is connected.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the `Host` header.
    pub host: String,
    /// Where the server's Socket.IO lives, such as `/socket.io/`.
    pub path: String,
    /// JSON object that goes with CONNECT.
    pub auth: Option<PerClient>,
    /// JSON array (`["name", arg, …]`) that is sent once, and whose acknowledgement is waited for.
    pub subscribe: Option<PerClient>,
}

/// What all clients together have seen.
#[derive(Default)]
pub struct Tally {
    /// Clients that have all that the plan asks for.
    pub ready: usize,
    /// EVENT packets.
    pub events: u64,
    /// Bytes of those packets, without WebSocket heads.
    pub bytes: u64,
    /// From the stamp in an event to its reading.
    pub latency: Histogram,
    /// Events whose stamp was not newer than the one before on the same client.
    pub out_of_order: u64,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Opening,
    Joining,
    Subscribing,
    Ready,
}

/// One client; its socket is elsewhere.
#[derive(Debug)]
pub struct Client {
    /// Its place in templates and files.
    number: usize,
    /// What it waits for.
    stage: Stage,
    /// EVENT packets that it has seen.
    events: u64,
    /// Stamp of its latest event.
    last_stamp: u64,
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

impl Plan {
    /// Refuses files that have too few lines for `clients`.
    pub fn check(&self, clients: usize) -> Result<(), PerClientError> {
        self.auth
            .iter()
            .chain(&self.subscribe)
            .try_for_each(|texts| texts.check(clients))
    }

    fn connect(&self, number: usize) -> String {
        let auth = self
            .auth
            .as_ref()
            .map(|auth| auth.text(number))
            .unwrap_or_default();
        format!("40{auth}")
    }

    fn subscribe(&self, number: usize) -> Option<String> {
        let event = self.subscribe.as_ref()?.text(number);
        Some(format!("420{event}"))
    }
}

impl Client {
    /// A client that has yet to say something.
    pub fn new(number: usize) -> Self {
        Self {
            number,
            stage: Stage::Upgrading,
            events: 0,
            last_stamp: 0,
        }
    }

    /// How many EVENT packets it has seen.
    pub fn events(&self) -> u64 {
        self.events
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
        if self.stage == Stage::Upgrading {
            match upgraded(input)? {
                Some(length) => used = length,
                None => return Ok(0),
            }
            self.stage = Stage::Opening;
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
            (Opcode::Text, event @ [b'4', b'2' | b'5', ..]) => self.event(event, now, tally),
            (Opcode::Text, packet) => return self.packet(packet, plan, tally, out),
            (Opcode::Ping, payload) => frame::encode_pong(payload, out),
            (Opcode::Close, payload) => return Err(closed(payload)),
            (Opcode::Binary, attachment) => tally.bytes += attachment.len() as u64,
            (Opcode::Pong, _) => {}
        }
        Ok(())
    }

    fn event(&mut self, packet: &[u8], now: u64, tally: &mut Tally) {
        self.events += 1;
        tally.events += 1;
        tally.bytes += packet.len() as u64;
        if let Some(stamp) = stamp(packet) {
            tally.latency.record(now.saturating_sub(stamp));
            tally.out_of_order += u64::from(stamp <= self.last_stamp);
            self.last_stamp = stamp;
        }
    }

    fn packet(
        &mut self,
        packet: &[u8],
        plan: &Plan,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        match (self.stage, packet) {
            (_, b"2") => frame::encode_text("3", out),
            (_, b"1" | [b'4', b'1', ..]) => return Err(ClientError::Disconnected),
            (_, b"6") => {}
            (Stage::Opening, [b'0', ..]) => {
                frame::encode_text(&plan.connect(self.number), out);
                self.stage = Stage::Joining;
            }
            (Stage::Joining, [b'4', b'0', ..]) => match plan.subscribe(self.number) {
                Some(event) => {
                    frame::encode_text(&event, out);
                    self.stage = Stage::Subscribing;
                }
                None => self.ready(tally),
            },
            (Stage::Joining, [b'4', b'4', error @ ..]) => {
                return Err(ClientError::Connect(text(error)));
            }
            (Stage::Subscribing, [b'4', b'3', answer @ ..]) => {
                let answer = text(answer);
                if answer.contains("\"ok\":false") {
                    return Err(ClientError::Subscribe(answer));
                }
                self.ready(tally);
            }
            (_, other) => return Err(ClientError::Unexpected(text(other))),
        }
        Ok(())
    }

    fn ready(&mut self, tally: &mut Tally) {
        self.stage = Stage::Ready;
        tally.ready += 1;
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

/// The number behind the first `"ts":`.
fn stamp(packet: &[u8]) -> Option<u64> {
    let at = packet
        .windows(STAMP.len())
        .position(|bytes| bytes == STAMP)?;
    let digits = packet[at + STAMP.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let mut value = None;
    for digit in digits {
        let so_far = value.unwrap_or(0_u64);
        value = Some(
            so_far
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?,
        );
    }
    value
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
