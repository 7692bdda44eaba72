//! Namespaces by number, so that rooms are found without comparing two names.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::shard::rooms::NamespaceId;

/// Namespaces that a node remembers. Configured ones are few; a handler that takes any name must
/// not let clients fill the memory with names.
const MAX_NAMESPACES: usize = 10_000;

/// The namespaces that have been used on this node.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    numbers: RwLock<HashMap<Arc<str>, NamespaceId>>,
}

impl Namespaces {
    /// The number of a name that was used before.
    pub(crate) fn find(&self, name: &str) -> Option<NamespaceId> {
        self.numbers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
    }

    /// The number of a name, new if need be; `None` when there are too many.
    pub(crate) fn intern(&self, name: &str) -> Option<NamespaceId> {
        if let Some(number) = self.find(name) {
            return Some(number);
        }
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(name) {
            return Some(*number);
        }
        let number = NamespaceId::try_from(numbers.len()).ok()?;
        if numbers.len() >= MAX_NAMESPACES {
            return None;
        }
        numbers.insert(name.into(), number);
        Some(number)
    }
}
