//! One Socket.IO client, from the upgrade request to counting events. Pure: bytes in, bytes out.

use thiserror::Error;

use crate::frame::{self, FrameError};

mod plan;
mod polling;
mod session;
mod watch;
mod websocket;

use polling::Polling;
use session::Session;
use websocket::WebSocket;

pub use plan::{Plan, Transport};
pub use watch::{Expect, Faults, Tally};

/// One client; its socket is elsewhere.
#[derive(Debug)]
pub struct Client {
    /// What carries its packets.
    wire: Wire,
    /// What it says and has heard.
    session: Session,
}

/// What carries a client's packets.
#[derive(Debug)]
enum Wire {
    WebSocket(WebSocket),
    Polling(Polling),
}

/// The server ended this client's part; the connection is of no more use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClientError {
    /// The upgrade was not answered with 101.
    #[error("upgrade refused: {0}")]
    Upgrade(String),
    /// A request of a polling client was not answered with 200, or not as it should be.
    #[error("poll refused: {0}")]
    Poll(String),
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
            wire: match plan.transport {
                Transport::WebSocket => Wire::WebSocket(WebSocket::default()),
                Transport::Polling => Wire::Polling(Polling::new(plan)),
            },
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

    /// Appends a probe's event, whose acknowledgement is waited for from `since` on. Probes are
    /// WebSocket clients.
    pub fn ask(&mut self, event: &str, since: u64, out: &mut Vec<u8>) {
        frame::encode_text(&self.session.ask(event, since), out);
    }

    /// Appends the first request, with which everything starts.
    pub fn start(&self, plan: &Plan, out: &mut Vec<u8>) {
        match &self.wire {
            Wire::WebSocket(_) => WebSocket::start(plan, out),
            Wire::Polling(polling) => polling.start(plan, out),
        }
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
        let session = &mut self.session;
        match &mut self.wire {
            Wire::WebSocket(socket) => socket.receive(session, input, now, plan, tally, out),
            Wire::Polling(polling) => polling.receive(session, input, now, plan, tally, out),
        }
    }
}

/// Enough of a packet to recognise it in a message.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests;
