//! What the decisions cost.
