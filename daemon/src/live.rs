//! What a reload replaces while others go on reading it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A value that many read, on every thread and without waiting, and that is replaced as a whole. A
/// cheap handle; its clones see the same value.
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// Begins with a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value of now. To be let go soon, and not to be held across an await.
    pub fn now(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// The value of now, for as long as it is needed.
    pub fn keep(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces it; who reads from here on sees the new one.
    pub fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

// Derived, it would ask for a `T` that can be cloned.
impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_what_replaced_it_and_readers_keep_what_they_have() {
        let one = Live::new(1);
        let (other, kept) = (one.clone(), one.keep());
        one.replace(2);
        assert_eq!((**other.now(), *kept), (2, 1));
    }
}
