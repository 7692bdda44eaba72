//! A socket and what is said on it.

use std::io;

use super::{Loss, READ, link::Link};
use crate::{
    client::{Client, Plan, Tally},
    clock,
};

/// One client and its socket.
pub(super) struct Connection {
    pub(super) link: Link,
    pub(super) client: Client,
    /// Start of a frame that has not arrived whole.
    partial: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    pub(super) is_open: bool,
}

impl Connection {
    /// A client that has something to say as soon as its socket takes it.
    pub(super) fn new(link: Link, client: Client, plan: &Plan) -> Self {
        let mut unsent = Vec::new();
        client.start(plan, &mut unsent);
        Self {
            link,
            client,
            partial: Vec::new(),
            unsent,
            is_open: true,
        }
    }

    /// Ends it; nothing more is read or written.
    pub(super) fn close(&mut self) {
        self.is_open = false;
        self.link.close();
    }

    /// Sends a probe's event; see [`Client::ask`].
    pub(super) fn ask(&mut self, event: &str, since: u64) -> Result<(), Loss> {
        self.client.ask(event, since, &mut self.unsent);
        self.write()
    }

    /// Reads until the socket has no more. Readiness is reported once per arrival, but a read that
    /// does not fill the buffer has emptied the socket, which saves one call in two. Only the end
    /// may be behind it and have no report of its own, where the report says that it `is_ending`.
    pub(super) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        is_ending: bool,
        plan: &Plan,
        tally: &mut Tally,
    ) -> Result<(), Loss> {
        let short_is_last = !is_ending && self.link.reads_all();
        loop {
            let kept = self.partial.len();
            if buffer.len() < kept + READ / 2 {
                buffer.resize(kept + READ, 0);
            }
            buffer[..kept].copy_from_slice(&self.partial);
            let count = match self.link.read(&mut buffer[kept..]) {
                Ok(0) => return Err(Loss::Ended),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let filled = kept + count;
            let input = &buffer[..filled];
            let used = self
                .client
                .receive(input, clock::now(), plan, tally, &mut self.unsent)?;
            self.partial.clear();
            self.partial.extend_from_slice(&input[used..]);
            if filled < buffer.len() && short_is_last {
                return Ok(());
            }
        }
    }

    /// Writes what the socket takes.
    pub(super) fn write(&mut self) -> Result<(), Loss> {
        while !self.unsent.is_empty() {
            match self.link.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match self.link.flush() {
            Err(error) if !is_passing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The socket is not ready; readiness will be reported. A socket that still connects says so too.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}
