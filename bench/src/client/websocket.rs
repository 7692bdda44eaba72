//! WebSocket from the upgrade on. Pure.

use super::{ClientError, plan::Plan, session::Session, text, watch::Tally};
use crate::frame::{self, Frame, Opcode};

/// 16 bytes in base64. The server's answer to it is not checked: what is measured is load.
const KEY: &str = "dGlkaW5ncy1sb2FkLWtleQ==";
/// An answer to the upgrade request may be as long as this.
const MAX_HEAD: usize = 8 * 1024;

/// One client's connection.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    /// Whether the upgrade was answered, and frames come.
    is_upgraded: bool,
}

impl WebSocket {
    /// Appends the upgrade request.
    pub(super) fn start(plan: &Plan, out: &mut Vec<u8>) {
        let Plan { host, path, .. } = plan;
        let request = format!(
            "GET {path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
    }

    /// Does for WebSocket what [`super::Client::receive`] says.
    pub(super) fn receive(
        &mut self,
        session: &mut Session,
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
        while let Some((Frame { opcode, payload }, length)) = frame::decode(&input[used..])? {
            used += length;
            match opcode {
                Opcode::Text => {
                    if let Some(reply) = session.packet(payload, now, plan, tally)? {
                        frame::encode_text(&reply, out);
                    }
                }
                Opcode::Ping => frame::encode_pong(payload, out),
                Opcode::Close => return Err(closed(payload)),
                Opcode::Binary => tally.bytes += payload.len() as u64,
                Opcode::Pong => {}
            }
        }
        Ok(used)
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
