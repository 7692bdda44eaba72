//! The sled trees: what each holds, and the only code that touches them.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `sessions` | session id | expiry envelope: session |
//! | `sessions_by_user` | length, user, session id | nothing |
//! | `revocations` | `s`, session id or `u`, user | expiry envelope: what ended it, and when |
//! | `shared_sessions` | `_id` of the document | expiry envelope: a session of MongoDB's, as last read |
//! | `users` | name | user |
//! | `keys` | id | API key |
//! | `counters` | the caller's | expiry envelope: the caller's |
//! | `log` | slot, sequence number | entry |
//! | `log_state` | the caller's | the caller's |
//! | `meta` | the caller's | the caller's |
//! | `expiry` | due time, kind, key | nothing |
//! | `store` | `format` | the format of all of these |
//!
//! Every value starts with a byte that says its version.

pub(crate) mod codec;
pub(crate) mod counters;
pub(crate) mod expiry;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod trees;
pub(crate) mod users;
