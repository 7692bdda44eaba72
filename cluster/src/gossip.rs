//! chitchat's messages, carried over the links: one stream each. A message to an address without a
//! link asks for one and is dropped; chitchat repeats itself several times a second.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::{
    ChitchatMessage, Serializable,
    transport::{Socket, Transport},
};
use tokio::sync::mpsc;

use crate::net::Core;

/// The links as chitchat sees them.
pub(crate) struct Links {
    core: Arc<Core>,
    /// What comes in; taken by the one socket that there is.
    incoming: Mutex<Option<mpsc::Receiver<(SocketAddr, ChitchatMessage)>>>,
}

impl Links {
    pub(crate) fn new(
        core: Arc<Core>,
        incoming: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    ) -> Self {
        Self {
            core,
            incoming: Mutex::new(Some(incoming)),
        }
    }
}

#[async_trait]
impl Transport for Links {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let incoming = self
            .incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| anyhow::anyhow!("the transport is open already"))?;
        Ok(Box::new(Gossip {
            core: self.core.clone(),
            incoming,
        }))
    }
}

struct Gossip {
    core: Arc<Core>,
    incoming: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
}

#[async_trait]
impl Socket for Gossip {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.core
            .gossip(to, Bytes::from(message.serialize_to_vec()));
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let received = self.incoming.recv().await;
        received.ok_or_else(|| anyhow::anyhow!("the cluster has stopped"))
    }
}
