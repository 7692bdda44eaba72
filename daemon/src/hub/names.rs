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
pub(crate) struct Namespaces(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Arc<str>, NamespaceId>,
    names: Vec<Arc<str>>,
}

impl Namespaces {
    /// The number of a name that was used before.
    pub(crate) fn find(&self, name: &str) -> Option<NamespaceId> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.numbers.get(name).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: NamespaceId) -> Option<Arc<str>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(number as usize).cloned()
    }

    /// The number of a name, new if need be; `None` when there are too many.
    pub(crate) fn intern(&self, name: &str) -> Option<NamespaceId> {
        if let Some(number) = self.find(name) {
            return Some(number);
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.numbers.get(name) {
            return Some(*number);
        }
        let number = NamespaceId::try_from(known.names.len()).ok()?;
        if known.names.len() >= MAX_NAMESPACES {
            return None;
        }
        let name: Arc<str> = name.into();
        known.names.push(name.clone());
        known.numbers.insert(name, number);
        Some(number)
    }
}
