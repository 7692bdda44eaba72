//! What is emitted.

use crate::{
    random,
    template::{Template, Values},
};

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

/// What stands around and between the emits of one body.
#[derive(Clone, Debug, Default)]
pub struct Wrapping {
    /// Before the first.
    pub open: String,
    /// Between two.
    pub separator: String,
    /// After the last.
    pub close: String,
}

/// What was emitted of one symbol or to one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many quotes.
    pub count: u64,
    /// Sum of [`random::mix`] over one more than the number of each.
    pub digest: u64,
}

impl Wrapping {
    /// Appends a body of `count` emits, each of which `item` appends.
    pub(super) fn fill(&self, count: u64, body: &mut String, mut item: impl FnMut(&mut String)) {
        body.push_str(&self.open);
        for place in 0..count {
            if place > 0 {
                body.push_str(&self.separator);
            }
            item(body);
        }
        body.push_str(&self.close);
    }
}

impl Sent {
    /// Counts the emit with this number.
    pub(super) fn note(&mut self, sequence: u64) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(random::mix(sequence + 1));
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            digest: self.digest.wrapping_add(other.digest),
        }
    }
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
