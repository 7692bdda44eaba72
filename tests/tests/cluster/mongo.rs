//! MongoDB beside several nodes, as an application shares it.

mod sessions;
mod streams;
