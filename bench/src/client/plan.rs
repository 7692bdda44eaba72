//! What all clients of a fleet are to do and to check.

use std::sync::Arc;

use super::watch::{Expect, Watch};
use crate::{
    symbols::Symbols,
    template::{PerClient, PerClientError, Values},
};

/// What every client does after it is connected.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the `Host` header.
    pub host: String,
    /// Where the server's Socket.IO lives, such as `/socket.io/`.
    pub path: String,
    /// JSON object that goes with CONNECT.
    pub auth: Option<PerClient>,
    /// JSON array (`["name", arg, …]`) that is sent once; its acknowledgement is waited for.
    pub subscribe: Option<PerClient>,
    /// What is checked of every event.
    pub expect: Expect,
    /// How clients connect.
    pub transport: Transport,
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// By WebSocket from the start.
    #[value(name = "websocket")]
    WebSocket,
    /// By HTTP long polling, without an upgrade.
    Polling,
}

impl Plan {
    /// Refuses files that have too few lines for `clients`.
    pub fn check(&self, clients: usize) -> Result<(), PerClientError> {
        self.auth
            .iter()
            .chain(&self.subscribe)
            .try_for_each(|texts| texts.check(clients))
    }

    /// What client `number` keeps to check its events by.
    pub(super) fn watch(&self, number: usize) -> Watch {
        match &self.expect {
            Expect::Stamps => Watch::Stamps { latest: 0 },
            Expect::Sequence => Watch::Sequence { next: 0 },
            Expect::Quotes(symbols) => Watch::quotes(symbols.of_client(number)),
        }
    }

    /// The CONNECT packet.
    pub(super) fn connect(&self, client: usize) -> String {
        let values = Values {
            client,
            ..Values::default()
        };
        let auth = self.auth.as_ref().map(|auth| auth.text(values));
        format!("40{}", auth.unwrap_or_default())
    }

    /// The subscribing event, with acknowledgement 0.
    pub(super) fn subscribe(&self, client: usize) -> Option<String> {
        let symbols = self.symbols().map(|symbols| symbols.json(client));
        let values = Values {
            client,
            symbols: symbols.as_deref().unwrap_or("[]"),
            ..Values::default()
        };
        let event = self.subscribe.as_ref()?.text(values);
        Some(format!("420{event}"))
    }

    fn symbols(&self) -> Option<&Arc<Symbols>> {
        match &self.expect {
            Expect::Quotes(symbols) => Some(symbols),
            Expect::Stamps | Expect::Sequence => None,
        }
    }
}
