//! MongoDB beside a node, as an application shares it.

mod cost;
mod kit;
mod logout;
mod sessions;
mod trouble;
