//! What is emitted.

use crate::template::{Template, Values};

/// What one request, or one write of a stream, holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Emits in it.
    pub items: u64,
    /// Events that clients get of them.
    pub deliveries: u64,
}

/// Where bodies come from.
pub trait Source: Send + 'static {
    /// Appends the next body, whose events count from `due`.
    fn next(&mut self, due: u64, body: &mut String) -> Batch;

    /// How many emits a body has.
    fn batch(&self) -> u64;
}

/// The same to all clients, over and over.
#[derive(Clone, Debug)]
pub struct OneRoom {
    body: Template,
    clients: u64,
    /// Number of the next emit.
    sequence: u64,
}

impl OneRoom {
    /// Emits that each reach `clients` clients.
    pub fn new(body: Template, clients: usize) -> Self {
        Self {
            body,
            clients: clients as u64,
            sequence: 0,
        }
    }
}

impl Source for OneRoom {
    fn next(&mut self, due: u64, body: &mut String) -> Batch {
        let values = Values {
            sequence: self.sequence,
            now: due,
            ..Values::default()
        };
        self.body.render(values, body);
        self.sequence += 1;
        Batch {
            items: 1,
            deliveries: self.clients,
        }
    }

    fn batch(&self) -> u64 {
        1
    }
}
