//! MongoDB beside a node, as an application shares it.

mod kit;
mod logout;
mod sessions;
mod trouble;
