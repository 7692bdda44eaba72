//! MongoDB beside a node, as an application shares it.

mod kit;
mod trouble;
